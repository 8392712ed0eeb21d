//! A request's head: parsed with `httparse`, then judged as ALB judges it.
//!
//! ALB classifies requests by AWS's http-desync-guardian and, in its default `defensive` mode, answers *severe*
//! ones with 400, and routes *ambiguous* ones but closes both connections afterwards. What is forwarded is always
//! written anew from the parsed parts, so that a target never sees framing that the balancer read differently.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#desync-mitigation-mode>

use std::mem::MaybeUninit;

use super::body::BodyKind;
use super::headers::{Field, HeaderId, Span, elements, suspicious_name, trim};
use super::{MAX_FORWARDED_FOR, MAX_HEADER, MAX_REQUEST_LINE};

/// Heads with up to this many fields are parsed without allocation.
const USUAL_FIELDS: usize = 64;
/// More fields than this are refused: no sane client sends them.
const MAX_FIELDS: usize = 1024;

/// Why a request is not accepted. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// 400: malformed, or *severe*.
    Malformed,
    /// 405: TRACE.
    Method,
    /// 414: the request line exceeds 16 K.
    LineTooLong,
    /// 463: more than 30 addresses in `X-Forwarded-For`.
    TooManyForwarded,
    /// 501: a transfer coding other than chunked.
    TransferCoding,
    /// 505: an HTTP version other than 1.0 and 1.1.
    Version,
}

impl Reject {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Method => 405,
            Self::LineTooLong => 414,
            Self::TooManyForwarded => 463,
            Self::TransferCoding => 501,
            Self::Version => 505,
        }
    }
}

/// A parsed head. All spans lie in the buffer that it was parsed from. Reused from request to request.
#[derive(Debug, Default)]
pub(crate) struct RequestHead {
    /// Bytes that the head takes in the buffer.
    pub(crate) len: usize,
    pub(crate) method: Span,
    /// Path and query as sent (`/a?b`), or `*`.
    pub(crate) target: Span,
    pub(crate) path: Span,
    /// Without the `?`; empty where there is none.
    pub(crate) query: Span,
    /// The host that the request is for: of an absolute URI, else of `Host`. Empty in HTTP/1.0 without it.
    pub(crate) host: Span,
    /// HTTP/1.`minor`.
    pub(crate) minor: u8,
    pub(crate) fields: Vec<Field>,
    pub(crate) body: BodyKind,
    /// The client's side allows another request on the connection.
    pub(crate) keep_alive: bool,
    /// Asks to switch to WebSocket, the only protocol an ALB switches to: `h2c` would carry requests past the rules.
    pub(crate) upgrade: bool,
    /// `Connection` names fields of its own, which go no further.
    pub(crate) nominates: bool,
    /// Classified *ambiguous*: routed, then both connections are closed.
    pub(crate) ambiguous: bool,
    has_host: bool,
    websocket: bool,
    forwarded_for: usize,
    transfer_encodings: usize,
    pub(crate) content_length: Option<u64>,
}

impl RequestHead {
    pub(crate) fn field<'a>(&self, buffer: &'a [u8], id: HeaderId) -> Option<&'a [u8]> {
        self.fields.iter().find(|field| field.id == id).map(|field| field.value.in_(buffer))
    }

    pub(crate) fn is_head(&self, buffer: &[u8]) -> bool {
        self.method.in_(buffer) == b"HEAD"
    }

    /// Whether the method may be sent twice without doing its work twice (RFC 9110 §9.2.2).
    pub(crate) fn idempotent(&self, buffer: &[u8]) -> bool {
        matches!(self.method.in_(buffer), b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
    }

    /// Says that the head is not in the buffer (any more), and how its body is delimited from here.
    pub(crate) fn leave(&mut self, body: BodyKind) {
        self.len = 0;
        self.body = body;
    }

    /// Parses the head at the start of `buffer`. `Ok(false)`: more bytes are needed.
    pub(crate) fn parse(&mut self, buffer: &[u8]) -> Result<bool, Reject> {
        let mut few = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
        match self.parse_into(buffer, &mut few) {
            Err(httparse::Error::TooManyHeaders) => {
                let mut many = vec![MaybeUninit::uninit(); MAX_FIELDS];
                self.parse_into(buffer, &mut many).map_err(|error| reject_of(error, buffer))
            }
            result => result.map_err(|error| reject_of(error, buffer)),
        }
        .and_then(|complete| {
            if complete {
                self.judge(buffer)?;
            } else {
                limit_partial(buffer)?;
            }
            Ok(complete)
        })
    }

    fn parse_into<'b>(
        &mut self,
        buffer: &'b [u8],
        fields: &mut [MaybeUninit<httparse::Header<'b>>],
    ) -> Result<bool, httparse::Error> {
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(buffer, fields)?;
        let httparse::Status::Complete(len) = status else { return Ok(false) };
        self.len = len;
        self.minor = request.version.unwrap_or(0);
        self.method = Span::of(buffer, request.method.unwrap_or("").as_bytes());
        self.target = Span::of(buffer, request.path.unwrap_or("").as_bytes());
        self.fields.clear();
        self.fields.extend(request.headers.iter().map(|header| Field {
            id: HeaderId::of(header.name.as_bytes()),
            name: Span::of(buffer, header.name.as_bytes()),
            value: Span::of(buffer, header.value),
        }));
        Ok(true)
    }

    fn judge(&mut self, buffer: &[u8]) -> Result<(), Reject> {
        self.reset_facts();
        if self.target.end as usize > MAX_REQUEST_LINE {
            return Err(Reject::LineTooLong);
        }
        if self.method.in_(buffer) == b"TRACE" {
            return Err(Reject::Method);
        }
        for index in 0..self.fields.len() {
            self.judge_field(buffer, self.fields[index])?;
        }
        self.judge_target(buffer)?;
        if self.minor == 1 && !self.has_host {
            return Err(Reject::Malformed);
        }
        if self.forwarded_for > MAX_FORWARDED_FOR {
            return Err(Reject::TooManyForwarded);
        }
        self.judge_body(buffer)
    }

    fn reset_facts(&mut self) {
        self.host = Span::default();
        self.keep_alive = self.minor == 1;
        self.upgrade = false;
        self.nominates = false;
        self.websocket = false;
        self.ambiguous = false;
        self.has_host = false;
        self.forwarded_for = 0;
        self.transfer_encodings = 0;
        self.content_length = None;
    }

    fn judge_field(&mut self, buffer: &[u8], field: Field) -> Result<(), Reject> {
        let value = field.value.in_(buffer);
        if field.name.len() + value.len() > MAX_HEADER {
            return Err(Reject::Malformed);
        }
        match field.id {
            HeaderId::Host if self.has_host => return Err(Reject::Malformed),
            HeaderId::Host => {
                self.has_host = true;
                self.host = field.value;
            }
            HeaderId::ContentLength => self.judge_length(value)?,
            HeaderId::TransferEncoding => {
                self.transfer_encodings += 1;
                if !trim(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Reject::TransferCoding);
                }
            }
            HeaderId::Connection => self.judge_connection(value),
            HeaderId::Upgrade => self.websocket |= trim(value).eq_ignore_ascii_case(b"websocket"),
            HeaderId::XForwardedFor => self.forwarded_for += elements(value).count(),
            HeaderId::Other if suspicious_name(field.name.in_(buffer)) => self.ambiguous = true,
            _ => {}
        }
        Ok(())
    }

    fn judge_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        let length = parse_length(trim(value)).ok_or(Reject::Malformed)?;
        match self.content_length.replace(length) {
            Some(other) if other != length => Err(Reject::Malformed),
            Some(_) => {
                self.ambiguous = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn judge_connection(&mut self, value: &[u8]) {
        for option in elements(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.keep_alive = false;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive |= self.minor == 0;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = self.minor == 1;
            } else {
                self.nominates = true;
            }
        }
    }

    /// Splits the target; the authority of an absolute URI wins over `Host`.
    fn judge_target(&mut self, buffer: &[u8]) -> Result<(), Reject> {
        let target = self.target.in_(buffer);
        if target != b"*" && !target.starts_with(b"/") {
            let (authority, rest) = split_absolute(target).ok_or(Reject::Malformed)?;
            self.host = Span::of(buffer, authority);
            self.has_host = true;
            self.target = Span::of(buffer, rest);
        }
        if !valid_host(self.host.in_(buffer)) {
            return Err(Reject::Malformed);
        }
        let target = self.target.in_(buffer);
        let mark = target.iter().position(|&byte| byte == b'?');
        self.path = Span::of(buffer, &target[..mark.unwrap_or(target.len())]);
        self.query = mark.map_or(Span::default(), |mark| Span::of(buffer, &target[mark + 1..]));
        Ok(())
    }

    fn judge_body(&mut self, buffer: &[u8]) -> Result<(), Reject> {
        let bodiless = matches!(self.method.in_(buffer), b"GET" | b"HEAD");
        self.body = match (self.transfer_encodings, self.content_length) {
            (0, None | Some(0)) => BodyKind::None,
            (0, Some(length)) => BodyKind::Length(length),
            (1, length) if self.minor == 1 => {
                self.ambiguous |= length.is_some();
                BodyKind::Chunked
            }
            _ => return Err(Reject::Malformed),
        };
        self.ambiguous |= bodiless && self.body != BodyKind::None;
        self.upgrade &= self.websocket && self.body == BodyKind::None;
        Ok(())
    }
}

/// Only digits, and not more than fit: `+1`, `0x1`, `1, 1` and the empty value are refused.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value
        .iter()
        .try_fold(0, |sum: u64, &byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// `http://host:port/path?query` → (`host:port`, `/path?query`).
fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"http://")).map(|_| 7);
    let scheme =
        scheme.or(target.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case(b"https://")).map(|_| 8));
    let rest = &target[scheme?..];
    let slash = rest.iter().position(|&byte| byte == b'/')?;
    (slash > 0).then(|| rest.split_at(slash))
}

fn valid_host(host: &[u8]) -> bool {
    host.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&byte))
}

/// An incomplete head that has already outgrown a limit is refused early.
pub(crate) fn limit_partial(buffer: &[u8]) -> Result<(), Reject> {
    if buffer.len() > MAX_REQUEST_LINE && !buffer[..MAX_REQUEST_LINE].contains(&b'\n') {
        return Err(Reject::LineTooLong);
    }
    if buffer.len() >= super::MAX_REQUEST_HEAD {
        return Err(Reject::Malformed);
    }
    Ok(())
}

fn reject_of(error: httparse::Error, buffer: &[u8]) -> Reject {
    if error != httparse::Error::Version {
        return Reject::Malformed;
    }
    let line = buffer.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let digits = |word: &[u8]| word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    match words[..] {
        [_, _, version] if version.strip_prefix(b"HTTP/").is_some_and(digits) => Reject::Version,
        _ => Reject::Malformed,
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
