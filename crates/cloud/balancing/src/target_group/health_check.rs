//! The health check of a target group: defaults, ranges that depend on each other, and the matcher.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>

use std::time::Duration;

use pileus_aws::elbv2::{CreateTargetGroupInput, Matcher, ModifyTargetGroupInput};
use pileus_contract::proxy::HealthCheckSpec;
use pileus_core::ApiError;
use serde::{Deserialize, Serialize};

use crate::resource::invalid;

/// As the API shows it. Seconds and counts have been checked against the model's ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthCheck {
    /// `None` is `traffic-port`.
    pub(crate) port: Option<u16>,
    pub(crate) path: String,
    pub(crate) interval: u32,
    pub(crate) timeout: u32,
    pub(crate) healthy_threshold: u32,
    pub(crate) unhealthy_threshold: u32,
    /// As the user wrote it: `200`, `200,202` or `200-299`.
    pub(crate) matcher: String,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            port: None,
            path: "/".into(),
            interval: 30,
            timeout: 5,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        }
    }
}

/// What a request says of the health check.
pub(crate) struct Settings {
    protocol: Option<String>,
    port: Option<String>,
    enabled: Option<bool>,
    path: Option<String>,
    interval: Option<i64>,
    timeout: Option<i64>,
    healthy_threshold: Option<i64>,
    unhealthy_threshold: Option<i64>,
    matcher: Option<Matcher>,
}

/// Takes the members of the health check out of a request.
macro_rules! settings {
    ($input:expr) => {
        Settings {
            protocol: $input.health_check_protocol.take(),
            port: $input.health_check_port.take(),
            enabled: $input.health_check_enabled,
            path: $input.health_check_path.take(),
            interval: $input.health_check_interval_seconds,
            timeout: $input.health_check_timeout_seconds,
            healthy_threshold: $input.healthy_threshold_count,
            unhealthy_threshold: $input.unhealthy_threshold_count,
            matcher: $input.matcher.take(),
        }
    };
}

impl From<&mut CreateTargetGroupInput> for Settings {
    fn from(input: &mut CreateTargetGroupInput) -> Self {
        settings!(input)
    }
}

impl From<&mut ModifyTargetGroupInput> for Settings {
    fn from(input: &mut ModifyTargetGroupInput) -> Self {
        settings!(input)
    }
}

impl HealthCheck {
    /// This check with `settings` laid over it.
    ///
    /// # Errors
    /// The settings contradict each other or the rules of AWS, or are not carried out here.
    pub(crate) fn with(&self, settings: Settings) -> Result<Self, ApiError> {
        if settings.protocol.as_deref().is_some_and(|protocol| protocol != "HTTP") {
            return Err(ApiError::not_implemented("health checks by another protocol than HTTP"));
        }
        if settings.enabled == Some(false) {
            return Err(invalid("Health check enabled must be true for target groups with target type 'ip'"));
        }
        let number =
            |value: Option<i64>, old: u32| value.and_then(|new| u32::try_from(new).ok()).unwrap_or(old);
        let next = Self {
            port: settings.port.map_or(Ok(self.port), |port| parse_port(&port))?,
            path: settings.path.map_or_else(|| Ok(self.path.clone()), check_path)?,
            interval: number(settings.interval, self.interval),
            timeout: number(settings.timeout, self.timeout),
            healthy_threshold: number(settings.healthy_threshold, self.healthy_threshold),
            unhealthy_threshold: number(settings.unhealthy_threshold, self.unhealthy_threshold),
            matcher: settings.matcher.map_or_else(|| Ok(self.matcher.clone()), check_matcher)?,
        };
        if next.timeout >= next.interval {
            return Err(invalid(format!(
                "Health check interval must be greater than the timeout: {} s is not greater than {} s",
                next.interval, next.timeout
            )));
        }
        Ok(next)
    }

    pub(crate) fn port_text(&self) -> String {
        self.port.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string())
    }

    pub(crate) fn spec(&self) -> HealthCheckSpec {
        HealthCheckSpec {
            path: self.path.clone(),
            port: self.port,
            interval: Duration::from_secs(self.interval.into()),
            timeout: Duration::from_secs(self.timeout.into()),
            healthy_threshold: self.healthy_threshold,
            unhealthy_threshold: self.unhealthy_threshold,
            matcher: parse_matcher(&self.matcher).unwrap_or_default(),
        }
    }
}

fn parse_port(port: &str) -> Result<Option<u16>, ApiError> {
    if port == "traffic-port" {
        return Ok(None);
    }
    let number = port.parse().ok().filter(|&number: &u16| number > 0);
    number.map(Some).ok_or_else(|| {
        invalid(format!("Health check port '{port}' must be 'traffic-port' or a number from 1 to 65535"))
    })
}

fn check_path(path: String) -> Result<String, ApiError> {
    let printable = path.chars().all(|c| c.is_ascii_graphic());
    if path.starts_with('/') && printable {
        return Ok(path);
    }
    Err(invalid(format!(
        "Health check path '{path}' must begin with '/' and contain only printable characters"
    )))
}

fn check_matcher(matcher: Matcher) -> Result<String, ApiError> {
    if matcher.grpc_code.is_some() {
        return Err(ApiError::not_implemented("health checks of gRPC (Matcher.GrpcCode)"));
    }
    let codes = matcher.http_code.unwrap_or_default();
    match parse_matcher(&codes) {
        Some(_) => Ok(codes),
        None => Err(invalid(format!(
            "Health check matcher HTTP code '{codes}' must be within '200-499' inclusive, such as '200,202' or '200-299'"
        ))),
    }
}

/// The inclusive ranges of `200,202-204`.
fn parse_matcher(codes: &str) -> Option<Vec<(u16, u16)>> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        (200 <= from && from <= to && to <= 499).then_some((from, to))
    };
    codes.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers() {
        for (codes, ranges) in [
            ("200", Some(vec![(200, 200)])),
            ("200,301-302", Some(vec![(200, 200), (301, 302)])),
            ("200-499", Some(vec![(200, 499)])),
            ("199", None),
            ("500", None),
            ("302-301", None),
            ("200,", None),
            ("", None),
            ("ok", None),
        ] {
            assert_eq!(parse_matcher(codes), ranges, "{codes}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_user_guide() {
        let settings = Settings::from(&mut CreateTargetGroupInput::default());
        let spec = HealthCheck::default().with(settings).expect("defaults are valid").spec();
        assert_eq!((spec.interval.as_secs(), spec.timeout.as_secs()), (30, 5));
        assert_eq!((spec.healthy_threshold, spec.unhealthy_threshold), (5, 2));
        assert_eq!((spec.path.as_str(), spec.port, spec.matcher), ("/", None, vec![(200, 200)]));
    }

    #[test]
    fn contradictions_are_refused() {
        let settings = |change: fn(&mut CreateTargetGroupInput)| {
            let mut input = CreateTargetGroupInput::default();
            change(&mut input);
            HealthCheck::default().with(Settings::from(&mut input)).is_ok()
        };
        assert!(
            !settings(|input| input.health_check_interval_seconds = Some(5)),
            "the default timeout is 5 s too"
        );
        assert!(!settings(|input| input.health_check_enabled = Some(false)));
        assert!(!settings(|input| input.health_check_protocol = Some("HTTPS".into())));
        assert!(!settings(|input| input.health_check_port = Some("0".into())));
        assert!(!settings(|input| input.health_check_path = Some("health".into())));
        assert!(settings(|input| input.health_check_port = Some("8080".into())));
    }
}
