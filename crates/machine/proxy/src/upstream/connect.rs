//! New connections to targets, from a node's address inside its namespace.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

use crate::daemon::snapshot::Node;

/// ALB gives up on a connection after 10 s.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Nobody answered in time: 504.
    Timeout,
    /// Refused, reset, or unreachable: 502.
    Failed(io::Error),
}

pub(crate) async fn connect(
    node: &Node,
    target: SocketAddrV4,
    limit: Duration,
) -> Result<TcpStream, ConnectError> {
    let attempt = async {
        let socket = node.namespace.enter(TcpSocket::new_v4)?;
        socket.set_nodelay(true)?;
        // One source port may serve for connections to many targets.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::from((node.address, 0)))?;
        socket.connect(SocketAddr::V4(target)).await
    };
    match tokio::time::timeout(limit, attempt).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(ConnectError::Timeout),
        Ok(Err(error)) => Err(ConnectError::Failed(error)),
        Err(_) => Err(ConnectError::Timeout),
    }
}
