//! Heads as they are passed on: the request's to the target, the response's to the client.
//!
//! A request's head is written anew: ALB's `X-Forwarded-*`, `Host` and `X-Amzn-Trace-Id` first, then the client's
//! fields without those that concern one hop only (RFC 9110 §7.6.1). A response passes untouched but for these.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html>

use pileus_contract::proxy::{LoadBalancerAttributes, XffMode};

use super::headers::{Field, HeaderId, nominated, trim, valid_name};
use super::trace::{self, Random};
use super::{BodyKind, RequestHead, ResponseHead};
use crate::tls::Agreed;

/// What the balancer adds to a request.
pub(crate) struct Hop<'a> {
    /// The client's address as text.
    pub(crate) client: &'a str,
    pub(crate) client_port: u16,
    pub(crate) listener_port: u16,
    pub(crate) tls: Option<Agreed>,
    pub(crate) attributes: &'a LoadBalancerAttributes,
    pub(crate) epoch_secs: u64,
}

/// Writes the head that the target gets.
pub(crate) fn request(
    out: &mut Vec<u8>,
    buffer: &[u8],
    head: &RequestHead,
    hop: &Hop<'_>,
    random: &mut Random,
) {
    for part in [head.method.in_(buffer), b" ", head.target.in_(buffer), b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    forwarded_for(out, buffer, head, hop);
    out.extend_from_slice(match hop.tls {
        None => b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: ",
        Some(_) => b"X-Forwarded-Proto: https\r\nX-Forwarded-Port: ".as_slice(),
    });
    number(out, u64::from(hop.listener_port));
    host(out, head.host.in_(buffer), hop);
    out.extend_from_slice(b"X-Amzn-Trace-Id: ");
    let received = head.field(buffer, HeaderId::TraceId);
    trace::write(out, received, head.len, hop.epoch_secs, random);
    out.extend_from_slice(b"\r\n");
    if let Some(tls) = hop.tls.filter(|_| hop.attributes.tls_headers) {
        for part in ["x-amzn-tls-version: ", tls.version, "\r\nx-amzn-tls-cipher-suite: ", tls.suite, "\r\n"]
        {
            out.extend_from_slice(part.as_bytes());
        }
    }
    for field in &head.fields {
        if passes(field, buffer, head, hop.attributes) {
            copy(out, buffer, field);
        }
    }
    framing(out, head);
    if head.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn forwarded_for(out: &mut Vec<u8>, buffer: &[u8], head: &RequestHead, hop: &Hop<'_>) {
    let received = || head.fields.iter().filter(|field| field.id == HeaderId::XForwardedFor);
    match hop.attributes.xff_mode {
        XffMode::Remove => {}
        XffMode::Preserve => received().for_each(|field| copy(out, buffer, field)),
        XffMode::Append => {
            out.extend_from_slice(b"X-Forwarded-For: ");
            for value in
                received().map(|field| trim(field.value.in_(buffer))).filter(|value| !value.is_empty())
            {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(hop.client.as_bytes());
            if hop.attributes.xff_client_port {
                out.push(b':');
                number(out, u64::from(hop.client_port));
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// ALB's rule: on ports 80 and 443 `Host` goes without a port, on others with the listener's; or as it came.
fn host(out: &mut Vec<u8>, host: &[u8], hop: &Hop<'_>) {
    out.extend_from_slice(b"\r\nHost: ");
    if hop.attributes.preserve_host_header {
        out.extend_from_slice(host);
    } else {
        out.extend_from_slice(without_port(host));
        if !matches!(hop.listener_port, 80 | 443) && !host.is_empty() {
            out.push(b':');
            number(out, u64::from(hop.listener_port));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// `name:80` → `name`, `[::1]:80` → `[::1]`.
pub(crate) fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !host[colon..].contains(&b']') => &host[..colon],
        _ => host,
    }
}

fn passes(field: &Field, buffer: &[u8], head: &RequestHead, attributes: &LoadBalancerAttributes) -> bool {
    match field.id {
        HeaderId::Connection
        | HeaderId::KeepAlive
        | HeaderId::ProxyConnection
        | HeaderId::Host
        | HeaderId::ContentLength
        | HeaderId::TransferEncoding
        | HeaderId::TraceId
        | HeaderId::XForwardedFor
        | HeaderId::XForwardedPort
        | HeaderId::XForwardedProto => false,
        HeaderId::Upgrade => head.upgrade,
        HeaderId::Te => trim(field.value.in_(buffer)).eq_ignore_ascii_case(b"trailers"),
        HeaderId::Expect => true,
        HeaderId::Other => {
            let name = field.name.in_(buffer);
            !(head.nominates && nominated(&head.fields, buffer, name))
                && (!attributes.drop_invalid_header_fields || valid_name(name))
        }
    }
}

fn framing(out: &mut Vec<u8>, head: &RequestHead) {
    match (head.body, head.content_length) {
        (BodyKind::Chunked | BodyKind::UntilClose, _) => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        (BodyKind::Length(length), _) | (BodyKind::None, Some(length)) => {
            out.extend_from_slice(b"Content-Length: ");
            number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        (BodyKind::None, None) => {}
    }
}

/// How the response goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHop {
    /// The client spoke HTTP/1.`minor`: one of 1.0 gets no chunked body.
    pub(crate) client_minor: u8,
    /// Another request may follow on the client's connection.
    pub(crate) keep_alive: bool,
}

/// Writes the head that the client gets.
pub(crate) fn response(out: &mut Vec<u8>, buffer: &[u8], head: &ResponseHead, hop: ResponseHop) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(head.status));
    for part in [b" ", head.reason.in_(buffer), b"\r\n"] {
        out.extend_from_slice(part);
    }
    for field in &head.fields {
        let passes = match field.id {
            HeaderId::Connection | HeaderId::KeepAlive | HeaderId::ProxyConnection => false,
            HeaderId::ContentLength => head.body != BodyKind::Chunked,
            HeaderId::TransferEncoding => hop.client_minor == 1,
            HeaderId::Upgrade => head.status == 101,
            _ => !(head.nominates && nominated(&head.fields, buffer, field.name.in_(buffer))),
        };
        if passes {
            copy(out, buffer, field);
        }
    }
    out.extend_from_slice(match (head.status, hop.keep_alive) {
        (101, _) => b"Connection: upgrade\r\n\r\n",
        (100..200, _) => b"\r\n",
        (_, true) => b"Connection: keep-alive\r\n\r\n",
        (_, false) => b"Connection: close\r\n\r\n",
    });
}

fn copy(out: &mut Vec<u8>, buffer: &[u8], field: &Field) {
    for part in [field.name.in_(buffer), b": ", field.value.in_(buffer), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// In decimal; faster than the formatting machinery, and on the path of every request.
fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
