//! What is outside the kernel: the tools that images are built with, and free ports.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use pileus_engine::Home;

use super::{Check, Finding, parse};
use crate::cli::EngineOptions;

pub(super) fn checks(home: &Path, options: &EngineOptions) -> Vec<Check> {
    let running = Home::find(home).ok().flatten().and_then(|home| home.engine());
    let api = match &running {
        Some(engine) => Ok(format!("the engine of {} has port {}", home.display(), engine.port)),
        None => free(options.port()),
    };
    let edge = match &running {
        Some(_) => Ok("the engine runs".to_owned()),
        None => free(options.edge_port.unwrap_or(80)),
    };
    vec![
        Check::optional(
            "npm",
            tool("npm", "--version"),
            "building images: dependencies, and Node itself",
            "apt-get install -y nodejs npm",
        ),
        Check::optional(
            "node",
            tool("node", "--version"),
            "npm, which needs it",
            "apt-get install -y nodejs npm",
        ),
        Check::optional(
            "apt-get",
            tool("apt-get", "--version"),
            "building images: Debian's libraries; without it name a base image in pileus.toml ([image] base)",
            "use Debian or Ubuntu, or set [image] base",
        ),
        Check::optional("git", tool("git", "--version"), "tags of images", "apt-get install -y git"),
        Check::required("API port", api, "the AWS API", "choose another port: --port or PILEUS_PORT"),
        Check::optional(
            "edge port",
            edge,
            "URLs of load balancers without a port in them",
            "the engine takes 8080 instead; or choose one: --edge-port or PILEUS_EDGE_PORT",
        ),
    ]
}

fn tool(program: &str, argument: &str) -> Finding {
    let output = Command::new(program).arg(argument).output().map_err(|_| "not on the PATH".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(parse::version(&text).unwrap_or("yes").to_owned())
}

fn free(port: u16) -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(format!("{port} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Err(format!("{port} is taken by another program"))
        }
        Err(error) => Err(format!("{port} cannot be opened: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_from_a_free_one() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(free(port).unwrap_err().contains("taken"));
        assert!(free(0).is_ok());
        assert_eq!(tool("no-such-program", "--version"), Err("not on the PATH".to_owned()));
    }
}
