//! The edge: one listener on loopback for each listener port that an internet-facing load balancer has.
//!
//! The port is the listener's own; where it is taken, 8080 stands in for 80 and 8443 for 443, else any free one. A port once chosen
//! is kept as long as it can be, also over a restart of the balancer, so that URLs stay.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use super::socket::listen_all;
use crate::config::BalancerConfig;

/// Opens the edge's sockets for `listener_port`, `workers` of them on each address: all on one port, which is
/// returned. `before` is the port that was bound last time.
pub(crate) fn open(
    config: &BalancerConfig,
    listener_port: u16,
    before: Option<u16>,
) -> io::Result<(u16, Vec<Vec<TcpListener>>)> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for port in candidates(&config.edge_ports, listener_port, before) {
        match open_on(config, port) {
            Ok(opened) => return Ok(opened),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The ports to try, in order; 0 is any free one.
fn candidates(chosen: &BTreeMap<u16, u16>, listener_port: u16, before: Option<u16>) -> Vec<u16> {
    let preferred = chosen.get(&listener_port).copied().unwrap_or(listener_port);
    let mut ports: Vec<u16> = before.into_iter().collect();
    ports.push(preferred);
    let unprivileged = match listener_port {
        80 => Some(8080),
        443 => Some(8443),
        _ => None,
    };
    ports.extend(unprivileged.filter(|_| !chosen.contains_key(&listener_port)));
    // Any free one, a few times: the port must be free on all addresses.
    ports.extend([0; 4]);
    ports
}

fn open_on(config: &BalancerConfig, port: u16) -> io::Result<(u16, Vec<Vec<TcpListener>>)> {
    let mut port = port;
    let mut opened: Vec<Vec<TcpListener>> = (0..config.workers).map(|_| Vec::new()).collect();
    for address in &config.edge_addresses {
        let sockets = match listen_all(SocketAddr::new(*address, port), config.workers) {
            Ok(sockets) => sockets,
            Err(error) if lacks_family(*address, &error) => continue,
            Err(error) => return Err(error),
        };
        for (worker, socket) in opened.iter_mut().zip(sockets) {
            port = socket.local_addr()?.port();
            worker.push(socket);
        }
    }
    if opened.iter().all(Vec::is_empty) {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    Ok((port, opened))
}

/// Whether the host simply has no IPv6.
fn lacks_family(address: IpAddr, error: &io::Error) -> bool {
    address.is_ipv6()
        && (error.kind() == io::ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_tried_in_order() {
        let none = BTreeMap::new();
        assert_eq!(candidates(&none, 80, None), [80, 8080, 0, 0, 0, 0]);
        assert_eq!(candidates(&none, 443, Some(40001)), [40001, 443, 8443, 0, 0, 0, 0]);
        assert_eq!(candidates(&BTreeMap::from([(80, 18080)]), 80, None), [18080, 0, 0, 0, 0]);
    }
}
