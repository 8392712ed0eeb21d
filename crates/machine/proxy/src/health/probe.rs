//! One check of one target: a new connection, one GET, the status of the answer.

use std::net::SocketAddrV4;
use std::time::Duration;

use pileus_contract::proxy::{HealthCheckSpec, UnhealthyReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::state::{Outcome, judge};
use crate::daemon::snapshot::Node;
use crate::http1::{MAX_RESPONSE_HEAD, ResponseHead};
use crate::upstream::connect::{ConnectError, connect};

/// Checks `target` on the check's port, from `node`. `limit` is the timeout for all of it.
pub(crate) async fn probe(
    node: &Node,
    target: SocketAddrV4,
    check: &HealthCheckSpec,
    limit: Duration,
) -> Outcome {
    let address = SocketAddrV4::new(*target.ip(), check.port.unwrap_or(target.port()));
    let attempt = async {
        let mut stream = match connect(node, address, limit).await {
            Ok(stream) => stream,
            Err(ConnectError::Timeout) => return Outcome::Failure(UnhealthyReason::Timeout),
            Err(ConnectError::Failed(error)) => {
                tracing::debug!(%address, %error, "health check: no connection");
                return Outcome::Failure(UnhealthyReason::FailedHealthChecks);
            }
        };
        match ask(&mut stream, address, &check.path).await {
            Some(status) => judge(status, check),
            None => Outcome::Failure(UnhealthyReason::FailedHealthChecks),
        }
    };
    let timeout = Outcome::Failure(UnhealthyReason::Timeout);
    tokio::time::timeout(limit, attempt).await.unwrap_or(timeout)
}

/// The status of the final answer; `None` if there is none, or it is not HTTP.
async fn ask(stream: &mut TcpStream, address: SocketAddrV4, path: &str) -> Option<u16> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\
         Accept-Encoding: gzip, compressed\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let (mut answer, mut head) = (Vec::with_capacity(1024), ResponseHead::default());
    loop {
        while !answer.is_empty() && head.parse(&answer, false).ok()? {
            if head.status >= 200 {
                return Some(head.status);
            }
            answer.drain(..head.len);
        }
        if answer.len() > MAX_RESPONSE_HEAD || stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
}
