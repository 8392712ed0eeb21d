//! HAProxy and nginx with the work of an ALB: round robin, keep-alive to the upstreams, `X-Forwarded-*`, no log. Their
//! own defaults else, one thread or worker each.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use super::{Contender, MEASURED_CORE};
use crate::process::{Process, free_port, installed, wait_for};

/// Starts a peer; `None` where it is not installed.
pub(super) type Start = fn(&Path, &[SocketAddr]) -> anyhow::Result<Option<Peer>>;

pub(super) struct Peer {
    name: &'static str,
    address: SocketAddr,
    process: Process,
}

impl Contender for Peer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn pid(&self) -> i32 {
        self.process.pid()
    }
}

pub(super) fn haproxy(folder: &Path, targets: &[SocketAddr]) -> anyhow::Result<Option<Peer>> {
    let port = free_port()?;
    let servers: Vec<String> =
        targets.iter().map(|target| format!("  server {target} {target} check inter 30s")).collect();
    let configuration = format!(
        "global
  nbthread 1
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:{port}
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Port %[dst_port]
  default_backend out
backend out
  balance roundrobin
  option httpchk GET /health
{}
",
        servers.join("\n")
    );
    start("haproxy", port, folder, &configuration, &["-db", "-f"])
}

pub(super) fn nginx(folder: &Path, targets: &[SocketAddr]) -> anyhow::Result<Option<Peer>> {
    let port = free_port()?;
    let servers: Vec<String> = targets.iter().map(|target| format!("    server {target};")).collect();
    // Its default of 1000 requests on a connection would make it alone pay for new ones.
    let configuration = format!(
        "daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  upstream out {{
{}
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://out;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto http;
      proxy_set_header X-Forwarded-Port {port};
    }}
  }}
}}
",
        servers.join("\n"),
        folder = folder.display()
    );
    start("nginx", port, folder, &configuration, &["-c"])
}

/// Starts a peer, pinned, and waits until it accepts connections.
fn start(
    name: &'static str,
    port: u16,
    folder: &Path,
    configuration: &str,
    arguments: &[&str],
) -> anyhow::Result<Option<Peer>> {
    if !installed(name) {
        return Ok(None);
    }
    let file = folder.join(format!("{name}.conf"));
    std::fs::write(&file, configuration)?;
    // Debian has them where only root's PATH looks.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("taskset");
    command.env("PATH", path).args(["-c", MEASURED_CORE, name]).args(arguments).arg(&file);
    let process = Process::start(&mut command, &folder.join(format!("{name}.log")))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for(name, || Ok(TcpStream::connect(address).ok()))?;
    Ok(Some(Peer { name, address, process }))
}
