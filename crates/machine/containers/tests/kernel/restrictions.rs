//! What a container may not do, and how much it may use.

use std::fs;

use pileus_contract::Containers;

use crate::kit::{Kit, exit, pid, version_2, wait_ended};

#[test]
fn limits_are_in_force() {
    let kit = Kit::new();
    let mut spec = kit.task("t", "echo up; sleep 1000");
    spec.containers[0].memory_mib = Some(32);
    kit.containers().start(&spec).unwrap();
    let memory = if version_2() { "memory.max" } else { "memory.limit_in_bytes" };
    let read = |controller: &str, file: &str| {
        fs::read_to_string(kit.cgroup(controller, "t").join(file)).unwrap().trim().to_owned()
    };
    if version_2() {
        assert_eq!(read("cpu", "cpu.max"), "25000 100000");
    } else {
        assert_eq!(read("cpu", "cpu.cfs_quota_us"), "25000");
        assert_eq!(read("cpu", "cpu.cfs_period_us"), "100000");
    }
    assert_eq!(read("memory", memory), (64 << 20).to_string());
    assert_eq!(read("memory", &format!("app/{memory}")), (32 << 20).to_string());
    assert_eq!(read("pids", "pids.max"), "1024");
    for controller in ["cpu", "cpuacct", "memory", "pids"] {
        assert_eq!(read(controller, "app/cgroup.procs").lines().count(), 1, "{controller}");
    }
}

#[test]
fn a_container_sees_its_own_limits() {
    let kit = Kit::new();
    let file = if version_2() { "memory.max" } else { "memory/memory.limit_in_bytes" };
    let script = format!(
        "cat /sys/fs/cgroup/{file}; grep -E '^0:|:memory:' /proc/self/cgroup; \
         (echo 1 > /sys/fs/cgroup/{file}) 2>/dev/null || echo refused"
    );
    let (exit, output) = kit.run(&kit.task("t", &script));
    assert_eq!(exit.code, Some(0));
    assert_eq!(output[0], (64 << 20).to_string());
    assert!(output[1].ends_with(":/"), "{output:?}");
    assert_eq!(output.last().unwrap(), "refused");
}

#[test]
fn too_much_memory_is_told() {
    let kit = Kit::new();
    let mut spec = kit.task("t", "exec tail -c 200m /dev/zero");
    spec.memory_mib = 16;
    let (exit, _) = kit.run(&spec);
    assert_eq!((exit.code, exit.out_of_memory), (Some(137), true));
    let events = kit.containers().events();
    kit.containers().start(&kit.task("killed", "echo up; sleep 1000")).unwrap();
    kit.wait_output("killed", "app", "up");
    crate::kit::kill(pid(&kit.state("killed"), "app"));
    let ended = crate::kit::exit(&wait_ended(&events, "killed"), "app");
    assert_eq!((ended.code, ended.out_of_memory), (Some(137), false));
}

#[test]
fn what_root_in_a_container_cannot_do() {
    let kit = Kit::new();
    let script = "
        mount -t tmpfs x /tmp 2>/dev/null || echo no-mount
        mknod /dev/sda b 8 0 2>/dev/null || echo no-mknod
        hostname changed 2>/dev/null || echo no-hostname
        echo 1 2>/dev/null > /proc/sys/kernel/core_pattern || echo no-sysctl
        cat /proc/kcore 2>/dev/null | wc -c
        busybox unshare -r true 2>/dev/null || echo no-unshare
        grep -E 'NoNewPrivs|Seccomp:|CapEff|CapBnd|SigIgn|SigBlk' /proc/self/status
        ls /dev | wc -l
        ls /proc/self/fd | wc -l
        ls -d /proc/[0-9]* | wc -l
        ulimit -n";
    let (exit, output) = kit.run(&kit.task("t", script));
    assert_eq!(exit.code, Some(0), "{output:?}");
    assert_eq!(output[..6], ["no-mount", "no-mknod", "no-hostname", "no-sysctl", "0", "no-unshare"]);
    let fields: Vec<(&str, &str)> =
        output[6..12].iter().map(|line| line.split_once(":\t").unwrap()).collect();
    let field = |name: &str| fields.iter().find(|(key, _)| *key == name).unwrap().1;
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1", "2"));
    assert_eq!((field("CapEff"), field("CapBnd")), ("00000000a00425fb", "00000000a00425fb"));
    assert_eq!(field("SigBlk"), "0000000000000000");
    let ignored = u64::from_str_radix(field("SigIgn"), 16).unwrap();
    assert_eq!(ignored & (1 << 12), 0, "SIGPIPE ends a program, as usual");
    assert_eq!(output[13], "4", "three descriptors and that of ls: {output:?}");
    let files: u64 = output[15].parse().unwrap();
    assert!((1024..=65_535).contains(&files));
}

#[test]
fn another_user_has_no_capabilities() {
    let kit = Kit::new();
    let mut spec =
        kit.task("t", "grep CapEff /proc/self/status; id -u; touch /etc/x 2>/dev/null || echo refused");
    spec.containers[0].user = Some("4242:4243".to_owned());
    let (_, output) = kit.run(&spec);
    assert_eq!(output, ["CapEff:\t0000000000000000", "4242", "refused"]);
}

#[test]
fn a_readonly_root_is_read_only() {
    let kit = Kit::new();
    let mut spec = kit.task(
        "t",
        "touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo scratch; cat /etc/hostname",
    );
    spec.containers[0].readonly_rootfs = true;
    let (exit, output) = kit.run(&spec);
    assert_eq!(exit.code, Some(0));
    assert_eq!(output, ["refused", "scratch", "ip-10-0-0-4.ec2.internal"]);
}

#[test]
fn a_fork_bomb_is_contained() {
    let kit = Kit::new();
    let events = kit.containers().events();
    let mut spec = kit.task("t", "f() { f | f & }; f; sleep 1000");
    spec.cpu_units = 128;
    kit.containers().start(&spec).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    kit.containers().remove("t").unwrap();
    exit(&wait_ended(&events, "t"), "app");
    assert!(kit.containers().list().unwrap().is_empty());
}
