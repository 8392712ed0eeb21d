//! wrk, the load generator: closed loop, so latencies are those at saturation.
//! <https://github.com/wg/wrk/blob/master/SCRIPTING>

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::LOAD_CORE;

/// Makes wrk print its figures exactly: requests, microseconds, errors, percentiles in microseconds.
const SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("figures %d %d %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"#;

pub(super) struct Load {
    pub(super) requests: f64,
    pub(super) seconds: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// # Errors
/// wrk failed, or a request did.
pub(super) fn run(address: SocketAddr, connections: usize, seconds: u64) -> anyhow::Result<Load> {
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), SCRIPT)?;
    let output = Command::new("taskset")
        .args(["-c", LOAD_CORE, "wrk", "--threads", "1"])
        .args(["--connections", &connections.to_string(), "--duration", &format!("{seconds}s")])
        .arg("--script")
        .arg(script.path())
        .arg(format!("http://{address}/"))
        .output()
        .context("starting wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    figures(&text).with_context(|| format!("load on {address}: {text}"))
}

fn figures(text: &str) -> anyhow::Result<Load> {
    let line =
        text.lines().find_map(|line| line.strip_prefix("figures ")).context("wrk printed no figures")?;
    let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [requests, duration, errors, p50_us, p99_us] = numbers[..] else {
        bail!("wrk printed other figures")
    };
    ensure!(errors == 0.0 && requests > 0.0, "{errors} of {requests} requests failed");
    Ok(Load { requests, seconds: duration / 1e6, p50_us, p99_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_requests_spoil_a_measurement() {
        let load = figures("Running 1s test\nfigures 1000 2000000 0 150 900\n").unwrap();
        assert_eq!((load.requests, load.seconds, load.p50_us, load.p99_us), (1000.0, 2.0, 150.0, 900.0));
        assert!(figures("figures 1000 2000000 3 150 900\n").is_err());
        assert!(figures("nothing").is_err());
    }
}
