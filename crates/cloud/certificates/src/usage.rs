//! Certificates as load balancers use them.

use pileus_contract::proxy::CertificateSpec;
use pileus_core::{Arn, Scope, Timestamp};
use pileus_state::{State, Tx};

use crate::record::{Certificate, id_of};

/// Why a load balancer cannot take a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("there is no such certificate")]
    Missing,
    /// Pending, failed or expired.
    #[error("the certificate has not been issued, or has expired")]
    NotIssued,
}

/// A certificate with its key, as the balancer serves it; `None` where there is none, or it has not been issued.
pub fn material(state: &State, arn: &str) -> Option<CertificateSpec> {
    let parsed = Arn::parse(arn)?;
    let scope = Scope { partition: parsed.partition.into(), ..Scope::new(parsed.account, parsed.region) };
    let certificate = state.get::<Certificate>(&scope, id_of(arn, &scope)?)?;
    let material = certificate.material.as_ref()?;
    let own = material.certificate.trim_end();
    let chain = material.chain.as_deref().map_or_else(String::new, |chain| format!("\n{}", chain.trim_end()));
    Some(CertificateSpec {
        names: certificate.names.iter().map(|name| name.to_lowercase()).collect(),
        chain: format!("{own}{chain}\n"),
        key: material.key.clone(),
    })
}

/// Takes note that the load balancer with the ARN `user` serves a certificate: it cannot be deleted then.
///
/// # Errors
/// There is no such certificate in this account and Region, or it is not ready.
pub fn use_by(tx: &mut Tx, arn: &str, user: &str, now: Timestamp) -> Result<(), Unusable> {
    let id = id_of(arn, tx.scope()).map(str::to_owned).ok_or(Unusable::Missing)?;
    let certificate = tx.get::<Certificate>(&id).ok_or(Unusable::Missing)?;
    if certificate.status(now) != "ISSUED" {
        return Err(Unusable::NotIssued);
    }
    tx.update::<Certificate>(&id, |certificate| {
        certificate.users.insert(user.to_owned());
    });
    Ok(())
}

/// Takes note that the load balancer does not serve the certificate any more.
pub fn release(tx: &mut Tx, arn: &str, user: &str) {
    let Some(id) = id_of(arn, tx.scope()).map(str::to_owned) else { return };
    tx.update::<Certificate>(&id, |certificate| {
        certificate.users.remove(user);
    });
}
