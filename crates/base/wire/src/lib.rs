//! The AWS wire protocols, driven by the schemas of `pileus-model`: no service is known here by name.
//!
//! The server's way in is [`detect`] (which operation, in which protocol), [`sigv4::verify`] (who asks) and
//! [`decode`]; its way out is [`encode_response`] or [`encode_error`]. The client's way is [`encode_request`],
//! [`sigv4::sign`] and [`decode_response`]. All are functions over bytes, bounded in depth, counts and size, and
//! none panics whatever the bytes are.
//!
//! <https://smithy.io/2.0/aws/protocols/index.html>

mod cbor;
mod client;
mod detect;
mod error;
mod form;
mod inflate;
mod json;
mod percent;
mod query;
mod rest;
mod scalar;
mod server;
pub mod sigv4;
mod xml;

pub use client::{decode_response, encode_request, encode_request_as};
pub use detect::{Call, Content, Dialect, Rejection, detect};
pub use server::{decode, encode_error, encode_response};
