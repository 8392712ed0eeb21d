//! Processes killed, the engine away, leftovers: nothing is lost silently and nothing stays behind.

use std::time::Duration;

use pileus_containers::clean_leftovers;
use pileus_contract::Containers;
use pileus_contract::containers::ContainerStatus;

use crate::kit::{Kit, alive, exit, kill, pid, processes, status, wait_ended, wait_for};

const FOREVER: &str = "echo up; sleep 1000 & sleep 1000";

#[test]
fn a_killed_container_is_told() {
    let kit = Kit::new();
    let events = kit.containers().events();
    let state = kit.containers().start(&kit.task("t", FOREVER)).unwrap();
    kill(pid(&state, "app"));
    assert_eq!(exit(&wait_ended(&events, "t"), "app").code, Some(137));
}

#[test]
fn a_killed_shim_takes_the_task_along() {
    let kit = Kit::new();
    for user in ["0", "1000"] {
        let events = kit.containers().events();
        let mut spec = kit.task("t", FOREVER);
        spec.containers[0].user = Some(user.to_owned());
        let state = kit.containers().start(&spec).unwrap();
        kit.wait_output("t", "app", "up");
        let shim = kit.shim_pid("t");
        kill(shim);
        let ended = exit(&wait_ended(&events, "t"), "app");
        assert_eq!(ended.code, None);
        assert!(ended.reason.unwrap().contains("shim"), "the reason is given");
        assert!(!alive(shim) && !alive(pid(&state, "app")));
        kit.containers().remove("t").unwrap();
    }
}

#[test]
fn a_container_dies_with_its_shim_even_without_an_engine() {
    let mut kit = Kit::new();
    let state = kit.containers().start(&kit.task("t", FOREVER)).unwrap();
    kit.stop_engine();
    kill(kit.shim_pid("t"));
    wait_for("the end of the container", || !alive(pid(&state, "app")));
    kit.start_engine();
    let state = kit.state("t");
    assert!(state.ended);
    assert_eq!(exit(&state, "app").code, None);
}

#[test]
fn a_new_engine_adopts_what_runs() {
    let mut kit = Kit::new();
    let script = "echo up; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo away; while [ ! -e /tmp/end ]; do sleep 0.02; done; exit 6";
    let started = kit.containers().start(&kit.task("t", script)).unwrap();
    let app = pid(&started, "app");
    kit.wait_output("t", "app", "up");
    kit.stop_engine();
    std::fs::write(format!("/proc/{app}/root/tmp/go"), "").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    kit.start_engine();
    assert_eq!(kit.state("t"), started);
    kit.wait_output("t", "app", "away");
    let events = kit.containers().events();
    std::fs::write(format!("/proc/{app}/root/tmp/end"), "").unwrap();
    assert_eq!(exit(&wait_ended(&events, "t"), "app").code, Some(6));
}

#[test]
fn what_ended_while_the_engine_was_away_is_told() {
    let mut kit = Kit::new();
    let state = kit.containers().start(&kit.task("t", "echo up; sleep 1000")).unwrap();
    let shim = kit.shim_pid("t");
    kit.stop_engine();
    kill(pid(&state, "app"));
    wait_for("the end of the shim", || !alive(shim));
    kit.start_engine();
    let events = kit.containers().events();
    let ended = wait_ended(&events, "t");
    assert_eq!(exit(&ended, "app").code, Some(137));
    assert_eq!(kit.state("t"), ended);
}

#[test]
fn remove_and_teardown_leave_nothing() {
    let kit = Kit::new();
    kit.containers().start(&kit.task("one", FOREVER)).unwrap();
    let namespace = kit.another_namespace();
    let mut two = kit.task("two", FOREVER);
    two.namespace = namespace.path();
    kit.containers().start(&two).unwrap();
    assert_eq!(kit.mounts(), Vec::<String>::new(), "nothing is mounted on the host");
    kit.containers().remove("one").unwrap();
    kit.containers().remove("one").unwrap();
    assert!(!kit.cgroup("memory", "one").exists() && !kit.config.run_dir.join("one").exists());
    assert_eq!(kit.containers().list().unwrap().len(), 1);
    assert!(matches!(status(&kit.state("two"), "app"), ContainerStatus::Running { .. }));
    kit.containers().teardown().unwrap();
    assert_eq!(kit.traces(), Vec::<String>::new());
}

#[test]
fn leftovers_are_removed_whatever_was_killed() {
    let mut kit = Kit::new();
    let state = kit.containers().start(&kit.task("one", FOREVER)).unwrap();
    let namespace = kit.another_namespace();
    let mut two = kit.task("two", FOREVER);
    two.namespace = namespace.path();
    kit.containers().start(&two).unwrap();
    kit.stop_engine();
    kill(kit.shim_pid("two"));
    // As after a reboot: the run directory of one is gone while its other files are not.
    clean_leftovers(&kit.config).unwrap();
    assert!(!alive(pid(&state, "app")));
    assert!(processes(&kit.config.instance).is_empty());
    assert_eq!(kit.traces(), Vec::<String>::new());
    std::fs::create_dir_all(kit.config.data_dir.join("tasks/orphan/app/upper")).unwrap();
    kit.start_engine();
    let orphan = kit.state("orphan");
    assert!(orphan.ended && orphan.containers.is_empty());
    kit.containers().remove("orphan").unwrap();
    assert!(kit.containers().list().unwrap().is_empty());
}

#[test]
fn a_deleted_network_is_not_kept_by_the_shims_of_others() {
    let kit = Kit::new();
    let other = kit.another_namespace();
    let path = other.path().display().to_string();
    kit.containers().start(&kit.task("t", FOREVER)).unwrap();
    drop(other);
    let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", kit.shim_pid("t"))).unwrap();
    assert!(!mounts.contains(&path), "the shim's mount namespace holds on to a network that was deleted");
}
