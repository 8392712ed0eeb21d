//! Where the AWS APIs are for who lives in a VPC: names, addresses, and what tells the SDKs of both.
//!
//! On the internet of this machine every service has one address, and S3 another, so that a gateway endpoint can route
//! S3 alone. Both are in this engine's own public pool. The way there is the VPC's: an internet gateway and a public
//! address, a NAT gateway, or a VPC endpoint. The APIs are served there in plain HTTP, on port 443 as well as on 80, so
//! that firewall rules that were written for AWS mean the same here.

mod service;

pub use service::{Kind, SERVICES, Service};

/// The environment of a container by which every SDK finds the APIs: `AWS_ENDPOINT_URL_<SERVICE>`.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
pub fn environment(region: &str) -> Vec<(String, String)> {
    let variable = |service: &Service| {
        let name = format!("AWS_ENDPOINT_URL_{}", service.sdk?);
        Some((name, format!("http://{}:443", service.host(region))))
    };
    SERVICES.iter().filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sdks_are_told_of_each_service_once() {
        let all = environment("eu-west-1");
        let url = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, url)| url.as_str());
        assert_eq!(
            url("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            Some("http://secretsmanager.eu-west-1.amazonaws.com:443")
        );
        assert_eq!(url("AWS_ENDPOINT_URL_ECR"), Some("http://api.ecr.eu-west-1.amazonaws.com:443"));
        assert_eq!(url("AWS_ENDPOINT_URL_IAM"), Some("http://iam.amazonaws.com:443"));
        let mut names: Vec<_> = all.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }
}
