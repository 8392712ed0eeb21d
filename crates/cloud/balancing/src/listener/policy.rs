//! Security policies: which versions of TLS and which cipher suites an HTTPS listener offers.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html>
//!
//! Listed is what the balancer speaks: TLS 1.2 and 1.3 with authenticated encryption. Policies of AWS that allow more, for old
//! clients, are here with what of them is left; policies that would have nothing left, or that promise post-quantum
//! key exchange, are not here.

use pileus_aws::elbv2::{Cipher, DescribeSSLPoliciesInput, DescribeSSLPoliciesOutput, SslPolicy, ops};
use pileus_contract::proxy::TlsVersion;
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use crate::resource;

/// The one that AWS gives to a listener whose creator names none.
pub(super) const DEFAULT: &str = "ELBSecurityPolicy-2016-08";

const TLS13: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const TLS12: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];

pub(super) struct Policy {
    name: &'static str,
    tls12: bool,
    tls13: bool,
}

static POLICIES: &[Policy] = &[
    policy(DEFAULT, true, false),
    policy("ELBSecurityPolicy-FS-1-2-2019-08", true, false),
    policy("ELBSecurityPolicy-FS-1-2-Res-2019-08", true, false),
    policy("ELBSecurityPolicy-FS-1-2-Res-2020-10", true, false),
    policy("ELBSecurityPolicy-TLS-1-2-2017-01", true, false),
    policy("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", true, false),
    policy("ELBSecurityPolicy-TLS13-1-2-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", true, true),
    policy("ELBSecurityPolicy-TLS13-1-3-2021-06", false, true),
];

const fn policy(name: &'static str, tls12: bool, tls13: bool) -> Policy {
    Policy { name, tls12, tls13 }
}

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::DescribeSSLPolicies>(describe_ssl_policies);
}

/// # Errors
/// There is no policy of this name.
pub(super) fn find(name: &str) -> Result<&'static Policy, ApiError> {
    POLICIES
        .iter()
        .find(|policy| policy.name == name)
        .ok_or_else(|| ApiError::client("SSLPolicyNotFound", format!("SSL policy '{name}' not found")))
}

impl Policy {
    pub(super) fn versions(&self) -> Vec<TlsVersion> {
        let versions = [(self.tls12, TlsVersion::Tls12), (self.tls13, TlsVersion::Tls13)];
        versions.into_iter().filter(|(offered, _)| *offered).map(|(_, version)| version).collect()
    }

    /// In order of preference.
    pub(super) fn suites(&self) -> Vec<String> {
        let suites = [(self.tls13, TLS13), (self.tls12, TLS12)].into_iter().filter(|(offered, _)| *offered);
        suites.flat_map(|(_, suites)| suites).map(|name| (*name).to_owned()).collect()
    }

    fn shape(&self) -> SslPolicy {
        let protocols = self.versions().into_iter().map(|version| match version {
            TlsVersion::Tls12 => "TLSv1.2".to_owned(),
            TlsVersion::Tls13 => "TLSv1.3".to_owned(),
        });
        let cipher = |(name, priority)| Cipher { name: Some(name), priority: Some(priority) };
        SslPolicy {
            ssl_protocols: Some(protocols.collect()),
            ciphers: Some(self.suites().into_iter().zip(1..).map(cipher).collect()),
            name: Some(self.name.into()),
            supported_load_balancer_types: Some(vec!["application".into()]),
        }
    }
}

fn describe_ssl_policies(
    _: &mut Context,
    input: DescribeSSLPoliciesInput,
) -> Result<DescribeSSLPoliciesOutput, ApiError> {
    let policies: Vec<&Policy> = match &input.names {
        Some(names) => names.iter().map(|name| find(name)).collect::<Result<_, _>>()?,
        // Those of the other kinds would be other policies.
        None if input.load_balancer_type.as_deref().is_some_and(|kind| kind != "application") => Vec::new(),
        None => POLICIES.iter().collect(),
    };
    let (policies, next_marker) =
        resource::page(policies, |policy| policy.name.to_owned(), input.marker.as_deref(), input.page_size)?;
    let ssl_policies = policies.into_iter().map(Policy::shape).collect();
    Ok(DescribeSSLPoliciesOutput { ssl_policies: Some(ssl_policies), next_marker })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_offers_something_and_they_are_in_order() {
        assert!(POLICIES.iter().all(|policy| !policy.versions().is_empty() && !policy.suites().is_empty()));
        assert!(POLICIES.is_sorted_by_key(|policy| policy.name));
        assert!(find(DEFAULT).is_ok());
        assert_eq!(
            find("ELBSecurityPolicy-1999").err().map(|error| error.code),
            Some("SSLPolicyNotFound".into())
        );
    }
}
