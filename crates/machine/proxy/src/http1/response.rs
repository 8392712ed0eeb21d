//! A target's response head: parsed, and its framing decided (RFC 9112 §6.3). What is malformed or exceeds 32 K
//! becomes 502.

use std::mem::MaybeUninit;

use super::body::BodyKind;
use super::headers::{Field, HeaderId, Span, elements, trim};
use super::request::parse_length;

const USUAL_FIELDS: usize = 64;
const MAX_FIELDS: usize = 1024;

/// The response is not valid HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A parsed head. All spans lie in the buffer that it was parsed from. Reused from response to response.
#[derive(Debug, Default)]
pub(crate) struct ResponseHead {
    pub(crate) len: usize,
    pub(crate) status: u16,
    pub(crate) reason: Span,
    pub(crate) minor: u8,
    pub(crate) fields: Vec<Field>,
    pub(crate) body: BodyKind,
    /// `Connection` names fields of its own, which go no further.
    pub(crate) nominates: bool,
    /// The target lets the connection be used again.
    pub(crate) keep_alive: bool,
}

impl ResponseHead {
    /// Parses the head at the start of `buffer`, the answer to a request that was `HEAD` or not. `Ok(false)`: more
    /// bytes are needed.
    pub(crate) fn parse(&mut self, buffer: &[u8], to_head: bool) -> Result<bool, Malformed> {
        let mut few = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
        let complete = match self.parse_into(buffer, &mut few) {
            Err(httparse::Error::TooManyHeaders) => {
                let mut many = vec![MaybeUninit::uninit(); MAX_FIELDS];
                self.parse_into(buffer, &mut many)
            }
            result => result,
        }
        .map_err(|_| Malformed)?;
        if complete {
            self.judge(buffer, to_head)?;
        }
        Ok(complete)
    }

    fn parse_into<'b>(
        &mut self,
        buffer: &'b [u8],
        fields: &mut [MaybeUninit<httparse::Header<'b>>],
    ) -> Result<bool, httparse::Error> {
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut response, buffer, fields)?;
        let httparse::Status::Complete(len) = status else { return Ok(false) };
        self.len = len;
        self.minor = response.version.unwrap_or(0);
        self.status = response.code.unwrap_or(0);
        self.reason = Span::of(buffer, response.reason.unwrap_or("").as_bytes());
        self.fields.clear();
        self.fields.extend(response.headers.iter().map(|header| Field {
            id: HeaderId::of(header.name.as_bytes()),
            name: Span::of(buffer, header.name.as_bytes()),
            value: Span::of(buffer, header.value),
        }));
        Ok(true)
    }

    fn judge(&mut self, buffer: &[u8], to_head: bool) -> Result<(), Malformed> {
        if !(100..1000).contains(&self.status) {
            return Err(Malformed);
        }
        self.keep_alive = self.minor == 1;
        self.nominates = false;
        let (mut length, mut chunked) = (None, false);
        for field in &self.fields {
            let value = field.value.in_(buffer);
            match field.id {
                HeaderId::ContentLength => {
                    let this = parse_length(trim(value)).ok_or(Malformed)?;
                    if length.replace(this).is_some_and(|other| other != this) {
                        return Err(Malformed);
                    }
                }
                HeaderId::TransferEncoding => {
                    chunked =
                        elements(value).last().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
                    if !chunked {
                        return Err(Malformed);
                    }
                }
                HeaderId::Connection => {
                    for option in elements(value) {
                        if option.eq_ignore_ascii_case(b"close") {
                            self.keep_alive = false;
                        } else if option.eq_ignore_ascii_case(b"keep-alive") {
                            self.keep_alive |= self.minor == 0;
                        } else {
                            self.nominates = true;
                        }
                    }
                }
                _ => {}
            }
        }
        let bodiless = to_head || self.status < 200 || matches!(self.status, 204 | 304);
        self.body = match (bodiless, chunked, length) {
            (true, ..) | (false, false, Some(0)) => BodyKind::None,
            (false, true, _) => BodyKind::Chunked,
            (false, false, Some(length)) => BodyKind::Length(length),
            (false, false, None) => BodyKind::UntilClose,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, to_head: bool) -> Result<(u16, BodyKind, bool), Malformed> {
        let mut head = ResponseHead::default();
        assert!(head.parse(text.as_bytes(), to_head)?, "complete");
        Ok((head.status, head.body, head.keep_alive))
    }

    #[test]
    fn decides_the_framing() {
        let ok = "HTTP/1.1 200 OK\r\n";
        assert_eq!(
            parse(&format!("{ok}Content-Length: 5\r\n\r\n"), false),
            Ok((200, BodyKind::Length(5), true))
        );
        assert_eq!(parse(&format!("{ok}Content-Length: 5\r\n\r\n"), true), Ok((200, BodyKind::None, true)));
        assert_eq!(parse(&format!("{ok}\r\n"), false), Ok((200, BodyKind::UntilClose, true)));
        assert_eq!(
            parse(&format!("{ok}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), false),
            Ok((200, BodyKind::Chunked, true))
        );
        assert_eq!(parse("HTTP/1.1 204 No Content\r\n\r\n", false), Ok((204, BodyKind::None, true)));
        assert_eq!(
            parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", false),
            Ok((200, BodyKind::Length(1), false))
        );
        assert_eq!(
            parse(&format!("{ok}Connection: close\r\nContent-Length: 1\r\n\r\n"), false),
            Ok((200, BodyKind::Length(1), false))
        );
    }

    #[test]
    fn refuses_what_is_malformed() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/3.0 200 OK\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        ] {
            assert_eq!(parse(text, false), Err(Malformed), "{text:?}");
        }
    }
}
