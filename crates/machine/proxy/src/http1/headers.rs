//! Header fields as positions in the buffer they were parsed from, and the few names the balancer acts on.

use std::ops::Range;

/// A range of the buffer that a head was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The position of `part` in `whole`, which it must be a slice of.
    pub(crate) fn of(whole: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(part.is_empty() || start + part.len() <= whole.len(), "not a part of the buffer");
        if part.is_empty() {
            return Self::default();
        }
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }

    pub(crate) fn in_(self, buffer: &[u8]) -> &[u8] {
        &buffer[Range::<usize>::from(self)]
    }

    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start as usize..span.end as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) id: HeaderId,
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// The header names that mean something to the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderId {
    Other,
    Connection,
    ContentLength,
    Expect,
    Host,
    KeepAlive,
    ProxyConnection,
    Te,
    TraceId,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedPort,
    XForwardedProto,
}

impl HeaderId {
    /// One comparison at most: the length and the first letter leave one candidate.
    pub(crate) fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        let (text, id): (&[u8], Self) = match (name.len(), first.to_ascii_lowercase()) {
            (2, b't') => (b"te", Self::Te),
            (4, b'h') => (b"host", Self::Host),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (15, b'x') if name[2] | 0x20 == b'a' => (b"x-amzn-trace-id", Self::TraceId),
            (15, b'x') => (b"x-forwarded-for", Self::XForwardedFor),
            (16, b'x') => (b"x-forwarded-port", Self::XForwardedPort),
            (16, b'p') => (b"proxy-connection", Self::ProxyConnection),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            (17, b'x') => (b"x-forwarded-proto", Self::XForwardedProto),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(text) { id } else { Self::Other }
    }
}

/// The elements of a comma-separated header value, trimmed; empty ones are left out.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

pub(crate) fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// Whether some `Connection` field among `fields` names `name`.
pub(crate) fn nominated(fields: &[Field], buffer: &[u8], name: &[u8]) -> bool {
    fields
        .iter()
        .filter(|field| field.id == HeaderId::Connection)
        .any(|field| elements(field.value.in_(buffer)).any(|option| option.eq_ignore_ascii_case(name)))
}

/// A name as ALB counts it valid: `[-A-Za-z0-9]+`.
pub(crate) fn valid_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Whether a name that is neither could pass for `Content-Length` or `Transfer-Encoding` with a careless server:
/// `Transfer_Encoding`, `Content.Length`. (`SuspiciousHeader` of AWS's http-desync-guardian.)
pub(crate) fn suspicious_name(name: &[u8]) -> bool {
    let letters = || name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    (13..=24).contains(&name.len())
        && matches!(name[0].to_ascii_lowercase(), b'c' | b't' | b'_' | b'.' | b'-')
        && (letters().eq(*b"contentlength") || letters().eq(*b"transferencoding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_names_in_any_case() {
        for (name, id) in [
            ("hOsT", HeaderId::Host),
            ("content-LENGTH", HeaderId::ContentLength),
            ("Transfer-Encoding", HeaderId::TransferEncoding),
            ("X-Forwarded-For", HeaderId::XForwardedFor),
            ("X-Amzn-Trace-Id", HeaderId::TraceId),
            ("x-forwarded-port", HeaderId::XForwardedPort),
            ("TE", HeaderId::Te),
            ("x-forwarded-fox", HeaderId::Other),
            ("", HeaderId::Other),
        ] {
            assert_eq!(HeaderId::of(name.as_bytes()), id, "{name}");
        }
    }

    #[test]
    fn finds_disguised_framing_headers() {
        for name in ["Transfer_Encoding", "content.length", "Contentlength", "Transfer--Encoding"] {
            assert!(suspicious_name(name.as_bytes()), "{name}");
        }
        for name in ["Content-Language", "Transfer-Coding", "x-content-length"] {
            assert!(!suspicious_name(name.as_bytes()), "{name}");
        }
    }
}
