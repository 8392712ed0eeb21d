//! Handshakes. At a node the listener is known beforehand; at the edge the name that the client asks for tells it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::config::name_of;
use crate::worker::view::View;
use crate::worker::{Door, Worker};

/// The first byte of a TLS connection: a record of the handshake (RFC 8446 §5.1).
pub(crate) const HANDSHAKE: u8 = 22;
/// From the first byte of the client to the last of the handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was agreed with a client, as ALB names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    pub(crate) version: &'static str,
    pub(crate) suite: &'static str,
}

impl Agreed {
    pub(crate) fn of(stream: &TlsStream<TcpStream>) -> Option<Self> {
        let connection = stream.get_ref().1;
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "TLSv1.3",
        };
        Some(Self { version, suite: name_of(connection.negotiated_cipher_suite()?.suite()) })
    }
}

/// Whether any listener behind the door speaks TLS.
pub(crate) fn expected(view: &View, door: Door) -> bool {
    match door {
        Door::Node { node, port } => {
            view.snapshot.nodes.get(&(node, port)).is_some_and(|entry| view.tls(*entry).is_some())
        }
        Door::Edge { listener_port, .. } => {
            let entries =
                view.snapshot.edge.get(&listener_port).into_iter().flat_map(|edge| edge.by_host.values());
            entries.into_iter().any(|entry| view.tls(*entry).is_some())
        }
    }
}

/// Waits for the client's first byte and leaves it where it is.
pub(crate) async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    match stream.peek(&mut byte).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}

/// # Errors
/// There is no agreement, or not in time.
pub(crate) async fn accept(
    stream: TcpStream,
    worker: &Worker,
    door: Door,
) -> io::Result<TlsStream<TcpStream>> {
    let handshake = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = config(&worker.view(), door, start.client_hello().server_name());
        let config = config
            .ok_or_else(|| io::Error::other("no HTTPS listener has the name that the client asks for"))?;
        start.into_stream(config).await
    };
    tokio::time::timeout(PATIENCE, handshake).await?
}

fn config(view: &View, door: Door, name: Option<&str>) -> Option<Arc<ServerConfig>> {
    let entry = match door {
        Door::Node { node, port } => view.snapshot.nodes.get(&(node, port)).copied(),
        Door::Edge { listener_port, .. } => {
            view.snapshot.edge.get(&listener_port)?.find(name.unwrap_or_default().as_bytes())
        }
    };
    Some(Arc::clone(&view.tls(entry?)?.config))
}
