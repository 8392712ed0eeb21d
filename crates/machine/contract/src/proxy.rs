//! The balancer: load balancers with listeners and rules, target groups with targets and health checks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ipnet::Ipv4Net;
use pileus_core::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::MachineError;

/// A complete configuration of the balancer: it replaces the previous one as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySpec {
    pub load_balancers: Vec<LoadBalancerSpec>,
    pub target_groups: Vec<TargetGroupSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancerSpec {
    /// `app/<name>/<16 hex>`, the value of the metric dimension.
    pub id: String,
    /// Lower-case; the `Host` by which the edge listener picks it.
    pub dns_name: String,
    pub internet_facing: bool,
    /// One in each enabled availability zone.
    pub nodes: Vec<NodeSpec>,
    pub listeners: Vec<ListenerSpec>,
    /// What its security groups accept from outside the VPC: the edge drops connections that no entry allows.
    pub edge_ingress: Vec<EdgeRule>,
    pub attributes: LoadBalancerAttributes,
}

/// A load balancer's presence in one zone: it listens and reaches targets in its interface's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    pub zone: String,
    pub address: Ipv4Addr,
    pub namespace: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeRule {
    pub source: Ipv4Net,
    pub from_port: u16,
    pub to_port: u16,
}

/// Names and defaults are those of ALB's load balancer attributes.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancerAttributes {
    /// `idle_timeout.timeout_seconds`, 1..=4000 s.
    pub idle_timeout: Duration,
    /// `client_keep_alive.seconds`, 60..=604800 s.
    pub client_keep_alive: Duration,
    /// `routing.http.preserve_host_header.enabled`
    pub preserve_host_header: bool,
    /// `routing.http.xff_client_port.enabled`
    pub xff_client_port: bool,
    /// `routing.http.xff_header_processing.mode`
    pub xff_mode: XffMode,
    /// `routing.http.drop_invalid_header_fields.enabled`
    pub drop_invalid_header_fields: bool,
    /// `routing.http.x_amzn_tls_version_and_cipher_suite.enabled`
    #[serde(default)]
    pub tls_headers: bool,
}

impl Default for LoadBalancerAttributes {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            client_keep_alive: Duration::from_secs(3600),
            preserve_host_header: false,
            xff_client_port: false,
            xff_mode: XffMode::Append,
            drop_invalid_header_fields: false,
            tls_headers: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum XffMode {
    #[default]
    Append,
    Preserve,
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSpec {
    pub port: u16,
    /// `None`: plain HTTP.
    #[serde(default)]
    pub tls: Option<TlsSpec>,
    /// In order of evaluation; the last one, without conditions, is the default rule.
    pub rules: Vec<RuleSpec>,
}

/// How a listener terminates TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSpec {
    pub versions: Vec<TlsVersion>,
    /// By OpenSSL's names, as ALB's security policies have them.
    pub cipher_suites: Vec<String>,
    /// The first one is the default: for clients that name no host, or one that no certificate has.
    pub certificates: Vec<CertificateSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSpec {
    /// The host names that it is for, in lower case; `*.` stands for one label.
    pub names: Vec<String>,
    /// PEM, the certificate itself first.
    pub chain: String,
    /// PEM.
    pub key: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSpec {
    /// 1..=50000, or 0 for the default rule.
    pub priority: u32,
    /// All must hold.
    pub conditions: Vec<Condition>,
    pub action: RuleAction,
}

/// Any of the values must match. Patterns know `*` and `?`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Case-insensitive patterns.
    HostHeader(Vec<String>),
    /// Case-sensitive patterns, matched against the path without the query.
    PathPattern(Vec<String>),
    HttpHeader {
        name: String,
        values: Vec<String>,
    },
    HttpRequestMethod(Vec<String>),
    /// Pairs of key (`None`: any) and value patterns, case-insensitive.
    QueryString(Vec<(Option<String>, String)>),
    SourceIp(Vec<Ipv4Net>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleAction {
    /// Target group ids with their weights.
    Forward(Vec<(String, u32)>),
    Redirect {
        /// 301 or 302.
        status: u16,
        /// Each may contain `#{protocol}`, `#{host}`, `#{port}`, `#{path}`, `#{query}`.
        protocol: String,
        host: String,
        port: String,
        path: String,
        query: String,
    },
    FixedResponse {
        status: u16,
        content_type: String,
        body: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroupSpec {
    /// `targetgroup/<name>/<16 hex>`, the value of the metric dimension.
    pub id: String,
    pub health_check: HealthCheckSpec,
    pub targets: Vec<TargetSpec>,
    pub algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    #[default]
    RoundRobin,
    LeastOutstandingRequests,
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckSpec {
    pub path: String,
    /// `None`: the port that the target receives traffic on.
    pub port: Option<u16>,
    /// 5..=300 s.
    pub interval: Duration,
    /// 2..=120 s.
    pub timeout: Duration,
    /// Successes in a row that bring an unhealthy target back, 2..=10. A new target needs one.
    pub healthy_threshold: u32,
    /// Failures in a row that make a target unhealthy, 2..=10.
    pub unhealthy_threshold: u32,
    /// Inclusive ranges of HTTP statuses that count as success.
    pub matcher: Vec<(u16, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSpec {
    pub address: Ipv4Addr,
    pub port: u16,
    pub zone: String,
    /// Gets no new requests; those in flight go on.
    pub draining: bool,
    /// What was known of its health before this balancer process started, so that a restart forgets nothing.
    pub last_known: Option<Health>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    Initial,
    Healthy,
    Unhealthy(UnhealthyReason),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnhealthyReason {
    /// A status outside the matcher.
    ResponseCodeMismatch(u16),
    Timeout,
    /// No connection, or no valid HTTP.
    FailedHealthChecks,
}

/// What the balancer tells of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProxyEvent {
    Health {
        target_group: String,
        address: Ipv4Addr,
        port: u16,
        health: Health,
        at: Timestamp,
    },
    /// A draining target has no request in flight any more.
    Drained {
        target_group: String,
        address: Ipv4Addr,
        port: u16,
    },
    /// Where the edge accepts connections for a listener port: the port on loopback. Another port than the
    /// listener's where that one could not be bound.
    Edge {
        listener_port: u16,
        bound_port: u16,
    },
    /// A socket could not be opened; tried again with the next configuration.
    ListenFailed {
        load_balancer: String,
        port: u16,
        reason: String,
    },
    /// Everything counted since the last such event, about every second while there is traffic.
    Stats(Vec<ProxyStats>),
    /// The balancer (re)started and waits for its configuration.
    Started {
        pid: u32,
    },
}

/// Counts of one load balancer, and one target group (or none) in one zone, since the last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProxyStats {
    pub load_balancer: String,
    pub target_group: Option<String>,
    /// The zone of the node that took the request.
    pub zone: String,
    /// Counters by CloudWatch metric name, such as `RequestCount` and `HTTPCode_Target_2XX_Count`.
    pub counts: BTreeMap<String, u64>,
    /// Samples of `TargetResponseTime`: microseconds (lower bound of a bucket at most 5 % wide) and how many.
    pub response_times: Vec<(u64, u64)>,
}

/// Carries out a [`ProxySpec`].
pub trait Proxy: Send + Sync {
    /// Hands the whole configuration to the balancer; it serves by it when this returns. Open connections go on.
    ///
    /// # Errors
    /// The balancer cannot be reached; the last configuration that it got stays in force.
    fn apply(&self, spec: &ProxySpec) -> Result<(), MachineError>;

    /// The stream of the balancer's events. A second call ends the first stream.
    fn events(&self) -> Receiver<ProxyEvent>;

    /// Ends the balancer.
    ///
    /// # Errors
    /// It could not be ended.
    fn teardown(&self) -> Result<(), MachineError>;
}
