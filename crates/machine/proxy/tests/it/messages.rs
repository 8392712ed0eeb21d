//! HTTP/1 messages read by a parser that shares nothing with the balancer's.

use std::io::Read;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The request or status line.
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
    /// Without chunk framing.
    pub(crate) body: Vec<u8>,
    /// `name: value` lines after a chunked body.
    pub(crate) trailers: Vec<String>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

/// Reads one message. `None` at the end of the stream. A target leaves the body of a request that expects
/// `100-continue`, or that has `X-Unread`, to its handler.
pub(crate) fn read_message(stream: &mut impl Read, to_head: bool, request: bool) -> Option<Message> {
    let head = read_until(stream, b"\r\n\r\n")?;
    let head = String::from_utf8(head).expect("ASCII");
    let mut lines = head.trim_end().split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a field: {line:?}"));
        (name.to_owned(), value.to_owned())
    });
    let mut message = Message { start, fields: fields.collect(), body: Vec::new(), trailers: Vec::new() };
    let unread = message.field("Expect").is_some() || message.field("X-Unread").is_some();
    if !(to_head || unread && request) {
        read_body(stream, &mut message, request);
    }
    Some(message)
}

pub(crate) fn read_body(stream: &mut impl Read, message: &mut Message, request: bool) {
    if !request && (message.status() < 200 || matches!(message.status(), 204 | 304)) {
        return;
    }
    if message.field("Transfer-Encoding").is_some() {
        loop {
            let size = read_until(stream, b"\r\n").expect("a chunk");
            let size = std::str::from_utf8(&size).expect("ASCII").trim();
            let size = size.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("a size: {size:?}"));
            if size == 0 {
                break;
            }
            message.body.extend(read_exact(stream, size));
            assert_eq!(read_exact(stream, 2), b"\r\n");
        }
        loop {
            let line = String::from_utf8(read_until(stream, b"\r\n").expect("a trailer")).expect("ASCII");
            if line == "\r\n" {
                return;
            }
            message.trailers.push(line.trim_end().to_owned());
        }
    } else if let Some(length) = message.field("Content-Length") {
        let length = length.parse().expect("a length");
        message.body = read_exact(stream, length);
    } else if !request {
        stream.read_to_end(&mut message.body).expect("read to the end");
    }
}

pub(crate) fn read_exact(stream: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("as many bytes");
    bytes
}

/// Everything up to and with `end`. `None` if the stream ends before.
pub(crate) fn read_until(stream: &mut impl Read, end: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(end) {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return None,
        }
    }
    Some(bytes)
}
