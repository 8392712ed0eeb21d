//! API calls under load: every connection sends one signed request after the other and waits for each answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pileus_core::{Clock as _, SystemClock};
use pileus_model::{Operation, Structure as _, Value};
use pileus_wire::sigv4;
use tokio::net::TcpStream;

use crate::api::{REGION, credentials};
use crate::stats::percentile;

pub(crate) struct Load {
    pub(crate) calls: f64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Calls one operation with one input over and over.
///
/// # Errors
/// A call failed.
pub(crate) async fn run<O: Operation>(
    port: u16,
    input: &O::Input,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Load> {
    let input = Arc::new(input.to_value());
    let started = Instant::now();
    let workers: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(connection::<O>(port, Arc::clone(&input), started + time)))
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    let (p50_us, p99_us) = (percentile(&latencies, 50.0), percentile(&latencies, 99.0));
    Ok(Load { calls: latencies.len() as f64, seconds, p50_us, p99_us })
}

/// The latencies, in microseconds, of calls on one connection until `end`. Where the server closes it, connecting again is
/// part of the next call, as for any client.
async fn connection<O: Operation>(port: u16, input: Arc<Value>, end: Instant) -> anyhow::Result<Vec<f64>> {
    let (endpoint, credentials, clock) =
        (format!("http://127.0.0.1:{port}"), credentials(), SystemClock::new(1.0));
    let mut sender = connect(port).await?;
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let request = pileus_wire::encode_request(O::SCHEMA, &input, &endpoint)?;
        let request =
            sigv4::sign(request, &credentials, REGION, O::SCHEMA.service.signing_name, clock.now())?;
        // To a server, not to a proxy: the path alone.
        let (mut parts, body) = request.into_parts();
        parts.uri = parts.uri.path_and_query().context("a path")?.as_str().parse()?;
        let sent = Instant::now();
        if sender.ready().await.is_err() {
            sender = connect(port).await?;
        }
        let response = sender.send_request(hyper::Request::from_parts(parts, Full::new(body))).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(latencies)
}

async fn connect(port: u16) -> anyhow::Result<http1::SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what breaks a connection, the sender's calls tell.
    tokio::spawn(async move { driver.await.unwrap_or_default() });
    Ok(sender)
}
