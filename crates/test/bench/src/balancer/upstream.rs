//! What stands behind the balancers: one process with two ports that answers every request with 1 KiB, as cheaply as a
//! program can, so that the balancers are what is measured.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Contender, LOAD_CORE};
use crate::process::{Process, wait_for};

const BODY: usize = 1024;

pub(super) struct Upstreams {
    pub(super) process: Process,
    pub(super) addresses: [SocketAddr; 2],
}

/// Starts this program again as the upstreams, on the core of the load.
pub(super) fn start(folder: &Path) -> anyhow::Result<Upstreams> {
    let log = folder.join("upstream.log");
    let program = std::env::current_exe()?;
    let command = &mut Command::new("taskset");
    let process = Process::start(command.args(["-c", LOAD_CORE]).arg(program).arg("upstream"), &log)?;
    let addresses = wait_for("the upstreams", || {
        let text = std::fs::read_to_string(&log)?;
        let addresses: Vec<SocketAddr> = text.lines().filter_map(|line| line.parse().ok()).collect();
        Ok(addresses.try_into().ok())
    })?;
    Ok(Upstreams { process, addresses })
}

/// An upstream itself, without a balancer: what the load generator can reach at most.
pub(super) struct Direct {
    pub(super) address: SocketAddr,
    pub(super) pid: i32,
}

impl Contender for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn pid(&self) -> i32 {
        self.pid
    }
}

/// The process of the upstreams: prints their addresses and serves until it is ended.
pub(crate) fn serve() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listeners = [TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?];
        let [first, second] = &listeners;
        writeln!(std::io::stdout(), "{}\n{}", first.local_addr()?, second.local_addr()?)?;
        let [first, second] = listeners;
        tokio::try_join!(accept(first), accept(second)).context("accepting connections")?;
        Ok(())
    })
}

async fn accept(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks is the other side's to tell.
        tokio::spawn(async move { answer(stream).await.unwrap_or_default() });
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY}\r\n\r\n");
    let response = [head.as_bytes(), &[b'x'; BODY]].concat();
    let mut buffer = Vec::with_capacity(4096);
    while stream.read_buf(&mut buffer).await? > 0 {
        // Requests without a body, one at a time: the end of the headers is the end of the request.
        while let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            buffer.drain(..end + 4);
            stream.write_all(&response).await?;
        }
    }
    Ok(())
}
