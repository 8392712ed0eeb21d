//! One request to the kernel's routing socket: an address for the loopback interface.
//!
//! rtnetlink(7); 40 bytes do not need a crate with an async runtime in a process that has none.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
/// REQUEST, ACK, REPLACE, CREATE
const FLAGS: u16 = 0x1 | 0x4 | 0x100 | 0x400;
const AF_INET: u8 = 2;
const SCOPE_HOST: u8 = 254;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;

/// Gives the loopback interface of this network namespace one more address (/32).
pub(super) fn add_loopback_address(address: Ipv4Addr) -> io::Result<()> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(socket.as_raw_fd(), &request(address), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let [_, _, _, _, kind_low, kind_high, _, _, _, _, _, _, _, _, _, _, a, b, c, d, ..] = answer;
    if length < 20 || u16::from_ne_bytes([kind_low, kind_high]) != NLMSG_ERROR {
        return Err(io::Error::other("the kernel's answer to the new address is not an acknowledgement"));
    }
    match i32::from_ne_bytes([a, b, c, d]) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

fn request(address: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![AF_INET, 32, 0, SCOPE_HOST];
    body.extend(LOOPBACK.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        body.extend(8u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(address.octets());
    }
    let mut message = Vec::new();
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(RTM_NEWADDR.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);
    message
}
