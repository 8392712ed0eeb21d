//! TLS as a listener terminates it: `config` compiles what the configuration says, `server` shakes hands.
//!
//! The protocol is rustls: TLS 1.2 and 1.3, and of their cipher suites those with authenticated encryption. Session
//! tickets let clients resume, on any worker, until the listener's certificates change.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/create-https-listener.html>

mod config;
mod server;

pub(crate) use config::{TlsListener, starred};
pub(crate) use server::{Agreed, HANDSHAKE, accept, expected, first_byte};
