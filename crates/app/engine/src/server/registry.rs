//! The image registry under `/v2/`: bodies are streamed to and from disk, everything else is the registry crate's.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use pileus_registry::distribution::{
    self, Content, MAX_BODY, Principal, Received, Refusal, Request as Parsed, Work,
};
use pileus_security::Access;
use pileus_state::{State, Tx};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;

use super::{Body, full};
use crate::api::Engine;

/// How long a client may pause in the middle of a body.
const PAUSE: Duration = Duration::from_secs(60);
const CHUNK: usize = 1 << 16;

pub(super) async fn answer(request: Request<Incoming>, engine: Arc<Engine>) -> Response<Body> {
    let response = run(request, &engine).await.unwrap_or_else(Into::into);
    let (parts, body) = response.into_parts();
    let body = match body {
        distribution::Body::Bytes(bytes) => full(bytes),
        distribution::Body::File { path, first, length } => match open(path, first, length).await {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "a blob could not be read");
                return super::text(StatusCode::INTERNAL_SERVER_ERROR, "The blob cannot be read.\n".into());
            }
        },
    };
    Response::from_parts(parts, body)
}

async fn run(
    request: Request<Incoming>,
    engine: &Arc<Engine>,
) -> Result<Response<distribution::Body>, Refusal> {
    let (parts, body) = request.into_parts();
    let mut parsed = Parsed::parse(&parts)?;
    let state = engine.db.snapshot();
    let principal = distribution::authenticate(&state, &parsed, engine.clock.now())?;
    authorize(&state, &principal, parsed.action(), parsed.repository())?;
    let source = parsed.mount_source();
    if source.is_some() && authorize(&state, &principal, "ecr:GetDownloadUrlForLayer", source).is_err() {
        parsed.forget_mount();
    }
    match parsed.work() {
        Work::Read => {
            let mut tx = Tx::new(&state, principal.scope.clone());
            let handled = engine.within(&mut tx, &principal.caller, &parsed.host, |cx| {
                distribution::handle(cx, &parsed, Content::None)
            });
            if handled.is_ok() && !tx.into_changes().changes.is_empty() {
                return commit(engine, &principal, &parsed, Content::None).await;
            }
            engine.durable(state.version()).await;
            handled
        }
        Work::Write => {
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
                Refusal::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "SIZE_INVALID",
                    format!("the body cannot be read: {error}"),
                )
            })?;
            commit(engine, &principal, &parsed, Content::Bytes(&body.to_bytes())).await
        }
        Work::Receive => {
            let reader = stream(body);
            let (receiver, request, principal_scope) =
                (engine.clone(), parsed.clone(), principal.scope.clone());
            let received = tokio::task::spawn_blocking(move || {
                let state = receiver.db.snapshot();
                let tx = Tx::new(&state, principal_scope);
                distribution::receive(&tx, &receiver.machine.bulk, &request, &mut { reader })
            });
            let received = received.await.map_err(|error| {
                tracing::error!(%error, "an upload could not be taken in");
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "BLOB_UPLOAD_INVALID", "the upload failed")
            })?;
            match received? {
                Received::Answer(response) => Ok(response),
                Received::Stored(stored) => {
                    commit(engine, &principal, &parsed, Content::Stored(stored)).await
                }
            }
        }
    }
}

async fn commit(
    engine: &Engine,
    principal: &Principal,
    request: &Parsed,
    content: Content<'_>,
) -> Result<Response<distribution::Body>, Refusal> {
    let committed = engine.db.transact(&principal.scope, |tx| {
        engine.within(tx, &principal.caller, &request.host, |cx| distribution::handle(cx, request, content))
    })?;
    engine.durable(committed.version).await;
    Ok(committed.value)
}

/// Asks the caller's policies and, for a repository, its own; of another account's repository both must allow.
fn authorize(
    state: &State,
    principal: &Principal,
    action: &str,
    repository: Option<&str>,
) -> Result<(), Refusal> {
    let registry = &principal.scope;
    let resource = repository.map(|name| registry.arn("ecr", format_args!("repository/{name}")));
    let policy = repository.and_then(|name| pileus_registry::repository_policy(state, registry, name));
    let access = Access {
        action,
        resource: resource.as_deref().unwrap_or("*"),
        owner: repository.map(|_| registry.account.as_str()),
        resource_policy: policy.as_deref(),
        ..Access::default()
    };
    pileus_security::authorize_with(&Tx::new(state, registry.clone()), &principal.caller, access)
        .map_err(|error| Refusal::denied(error.message))
}

/// A body that is read by a thread that may block.
struct Reader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Hands a body over to a [`Reader`], a few chunks ahead of it.
fn stream(mut body: Incoming) -> Reader {
    let (sender, chunks) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let chunk = match tokio::time::timeout(PAUSE, body.frame()).await {
                Ok(None) => return,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(data),
                    Err(_) => continue,
                },
                Ok(Some(Err(error))) => Err(io::Error::other(error)),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client paused for too long")),
            };
            let failed = chunk.is_err();
            if sender.send(chunk).await.is_err() || failed {
                return;
            }
        }
    });
    Reader { chunks, chunk: Bytes::new() }
}

/// Bytes of a file, read as the client takes them.
async fn open(path: PathBuf, first: u64, length: u64) -> io::Result<Body> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(io::SeekFrom::Start(first)).await?;
    let file = file.take(length);
    let chunks = futures_util::stream::unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(length) => {
                chunk.truncate(length);
                Some((Ok(Frame::data(Bytes::from(chunk))), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    Ok(StreamBody::new(chunks).boxed())
}
