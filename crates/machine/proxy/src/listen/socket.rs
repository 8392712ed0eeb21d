//! Listening sockets: one for each worker on the same address, so that the kernel spreads connections and no worker
//! waits for another.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, bind, getsockname,
    listen, setsockopt, socket, sockopt,
};

/// Connections that wait to be accepted, per socket.
const BACKLOG: i32 = 4096;

/// Opens `count` sockets that listen on `address`; port 0 takes any free one. Fails where somebody else has the
/// address, even where that somebody would share it.
pub(crate) fn listen_all(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // SO_REUSEPORT lets any process of this user in: only a bind without it shows that the address is free.
    let probe = bound(address, false)?;
    let port = getsockname::<SockaddrStorage>(std::os::fd::AsRawFd::as_raw_fd(&probe))?;
    let port = port.as_sockaddr_in().map(SockaddrIn::port).or(port.as_sockaddr_in6().map(SockaddrIn6::port));
    drop(probe);
    let address = SocketAddr::new(address.ip(), port.unwrap_or(address.port()));
    (0..count)
        .map(|_| {
            let socket = bound(address, true)?;
            listen(&socket, Backlog::new(BACKLOG)?)?;
            Ok(TcpListener::from(socket))
        })
        .collect()
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::ReusePort, &shared)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn a_shared_address_is_not_taken_twice() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sockets = listen_all(any, 2).expect("a free port");
        let address = sockets[0].local_addr().expect("bound");
        assert_eq!(sockets[1].local_addr().expect("bound"), address);
        TcpStream::connect(address).expect("listening");
        let error = listen_all(address, 2).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
