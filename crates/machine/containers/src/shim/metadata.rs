//! The task's link-local endpoint: metadata (v4) and role credentials on 169.254.170.2:80, from documents that the
//! engine provides. HTTP/1.1, GET only, one request a connection, bounded in size, time and number.
//!
//! It listens inside the task's network namespace and on its loopback interface only, so no other machine reaches it.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html>

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use pileus_core::Secret;

use super::netlink::add_loopback_address;

pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);

const MAX_CONNECTIONS: usize = 32;
const MAX_REQUEST: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Metadata {
    pub(super) listener: TcpListener,
    pub(super) connections: Vec<Connection>,
    documents: BTreeMap<String, Secret>,
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    request: Vec<u8>,
    /// What is left to send; empty until the request is whole.
    response: Vec<u8>,
    pub(super) deadline: Instant,
    done: bool,
}

impl Metadata {
    /// Opens the endpoint in the network namespace of this thread.
    pub(super) fn listen(documents: BTreeMap<String, Secret>) -> io::Result<Self> {
        add_loopback_address(ADDRESS)?;
        let listener = TcpListener::bind((ADDRESS, 80))?;
        setsockopt(&listener, BindToDevice, &OsString::from("lo"))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, connections: Vec::new(), documents })
    }

    pub(super) fn replace(&mut self, documents: BTreeMap<String, Secret>) {
        self.documents = documents;
    }

    pub(super) fn accept(&mut self) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if transient(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        // The oldest gives way: it has had its time.
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.remove(0);
        }
        stream.set_nonblocking(true)?;
        let deadline = Instant::now() + PATIENCE;
        self.connections.push(Connection {
            stream,
            request: Vec::new(),
            response: Vec::new(),
            deadline,
            done: false,
        });
        Ok(())
    }

    pub(super) fn serve(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.done = connection.advance(&self.documents).unwrap_or(true);
    }

    /// Drops connections that are done or too slow.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.connections.retain(|connection| !connection.done && connection.deadline > now);
    }
}

impl Connection {
    pub(super) fn wants_to_write(&self) -> bool {
        !self.response.is_empty()
    }

    /// Reads or writes what can be; `true` when there is nothing more to do.
    fn advance(&mut self, documents: &BTreeMap<String, Secret>) -> io::Result<bool> {
        if self.response.is_empty() {
            let mut buffer = [0; 2048];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => self.request.extend_from_slice(&buffer[..count]),
                Err(error) if transient(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
            let Some(response) = respond(&self.request, documents) else { return Ok(false) };
            self.response = response;
        }
        match self.stream.write(&self.response) {
            Ok(count) => self.response.drain(..count),
            Err(error) if transient(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(self.response.is_empty())
    }
}

fn transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
}

/// The answer to a request; `None` while its head is not whole.
fn respond(request: &[u8], documents: &BTreeMap<String, Secret>) -> Option<Vec<u8>> {
    let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
        let text = r#"{"message":"the request head is too large"}"#;
        return (request.len() > MAX_REQUEST)
            .then(|| response("431 Request Header Fields Too Large", "", text));
    };
    let head = String::from_utf8_lossy(&request[..end]);
    let line: Vec<&str> = head.lines().next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = line[..] else {
        return Some(response("400 Bad Request", "", r#"{"message":"not an HTTP/1.1 request"}"#));
    };
    if method != "GET" {
        let text = r#"{"message":"only GET is served here"}"#;
        return Some(response("405 Method Not Allowed", "Allow: GET\r\n", text));
    }
    let path = target.split('?').next().unwrap_or_default();
    let document = documents.get(path).or_else(|| documents.get(path.trim_end_matches('/')));
    Some(match document {
        Some(document) => response("200 OK", "", document.reveal()),
        None => response("404 Not Found", "", r#"{"message":"no such document"}"#),
    })
}

fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(request: &str) -> Option<String> {
        let documents = BTreeMap::from([("/v4/abc".to_owned(), Secret::new(r#"{"DockerId":"abc"}"#))]);
        respond(request.as_bytes(), &documents).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn serves_documents_by_path() {
        let found = answer("GET /v4/abc?x=1 HTTP/1.1\r\nHost: 169.254.170.2\r\n\r\n").unwrap();
        assert!(
            found.starts_with("HTTP/1.1 200 OK\r\n") && found.ends_with("\r\n\r\n{\"DockerId\":\"abc\"}"),
            "{found}"
        );
        assert!(answer("GET /v4/abc/ HTTP/1.0\r\n\r\n").unwrap().contains(" 200 "));
        assert!(answer("GET /v4/other HTTP/1.1\r\n\r\n").unwrap().contains(" 404 "));
    }

    #[test]
    fn refuses_everything_else() {
        assert!(answer("PUT /v4/abc HTTP/1.1\r\n\r\n").unwrap().contains(" 405 "));
        assert!(answer("hello\r\n\r\n").unwrap().contains(" 400 "));
        assert!(answer("GET /v4/abc HTTP/1.1\r\n").is_none());
        assert!(answer(&"x".repeat(MAX_REQUEST + 1)).unwrap().contains(" 431 "));
    }
}
