//! The sockets of a resolver, and the loop that serves them.

use std::net::{TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::answer::{Names, Transport, Verdict, decide, failure};
use super::forward::{Upstreams, read_framed, write_framed};

/// The longest query by datagram; no honest one comes near.
const DATAGRAM: usize = 4096;
/// Streams at once, and how long each may be silent.
const STREAMS: usize = 64;
const IDLE: Duration = Duration::from_secs(10);
/// The rest after an error of a listener, such as too many open files.
const RECOVERY: Duration = Duration::from_millis(100);

pub(super) struct Server {
    names: Arc<RwLock<Arc<Names>>>,
    upstreams: Upstreams,
    streams: Arc<Semaphore>,
}

impl Server {
    pub(super) fn new(names: Arc<RwLock<Arc<Names>>>, upstreams: Upstreams) -> Arc<Self> {
        Arc::new(Self { names, upstreams, streams: Arc::new(Semaphore::new(STREAMS)) })
    }

    /// Serves until the other end of `stopped` is dropped.
    pub(super) async fn run(
        self: Arc<Self>,
        sockets: Vec<(StdUdpSocket, StdTcpListener)>,
        stopped: oneshot::Receiver<()>,
    ) {
        for (udp, tcp) in sockets {
            match (UdpSocket::from_std(udp), TcpListener::from_std(tcp)) {
                (Ok(udp), Ok(tcp)) => {
                    tokio::spawn(Arc::clone(&self).serve_datagrams(Arc::new(udp)));
                    tokio::spawn(Arc::clone(&self).serve_streams(tcp));
                }
                (udp, tcp) => tracing::error!(?udp, ?tcp, "the resolver cannot serve an address"),
            }
        }
        // Only ever ends with the sender's drop; then the runtime ends, and every task with it.
        let _ = stopped.await;
    }

    async fn serve_datagrams(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::warn!(%error, "the resolver's socket failed");
                    tokio::time::sleep(RECOVERY).await;
                    continue;
                }
            };
            let bytes = buffer[..length].to_vec();
            let (server, socket) = (Arc::clone(&self), Arc::clone(&socket));
            tokio::spawn(async move {
                if let Some(answer) = server.answer(&bytes, Transport::Datagram).await
                    && let Err(error) = socket.send_to(&answer, client).await
                {
                    tracing::debug!(%error, %client, "an answer was not sent");
                }
            });
        }
    }

    async fn serve_streams(self: Arc<Self>, listener: TcpListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the resolver's listener failed");
                    tokio::time::sleep(RECOVERY).await;
                    continue;
                }
            };
            // Too many at once: the newest is closed.
            let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else { continue };
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                server.serve_stream(stream).await;
                drop(permit);
            });
        }
    }

    /// Until the client ends, is silent for too long, or sends what is no query.
    async fn serve_stream(&self, mut stream: TcpStream) {
        while let Ok(Ok(bytes)) = timeout(IDLE, read_framed(&mut stream)).await {
            let Some(answer) = self.answer(&bytes, Transport::Stream).await else { return };
            if !matches!(timeout(IDLE, write_framed(&mut stream, &answer)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn answer(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let names = Arc::clone(&self.names.read().unwrap_or_else(PoisonError::into_inner));
        let query = match decide(bytes, &names, transport) {
            Verdict::Answer(answer) => return Some(answer),
            Verdict::Ignore => return None,
            Verdict::Forward(query) => query,
        };
        match self.upstreams.ask(&query, bytes, transport).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(%error, "the host's resolvers gave no answer");
                match failure(&query, ResponseCode::ServFail) {
                    Verdict::Answer(answer) => Some(answer),
                    Verdict::Ignore | Verdict::Forward(_) => None,
                }
            }
        }
    }
}
