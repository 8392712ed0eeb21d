//! What types cannot say about settings: ranges, formats, what goes with what.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;

use super::{Manifest, sizes};

/// Names of load balancers may have 32 characters; ours add up to 12 to the app's.
const MAX_NAME: usize = 20;
/// Room for subnet number 11 of 256 addresses.
const VPC_PREFIXES: RangeInclusive<u8> = 16..=20;
/// The values that `PutRetentionPolicy` of CloudWatch Logs takes.
const RETENTIONS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// One setting that cannot be, in terms of keys; `Diagnostic` finds their place in the text.
#[derive(Debug)]
pub(super) struct Problem {
    /// The first of these that is in the file is at fault. Those after it matter where the first
    /// has its default value.
    pub(super) keys: Vec<String>,
    pub(super) message: String,
    pub(super) hint: String,
}

fn problem(keys: &[&str], message: impl Into<String>, hint: impl Into<String>) -> Option<Problem> {
    Some(Problem {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        message: message.into(),
        hint: hint.into(),
    })
}

/// The first problem, in the order of the documentation.
pub(super) fn check(manifest: &Manifest) -> Option<Problem> {
    let checks = [name, region, port, size, tasks, health, env, deploy, network, image, logs];
    checks.iter().find_map(|check| check(manifest))
}

/// A name made of the name of a directory.
pub(super) fn name_from(directory: &str) -> String {
    let mapped =
        directory.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let mapped: String = mapped.skip_while(|c| !c.is_ascii_lowercase()).collect();
    let words: Vec<&str> = mapped.split('-').filter(|word| !word.is_empty()).collect();
    let mut name = words.join("-");
    name.truncate(MAX_NAME);
    let name = name.trim_end_matches('-');
    if name_is_good(name) { name.to_owned() } else { "app".to_owned() }
}

fn name_is_good(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_NAME).contains(&name.len())
        && name.chars().all(allowed)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        // Load balancers may not be called so.
        && !format!("{name}-").starts_with("internal-")
}

fn name(manifest: &Manifest) -> Option<Problem> {
    if name_is_good(&manifest.name) {
        return None;
    }
    let message = format!("\"{}\" cannot be the name of an app", manifest.name);
    let rule = format!(
        "1 to {MAX_NAME} small letters, digits and single hyphens, a letter first and no hyphen last, not `internal-`; such as \"{}\"",
        name_from(&manifest.name)
    );
    problem(&["name"], message, rule)
}

fn region(manifest: &Manifest) -> Option<Problem> {
    let mut parts = manifest.region.rsplitn(2, '-');
    let number = parts.next().is_some_and(|part| part.len() == 1 && part.chars().all(|c| c.is_ascii_digit()));
    let words: Vec<&str> = parts.next().map(|rest| rest.split('-').collect()).unwrap_or_default();
    let letters = |word: &&str| word.len() >= 2 && word.chars().all(|c| c.is_ascii_lowercase());
    if number && words.len() >= 2 && words.iter().all(letters) {
        return None;
    }
    problem(
        &["region"],
        format!("\"{}\" is not a region", manifest.region),
        "regions look like \"us-east-1\"",
    )
}

fn port(manifest: &Manifest) -> Option<Problem> {
    out_of("port", u32::from(manifest.port), 1..=65535)
}

fn size(manifest: &Manifest) -> Option<Problem> {
    let memories = sizes::memories(manifest.cpu);
    if memories.is_empty() {
        let message = format!("Fargate has no size with {} CPU units", manifest.cpu);
        return problem(&["cpu"], message, format!("cpu is one of {}", list(sizes::cpus())));
    }
    if memories.contains(&manifest.memory) {
        return None;
    }
    let message = format!("Fargate has no size with {} CPU units and {} MiB", manifest.cpu, manifest.memory);
    problem(
        &["memory", "cpu"],
        message,
        format!("with cpu = {} memory is one of {}", manifest.cpu, list(memories)),
    )
}

fn tasks(manifest: &Manifest) -> Option<Problem> {
    let tasks = &manifest.tasks;
    let (min, max, desired) = (tasks.min, tasks.max, tasks.desired());
    out_of("tasks.min", min, 1..=1000).or_else(|| out_of("tasks.max", max, 1..=1000)).or_else(|| {
        if min > max {
            let message = format!("at least {min} tasks and at most {max} cannot both be");
            return problem(
                &["tasks.min", "tasks.max"],
                message,
                "tasks.min is at most tasks.max (2 and 10 if not given)",
            );
        }
        if !(min..=max).contains(&desired) {
            let message = format!("{desired} tasks are not between {min} and {max}");
            return problem(
                &["tasks.desired"],
                message,
                "tasks.desired lies between tasks.min and tasks.max",
            );
        }
        None
    })
}

fn health(manifest: &Manifest) -> Option<Problem> {
    let health = &manifest.health;
    let path_is_good = health.path.starts_with('/')
        && health.path.len() <= 1024
        && health.path.chars().all(|c| c.is_ascii_graphic() && c != '#');
    if !path_is_good {
        let message = format!("\"{}\" is not the path of a health check", health.path);
        return problem(
            &["health.path"],
            message,
            "a path starts with `/` and has no spaces, such as \"/health\"",
        );
    }
    out_of("health.interval", health.interval, 5..=300)
        .or_else(|| out_of("health.timeout", health.timeout, 2..=120))
        .or_else(|| {
            let message = format!(
                "a timeout of {} s is not shorter than the interval of {} s",
                health.timeout, health.interval
            );
            let hint = "health.timeout must be less than health.interval (5 and 30 if not given)";
            let late = health.timeout >= health.interval;
            late.then(|| problem(&["health.timeout", "health.interval"], message, hint)).flatten()
        })
        .or_else(|| out_of("health.healthy", health.healthy, 2..=10))
        .or_else(|| out_of("health.unhealthy", health.unhealthy, 2..=10))
}

fn env(manifest: &Manifest) -> Option<Problem> {
    manifest.env.keys().find_map(|name| {
        let key = format!("env.{name}");
        if name == "PORT" {
            return problem(
                &[&key],
                "PORT is set by Pileus",
                format!("set `port = …` instead ({} now)", manifest.port),
            );
        }
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let good = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
        let hint = "names have letters, digits and underscores, and no digit first";
        if good {
            None
        } else {
            problem(&[&key, "env"], format!("\"{name}\" cannot be the name of a variable"), hint)
        }
    })
}

fn deploy(manifest: &Manifest) -> Option<Problem> {
    let deploy = &manifest.deploy;
    let (min, max) = (deploy.minimum_healthy_percent, deploy.maximum_percent);
    out_of("deploy.minimum_healthy_percent", min, 0..=100)
        .or_else(|| out_of("deploy.maximum_percent", max, 100..=200))
        .or_else(|| {
            let stuck = min == 100 && max == 100;
            let message = "neither fewer nor more tasks than desired may run: no task could ever be replaced";
            let hint = "lower deploy.minimum_healthy_percent or raise deploy.maximum_percent (50 and 150 if not given)";
            let keys = ["deploy.maximum_percent", "deploy.minimum_healthy_percent"];
            stuck.then(|| problem(&keys, message, hint)).flatten()
        })
        .or_else(|| out_of("deploy.drain_seconds", deploy.drain_seconds, 0..=3600))
}

fn network(manifest: &Manifest) -> Option<Problem> {
    let cidr = manifest.network.cidr;
    let keys = ["network.cidr"];
    if cidr.addr() != cidr.network() {
        let message = format!("{cidr} has bits beyond its prefix");
        return problem(&keys, message, format!("did you mean \"{}\"?", cidr.trunc()));
    }
    if !VPC_PREFIXES.contains(&cidr.prefix_len()) {
        let (low, high) = (VPC_PREFIXES.start(), VPC_PREFIXES.end());
        let message = format!("a VPC of /{} cannot hold the four subnets", cidr.prefix_len());
        return problem(
            &keys,
            message,
            format!("the prefix is from /{low} to /{high}, such as \"10.0.0.0/16\""),
        );
    }
    let private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([100, 64, 0, 0], 10)];
    if private
        .iter()
        .any(|(base, prefix)| Ipv4Net::new_assert(Ipv4Addr::from(*base), *prefix).contains(&cidr))
    {
        return None;
    }
    let message = format!("{cidr} is not a private range");
    problem(&keys, message, "take one within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10")
}

fn image(manifest: &Manifest) -> Option<Problem> {
    let image = &manifest.image;
    if image.base.as_ref().is_some_and(|base| base.trim().is_empty()) {
        return problem(
            &["image.base"],
            "an image needs a name",
            "such as \"docker.io/library/node:24-slim\"",
        );
    }
    if image.base.is_some() && image.node.is_some() {
        let message = "a base image brings its own Node";
        return problem(&["image.node"], message, "leave out either image.base or image.node");
    }
    if image.base.is_some() && image.install_scripts {
        let message = "install scripts cannot run for a base image";
        let hint = "they would run under this host's Node, not the image's: leave out image.base or image.install_scripts";
        return problem(&["image.install_scripts"], message, hint);
    }
    if image.node.as_ref().is_some_and(|node| node.trim().is_empty()) {
        return problem(&["image.node"], "a range of versions cannot be empty", "such as \"24.x\"");
    }
    None
}

fn logs(manifest: &Manifest) -> Option<Problem> {
    let days = manifest.logs.retention_days;
    if RETENTIONS.contains(&days) {
        return None;
    }
    let message = format!("CloudWatch Logs cannot keep events for {days} days");
    problem(&["logs.retention_days"], message, format!("retention_days is one of {}", list(RETENTIONS)))
}

fn out_of(key: &str, value: u32, range: RangeInclusive<u32>) -> Option<Problem> {
    if range.contains(&value) {
        return None;
    }
    let (low, high) = (range.start(), range.end());
    problem(&[key], format!("{value} is out of range"), format!("{key} is from {low} to {high}"))
}

fn list(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}
