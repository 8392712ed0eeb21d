//! Asks the host's resolvers. Bounded in time, size and number.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::PORT;
use super::answer::Transport;

/// How long one resolver is waited for; a client gives up after five seconds as a rule.
const PATIENCE: Duration = Duration::from_secs(2);
/// Resolvers that are tried, as glibc does.
const RESOLVERS: usize = 3;
/// Queries under way at once; more are refused.
const QUERIES: usize = 256;
/// The longest datagram taken from a resolver.
const DATAGRAM: usize = 4096;

pub(super) struct Upstreams {
    resolv_conf: PathBuf,
    queries: Semaphore,
}

impl Upstreams {
    pub(super) fn new(resolv_conf: PathBuf) -> Self {
        Self { resolv_conf, queries: Semaphore::new(QUERIES) }
    }

    /// The bytes of the first answer that a resolver gives.
    pub(super) async fn ask(
        &self,
        query: &Message,
        bytes: &[u8],
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let _permit = self.queries.try_acquire().map_err(|_| io::Error::other("too many queries at once"))?;
        // The file changes as the host moves between networks; it is small, and in memory.
        let text = std::fs::read_to_string(&self.resolv_conf)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no resolver");
        for address in resolvers(&text) {
            let exchange = async {
                match transport {
                    Transport::Datagram => by_datagram(address, query, bytes).await,
                    Transport::Stream => by_stream(address, query, bytes).await,
                }
            };
            match timeout(PATIENCE, exchange).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(elapsed) => last = elapsed.into(),
            }
        }
        Err(last)
    }
}

/// A fresh socket, so a fresh port, for each query; only the asked address can answer it.
async fn by_datagram(address: SocketAddr, query: &Message, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(query, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn by_stream(address: SocketAddr, query: &Message, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    write_framed(&mut stream, bytes).await?;
    let answer = read_framed(&mut stream).await?;
    if answers(query, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A message on a stream has its length before it (RFC 1035, 4.2.2).
pub(super) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

pub(super) async fn write_framed(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await
}

fn answers(query: &Message, bytes: &[u8]) -> bool {
    Message::from_vec(bytes).is_ok_and(|answer| {
        answer.metadata.id == query.metadata.id
            && answer.metadata.message_type == hickory_proto::op::MessageType::Response
            && answer.queries == query.queries
    })
}

/// The name servers in the text of a `resolv.conf`.
fn resolvers(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(words.next()?.parse::<IpAddr>().ok()?)
    });
    addresses.take(RESOLVERS).map(|address| SocketAddr::from((address, PORT))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_name_servers_as_glibc_does() {
        let text = "# nameserver 9.9.9.9\nsearch example.com\nnameserver 127.0.0.53\n nameserver ::1 # x\n\
                    nameserver rubbish\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let found: Vec<String> = resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53:53", "[::1]:53", "1.1.1.1:53"]);
        assert!(resolvers("").is_empty());
    }
}
