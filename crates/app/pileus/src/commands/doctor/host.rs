//! What the kernel gives: privileges, namespaces, filters, file systems, cgroups.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::parse::{cgroup_mounts, kernel_version, lacking};
use super::{Check, Finding};

/// The first kernel on which everything that is used is known to be.
const KERNEL: (u32, u32) = (5, 10);
/// Where Debian puts it, which the PATH of an ordinary user lacks.
const NFT: [&str; 2] = ["nft", "/usr/sbin/nft"];

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::required("root", root(), "namespaces, networks and limits of tasks", "sudo pileus ..."),
        Check::required(
            "kernel",
            kernel(),
            "all that tasks are made of",
            "install a newer kernel: apt-get install -y linux-image-amd64, then reboot",
        ),
        tried(
            "network namespaces",
            || unshared(CloneFlags::CLONE_NEWNET),
            "VPCs and network interfaces",
            "run on a kernel with CONFIG_NET_NS; in a container, give it CAP_SYS_ADMIN",
        ),
        Check::optional(
            "user namespaces",
            user_namespaces(),
            "running without root, which is yet to come",
            "sysctl -w user.max_user_namespaces=15000",
        ),
        tried("nft", nft, "security groups, NAT and routing", "apt-get install -y nftables"),
        tried("overlayfs", overlay, "the file systems of tasks", "modprobe overlay"),
        Check::required(
            "cgroups",
            cgroups(),
            "the CPU and memory sizes of tasks, and their measurement",
            "boot with systemd.unified_cgroup_hierarchy=1, or mount the controllers cpu, cpuacct, memory and pids",
        ),
        Check::required(
            "seccomp",
            seccomp(),
            "the system call filter of tasks",
            "run on a kernel with CONFIG_SECCOMP_FILTER",
        ),
        Check::required(
            "IP forwarding",
            forwarding(),
            "the way of tasks to the internet",
            "sysctl -w net.ipv4.ip_forward=1",
        ),
    ]
}

fn root() -> Finding {
    let user = nix::unistd::geteuid();
    if user.is_root() { Ok("yes".into()) } else { Err(format!("this is user {user}")) }
}

fn kernel() -> Finding {
    let release = nix::sys::utsname::uname().map_err(|error| error.to_string())?;
    let release = release.release().to_string_lossy().into_owned();
    match kernel_version(&release) {
        Some(version) if version >= KERNEL => Ok(release),
        _ => Err(format!("{release}, at least {}.{} is needed", KERNEL.0, KERNEL.1)),
    }
}

/// Something required that only root can try; in a thread, whose namespaces end with it.
fn tried(
    name: &'static str,
    attempt: impl FnOnce() -> Finding + Send,
    purpose: &'static str,
    remedy: &'static str,
) -> Check {
    if !nix::unistd::geteuid().is_root() {
        return Check::required(name, Err("only root can try it".into()), purpose, "sudo pileus doctor");
    }
    let finding = std::thread::scope(|scope| {
        scope.spawn(attempt).join().unwrap_or_else(|_| Err("the attempt panicked".into()))
    });
    Check::required(name, finding, purpose, remedy)
}

fn unshared(namespaces: CloneFlags) -> Finding {
    unshare(namespaces).map(|()| "yes".to_owned()).map_err(|error| format!("cannot make one: {error}"))
}

fn user_namespaces() -> Finding {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").map_err(|_| "the kernel has none")?;
    if most.trim() == "0" { Err("none are allowed".into()) } else { Ok(format!("{} allowed", most.trim())) }
}

/// Loads a rule set with all that security groups and NAT gateways need, in a namespace that ends here.
fn nft() -> Finding {
    const RULES: &str = "table inet pileus_doctor {
        set members { type ipv4_addr; }
        chain filter { type filter hook forward priority 0; ct state established,related accept; ip saddr @members accept; }
        chain nat { type nat hook postrouting priority 100; masquerade; }
    }";
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("no namespace to try it in: {error}"))?;
    let program = NFT.into_iter().find(|program| feed(program, &["--version"], "").is_ok());
    let program = program.ok_or("the program is not on this host")?;
    feed(program, &["-f", "-"], RULES)?;
    let version = feed(program, &["--version"], "")?;
    Ok(super::parse::version(&version).unwrap_or("yes").to_owned())
}

/// Runs a program with something to read; what it printed, or what it complained of.
fn feed(program: &str, arguments: &[&str], input: &str) -> Finding {
    let pipe = Stdio::piped;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(pipe())
        .stdout(pipe())
        .stderr(pipe())
        .spawn()
        .map_err(|error| error.to_string())?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() && fed.is_ok() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("the kernel refuses its rules: {}", complaint.lines().next().unwrap_or("no reason given")))
}

/// Mounts one, in a mount namespace that ends here.
fn overlay() -> Finding {
    let try_mount = || -> Result<(), Box<dyn std::error::Error>> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        let dir = tempfile::tempdir()?;
        // A temporary directory may lie on an overlay itself, which cannot carry another.
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(dir.path().join(name))?;
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let options = format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
        let merged = at("merged");
        let mounted = mount(
            Some("overlay"),
            merged.as_str(),
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        );
        if mounted.is_ok() {
            nix::mount::umount(merged.as_str())?;
        }
        nix::mount::umount(dir.path())?;
        Ok(mounted?)
    };
    try_mount().map(|()| "yes".to_owned()).map_err(|error| format!("cannot be mounted: {error}"))
}

fn cgroups() -> Finding {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let mounts = cgroup_mounts(&mountinfo);
    let v2 =
        mounts.v2.as_ref().and_then(|at| fs::read_to_string(Path::new(at).join("cgroup.controllers")).ok());
    let v2 = v2.unwrap_or_default();
    // Version 2 accounts for CPU time with the controller itself.
    let version = if mounts.v1.contains_key("memory") { 1 } else { 2 };
    let needed: &[&str] =
        if version == 1 { &["cpu", "cpuacct", "memory", "pids"] } else { &["cpu", "memory", "pids"] };
    match lacking(needed, &mounts, &v2)[..] {
        [] => Ok(format!("version {version}: {}", needed.join(", "))),
        ref lacking => Err(format!("version {version}, without {}", lacking.join(", "))),
    }
}

fn seccomp() -> Finding {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.contains("errno") => Ok("yes".into()),
        _ => Err("the kernel has no filters".into()),
    }
}

/// The engine turns it on itself; it only has to be there.
fn forwarding() -> Finding {
    match fs::read_to_string("/proc/sys/net/ipv4/ip_forward") {
        Ok(on) if on.trim() == "1" => Ok("on".into()),
        Ok(_) => Ok("off; the engine turns it on while it needs it".into()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_can_be_looked_at_without_harm() {
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let checks = checks();
        assert!(checks.iter().all(|check| !check.found.is_empty() && !check.remedy.is_empty()));
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    }
}
