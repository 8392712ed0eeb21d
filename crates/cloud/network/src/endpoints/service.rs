//! The services that this engine has, as the network knows them: by host names, and by the names of their VPC endpoints.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html>

/// One service with an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// What stands in the name of its VPC endpoint service after `com.amazonaws.<region>.`.
    pub name: &'static str,
    /// What stands before `.<region>.amazonaws.com` in its host name.
    prefix: &'static str,
    /// Its host name where that is the same for all regions.
    global: Option<&'static str>,
    /// Whether names below the host name are its too, as in `<account>.dkr.ecr.…` and `<bucket>.s3.…`.
    pub wildcard: bool,
    /// What stands in the SDKs' variable after `AWS_ENDPOINT_URL_`; none if no SDK calls it by that host name.
    pub sdk: Option<&'static str>,
    pub endpoint: Kind,
}

/// Which VPC endpoint a service can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Interface,
    Gateway,
    None,
}

const fn regional(name: &'static str, prefix: &'static str, sdk: Option<&'static str>) -> Service {
    Service { name, prefix, global: None, wildcard: false, sdk, endpoint: Kind::Interface }
}

/// Every service, in the order in which they are shown.
pub const SERVICES: &[Service] = &[
    regional("acm", "acm", Some("ACM")),
    regional("application-autoscaling", "application-autoscaling", Some("APPLICATION_AUTO_SCALING")),
    regional("ec2", "ec2", Some("EC2")),
    regional("ecr.api", "api.ecr", Some("ECR")),
    Service { wildcard: true, ..regional("ecr.dkr", "dkr.ecr", None) },
    regional("ecs", "ecs", Some("ECS")),
    regional("ecs-agent", "ecs-a", None),
    regional("ecs-telemetry", "ecs-t", None),
    regional("elasticloadbalancing", "elasticloadbalancing", Some("ELASTIC_LOAD_BALANCING_V2")),
    Service {
        global: Some("iam.amazonaws.com"),
        endpoint: Kind::None,
        ..regional("iam", "iam", Some("IAM"))
    },
    regional("logs", "logs", Some("CLOUDWATCH_LOGS")),
    regional("monitoring", "monitoring", Some("CLOUDWATCH")),
    Service { wildcard: true, endpoint: Kind::Gateway, ..regional("s3", "s3", Some("S3")) },
    regional("secretsmanager", "secretsmanager", Some("SECRETS_MANAGER")),
    regional("ssm", "ssm", Some("SSM")),
    regional("sts", "sts", Some("STS")),
];

impl Service {
    /// The service of this short name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.name == name)
    }

    /// The name by which clients in a region call it.
    pub fn host(&self, region: &str) -> String {
        self.global.map_or_else(|| format!("{}.{region}.amazonaws.com", self.prefix), str::to_owned)
    }

    /// S3, which has an address of its own.
    pub(crate) fn s3() -> &'static Self {
        SERVICES.iter().find(|service| service.endpoint == Kind::Gateway).expect("S3 is one of them")
    }

    /// The name of its VPC endpoint service.
    pub fn endpoint_name(&self, region: &str) -> String {
        format!("com.amazonaws.{region}.{}", self.name)
    }

    /// The service whose VPC endpoint service has this name, if it has one.
    pub fn of_endpoint_name(name: &str, region: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|it| it.endpoint != Kind::None && it.endpoint_name(region) == name)
    }

    /// 17 hexadecimal digits that are its own in each region, for the ids of what AWS itself has (FNV-1a).
    pub(crate) fn number(&self, region: &str) -> String {
        let bytes = self.name.bytes().chain(region.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}0")
    }
}
