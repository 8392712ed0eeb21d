//! What is to be issued, and what was: the engine's part, which has the randomness that keys are made of.
//! <https://docs.aws.amazon.com/acm/latest/userguide/managed-renewal.html>

use std::time::Duration;

use pileus_core::{Scope, Secret, Timestamp};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::facts;
use crate::record::{Certificate, Material, Source};

/// So long before its end a certificate in use is issued anew.
const RENEWED_BEFORE: Duration = Duration::from_secs(45 * 24 * 3600);

/// The authority of this engine: a certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Authority {
    pub certificate: String,
    pub key: Secret,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuthorityRecord(Authority);

impl AuthorityRecord {
    const KEY: &str = "authority";

    /// One for all accounts and Regions.
    fn scope() -> Scope {
        Scope::new(Scope::DEFAULT_ACCOUNT, Scope::DEFAULT_REGION).global()
    }
}

impl Record for AuthorityRecord {
    const KIND: &'static str = "acm/authority";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

/// A certificate to be issued, or to be issued anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub scope: Scope,
    pub id: String,
    /// At least one; some begin with `*.`.
    pub names: Vec<String>,
    /// `RSA_2048`, `EC_prime256v1` or `EC_secp384r1`.
    pub key_algorithm: String,
}

/// A certificate as it was issued; PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct Issued {
    pub certificate: String,
    pub key: Secret,
}

/// The authority, if one has been made.
pub fn authority(state: &State) -> Option<Authority> {
    let record = state.get::<AuthorityRecord>(&AuthorityRecord::scope(), AuthorityRecord::KEY)?;
    Some(record.0.clone())
}

/// Keeps the authority that was made.
pub fn keep_authority(tx: &mut Tx, authority: Authority) {
    tx.within(AuthorityRecord::scope(), |tx| tx.put(AuthorityRecord(authority)));
}

/// What is to be issued now.
pub fn orders(state: &State, now: Timestamp) -> Vec<Order> {
    let due =
        state.all::<Certificate>().filter(|(_, certificate)| due(certificate).is_some_and(|at| at <= now));
    let order = |(scope, certificate): (&Scope, std::sync::Arc<Certificate>)| Order {
        scope: scope.clone(),
        id: certificate.id.clone(),
        names: certificate.names.clone(),
        key_algorithm: certificate.key_algorithm.clone(),
    };
    due.map(order).collect()
}

/// When the next certificate is to be renewed.
pub fn next_renewal(state: &State) -> Option<Timestamp> {
    state.all::<Certificate>().filter_map(|(_, certificate)| due(&certificate)).min()
}

/// When a certificate is to be issued: at once if it never was, before its end if it is in use.
fn due(certificate: &Certificate) -> Option<Timestamp> {
    match (&certificate.source, &certificate.material) {
        (Source::Requested(request), None) => request.failure.is_none().then_some(certificate.created),
        (Source::Requested(_), Some(material)) if !certificate.users.is_empty() => {
            Some(material.facts.not_after - RENEWED_BEFORE)
        }
        _ => None,
    }
}

/// Takes what was issued for an order, by the authority with the certificate `chain`. The certificate may be gone
/// meanwhile.
///
/// # Errors
/// It is no certificate that can be read.
pub fn settle(tx: &mut Tx, order: &Order, issued: Issued, chain: &str, now: Timestamp) -> Result<(), String> {
    let own = facts::from_pem(issued.certificate.as_bytes())?;
    let facts = facts::read(own.first().ok_or("there is no certificate")?)?;
    let material = Material {
        certificate: issued.certificate,
        chain: Some(chain.to_owned()),
        key: issued.key,
        issued: now,
        facts,
    };
    tx.within(order.scope.clone(), |tx| {
        tx.update::<Certificate>(&order.id, |certificate| certificate.material = Some(material));
    });
    Ok(())
}

/// Takes note that an order cannot be carried out. A certificate that is to be renewed keeps what it has.
pub fn reject(tx: &mut Tx, order: &Order, why: &str) {
    tx.within(order.scope.clone(), |tx| {
        tx.update::<Certificate>(&order.id, |certificate| {
            if let Source::Requested(request) = &mut certificate.source {
                request.failure = Some(why.to_owned());
            }
        });
    });
}
