//! Amazon Resource Names, taken apart.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>

/// `arn:partition:service:region:account:resource`, borrowed from the text it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    pub partition: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    /// Everything after the account, colons and slashes included.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        if parts.next()? != "arn" {
            return None;
        }
        let arn = Self {
            partition: parts.next()?,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        };
        (!arn.partition.is_empty() && !arn.service.is_empty() && !arn.resource.is_empty()).then_some(arn)
    }

    /// The last part of the resource after `/`: the name or id in most services.
    pub fn name(&self) -> &'a str {
        self.resource.rsplit('/').next().unwrap_or(self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_an_arn_apart() {
        let arn = Arn::parse("arn:aws:ecs:us-east-1:000000000000:service/web/api").expect("a valid ARN");
        assert_eq!((arn.service, arn.region, arn.name()), ("ecs", "us-east-1", "api"));
        assert_eq!(arn.resource, "service/web/api");
        assert_eq!(Arn::parse("service/web/api"), None);
        assert_eq!(Arn::parse("arn:aws:ecs:us-east-1:0"), None);
    }
}
