//! The answers that the balancer gives itself: error pages, redirects, fixed responses. They carry ALB's
//! `Server: awselb/2.0`, and error pages have ALB's body.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

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
    pub(crate) location: Option<&'a str>,
    pub(crate) body: &'a [u8],
    pub(crate) keep_alive: bool,
    /// The request was `HEAD`: the body is left out, its length is not.
    pub(crate) to_head: bool,
}

impl Answer<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>, now: Timestamp) {
        let connection = if self.keep_alive { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {} {}\r\nServer: awselb/2.0\r\nDate: {}\r\n",
            self.status,
            reason(self.status),
            now.format("%a, %d %b %Y %H:%M:%S GMT"),
        );
        out.extend_from_slice(head.as_bytes());
        if !self.content_type.is_empty() {
            out.extend_from_slice(format!("Content-Type: {}\r\n", self.content_type).as_bytes());
        }
        let framing = format!("Content-Length: {}\r\nConnection: {connection}\r\n", self.body.len());
        out.extend_from_slice(framing.as_bytes());
        if let Some(location) = self.location {
            out.extend_from_slice(format!("Location: {location}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if !self.to_head {
            out.extend_from_slice(self.body);
        }
    }
}

/// ALB's HTML body for `status`, `note` added where it says more than ALB would.
pub(crate) fn page(status: u16, note: Option<&str>) -> String {
    let title = format!("{status} {}", reason(status));
    let title = title.trim_end();
    let note = note.map(|note| format!("<p>{note}</p>\r\n")).unwrap_or_default();
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         {note}</body>\r\n</html>\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_reads_as_albs() {
        let body = page(301, None);
        let answer = Answer {
            status: 301,
            content_type: "text/html",
            location: Some("https://example.com:443/"),
            body: body.as_bytes(),
            keep_alive: true,
            to_head: false,
        };
        let mut out = Vec::new();
        answer.write(&mut out, Timestamp::from_secs(1_795_377_600));
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
