//! The answers that the balancer gives itself: error pages, redirects, fixed responses. They carry ALB's
//! `Server: awselb/2.0`, and error pages have ALB's body.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use std::borrow::Cow;

use pileus_core::Timestamp;

/// The reason phrase, which is also the page's title.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Authorization Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        408 => "Request Time-out",
        410 => "Gone",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        418 => "I'm a teapot",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// An answer of the balancer's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) location: Option<String>,
    pub(crate) body: Cow<'a, [u8]>,
}

impl Answer<'_> {
    /// ALB's page for `status`; `note` is added where it says more than ALB would.
    pub(crate) fn page(status: u16, note: Option<&str>) -> Self {
        let title = format!("{status} {}", reason(status));
        let title = title.trim_end();
        let note = note.map(|note| format!("<p>{note}</p>\r\n")).unwrap_or_default();
        let body = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
             {note}</body>\r\n</html>\r\n"
        );
        Self { status, content_type: "text/html", location: None, body: body.into_bytes().into() }
    }

    /// As bytes; to a `HEAD` request without the body, but with its length.
    pub(crate) fn write(&self, out: &mut Vec<u8>, to_head: bool, keep_alive: bool, now: Timestamp) {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nServer: awselb/2.0\r\nDate: {}\r\n",
            self.status,
            reason(self.status),
            now.format("%a, %d %b %Y %H:%M:%S GMT"),
        );
        if !self.content_type.is_empty() {
            head += &format!("Content-Type: {}\r\n", self.content_type);
        }
        let connection = if keep_alive { "keep-alive" } else { "close" };
        head += &format!("Content-Length: {}\r\nConnection: {connection}\r\n", self.body.len());
        if let Some(location) = &self.location {
            head += &format!("Location: {location}\r\n");
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\r\n");
        if !to_head {
            out.extend_from_slice(&self.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_reads_as_albs() {
        let answer = Answer { location: Some("https://example.com:443/".into()), ..Answer::page(301, None) };
        let mut out = Vec::new();
        answer.write(&mut out, false, true, Timestamp::from_secs(1_795_377_600));
        assert_eq!(
            String::from_utf8(out).expect("ASCII"),
            "HTTP/1.1 301 Moved Permanently\r\nServer: awselb/2.0\r\nDate: Sun, 22 Nov 2026 20:00:00 GMT\r\n\
             Content-Type: text/html\r\nContent-Length: 134\r\nConnection: keep-alive\r\n\
             Location: https://example.com:443/\r\n\r\n\
             <html>\r\n<head><title>301 Moved Permanently</title></head>\r\n<body>\r\n\
             <center><h1>301 Moved Permanently</h1></center>\r\n</body>\r\n</html>\r\n"
        );
    }
}
