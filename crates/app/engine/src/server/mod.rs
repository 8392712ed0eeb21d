//! The HTTP server in front of everything that the engine answers: the AWS APIs on every path but `/v2/`, where the
//! image registry lives, and `/_pileus/`, where the engine tells of itself. It listens on loopback and, for the tasks in
//! VPCs, behind [`door`]s of their own.

mod admin;
pub(crate) mod door;
mod guard;
mod registry;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use self::door::{Arrival, Door};
use crate::EngineError;
use crate::api::Engine;
use crate::loops::Loops;
use crate::s3::{self, S3};

/// The largest body of an API request: ECR's layer parts are the largest, 20 MiB at most, grown by base64.
const MAX_BODY: usize = 32 << 20;
/// How long a client may take to send its headers, and then its body.
const HEADER_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(60);
const MAX_CONNECTIONS: usize = 1024;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// A body of known bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

pub(crate) async fn listen(port: u16) -> Result<TcpListener, EngineError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|source| EngineError::Listen { port, source })
}

/// Serves on loopback for ever.
pub(crate) async fn serve(listener: TcpListener, engine: Arc<Engine>, loops: Loops) {
    accept(listener, engine, Door::Loopback, Some(Arc::new(loops))).await;
}

/// Accepts connections at a door for ever. Only with the loops is there `/_pileus/`.
async fn accept(listener: TcpListener, engine: Arc<Engine>, door: Door, loops: Option<Arc<Loops>>) {
    let (connections, s3) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), S3::new(&engine));
    loop {
        let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: the backlog waits until some are free again.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (engine, loops, s3) = (engine.clone(), loops.clone(), s3.clone());
        let peer = peer.ip();
        let arrival = Arrival { door: door.of(&engine.db.snapshot(), peer), peer };
        tokio::spawn(async move {
            connection(stream, engine, s3, arrival, loops).await;
            drop(permit);
        });
    }
}

async fn connection(
    stream: TcpStream,
    engine: Arc<Engine>,
    s3: S3,
    arrival: Arrival,
    loops: Option<Arc<Loops>>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (engine, loops, s3) = (engine.clone(), loops.clone(), s3.clone());
        request.extensions_mut().insert(arrival.clone());
        async move { Ok::<_, Infallible>(answer(request, engine, &s3, loops.as_deref()).await) }
    });
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).half_close(true);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(128);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    request: Request<Incoming>,
    engine: Arc<Engine>,
    s3: &S3,
    loops: Option<&Loops>,
) -> Response<Body> {
    let (headers, authority, path) = (request.headers(), request.uri().authority(), request.uri().path());
    let ours = ["/v2/", "/_pileus/"].iter().any(|prefix| path.starts_with(prefix)) || path == "/v2";
    let for_s3 = !ours && s3::claims(&request);
    let refusal = match loops {
        // The rules of a bucket decide which pages may use it.
        Some(_) if for_s3 => guard::refuse_host(headers, authority, path),
        Some(_) => guard::refuse(headers, authority, path),
        None => guard::refuse_from_vpc(headers, authority),
    };
    if let Some(reason) = refusal {
        return text(StatusCode::FORBIDDEN, format!("Refused: {reason}.\n"));
    }
    if for_s3 {
        return s3.answer(request).await;
    }
    if path == "/v2" || path.starts_with("/v2/") {
        return registry::answer(request, engine).await;
    }
    if let Some(loops) = loops.filter(|_| path.starts_with("/_pileus/")) {
        return admin::answer(&request, &engine, loops);
    }
    let (parts, body) = request.into_parts();
    match collect(body).await {
        Ok(body) => engine.answer(&parts, body).await.map(full),
        Err(refusal) => refusal,
    }
}

async fn collect(body: Incoming) -> Result<Bytes, Response<Body>> {
    let too_large = || {
        let message = format!("The request is larger than {} MiB.\n", MAX_BODY >> 20);
        text(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    // A length that is given is refused before the body is sent.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(text(StatusCode::BAD_REQUEST, "The request's body could not be read.\n".into())),
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "The request's body took too long.\n".into())),
    }
}

fn text(status: StatusCode, message: String) -> Response<Body> {
    let mut response = Response::new(full(message));
    *response.status_mut() = status;
    response
}
