"""Every process may be killed at any moment. What a client sees of it, and what comes back by itself."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

import botocore.exceptions
import pytest

from engine import BINARY, SERVER, Engine, alive, node_app, processes, traces, wait_for
from load import Load


@pytest.fixture
def running(tmp_path):
    """An engine of its own with an app of two tasks; the app's directory."""
    app = node_app(tmp_path / "web")
    with Engine(tmp_path / "home") as engine:
        engine.up(app)
        yield engine, app


def container_pids(engine):
    """The first process of each container, by task id."""
    base = pathlib.Path("/sys/fs/cgroup")
    base = base if (base / "cgroup.controllers").exists() else base / "pids"
    found = {}
    for task in (base / f"pileus-{engine.instance}").iterdir():
        if task.is_dir():
            pids = [int(pid) for procs in task.glob("**/cgroup.procs") for pid in procs.read_text().split()]
            nodes = [pid for pid in pids if b"node" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
            if nodes:
                found[task.name] = min(nodes)
    return found


def test_the_engine_killed_under_load_fails_no_request_and_adopts_what_runs(running):
    engine, app = running
    before = {task["id"]: task["since"] for task in engine.tasks(app)}
    group = engine.client("logs").create_log_group(logGroupName="acknowledged")
    assert group["ResponseMetadata"]["HTTPStatusCode"] == 200
    with Load(engine.url(app), rate=200) as load:
        wait_for(lambda: load.answered > 100, "the load to flow")
        engine.kill()
        seen = load.answered
        wait_for(lambda: load.answered > seen + 300, "requests without an engine")
        engine.cli("start")
        seen = load.answered
        wait_for(lambda: load.answered > seen + 100, "requests with the new engine")
    assert load.failures == []
    engine.wait_steady(app)
    assert {task["id"]: task["since"] for task in engine.tasks(app)} == before
    groups = engine.client("logs").describe_log_groups(logGroupNamePrefix="acknowledged")["logGroups"]
    assert len(groups) == 1, "an acknowledged write survives"


def test_a_task_that_died_while_the_engine_was_away_is_replaced(running):
    engine, app = running
    [victim, other] = sorted(container_pids(engine))
    engine.kill()
    os.kill(container_pids(engine)[victim], signal.SIGKILL)
    engine.cli("start")
    wait_for(lambda: victim not in {task["id"] for task in engine.tasks(app)}, "the dead task to be noticed")
    engine.wait_steady(app)
    ids = {task["id"] for task in engine.tasks(app)}
    assert other in ids and victim not in ids
    arn = [arn for arn in engine.client("ecs").list_tasks(cluster="web", desiredStatus="STOPPED")["taskArns"] if victim in arn]
    [task] = engine.client("ecs").describe_tasks(cluster="web", tasks=arn)["tasks"]
    assert task["stopCode"] == "EssentialContainerExited" and task["containers"][0]["exitCode"] == 137


def test_lines_written_while_the_engine_was_away_are_not_lost_or_doubled(running):
    engine, app = running
    engine.kill()
    [victim, _] = sorted(container_pids(engine))
    os.kill(container_pids(engine)[victim], signal.SIGTERM)
    wait_for(lambda: victim not in container_pids(engine), "the process to end")
    engine.cli("start")
    logs = engine.client("logs")

    def stopping():
        return logs.filter_log_events(logGroupName="/ecs/web", filterPattern="stopping")["events"]

    wait_for(stopping, "the last words")
    engine.wait_steady(app)
    assert len([event for event in stopping() if victim in event["logStreamName"]]) == 1


@pytest.mark.parametrize("what", ["task", "shim"])
def test_a_killed_task_or_shim_is_replaced(running, what):
    engine, app = running
    [victim, other] = sorted(container_pids(engine))
    node = container_pids(engine)[victim]
    if what == "task":
        os.kill(node, signal.SIGKILL)
    else:
        [shim] = [pid for pid in engine.processes("shim") if victim in pathlib.Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(shim, signal.SIGKILL)
    wait_for(lambda: not alive(node), "the task's process to be gone")
    wait_for(lambda: victim not in {task["id"] for task in engine.tasks(app)}, "the loss to be noticed")
    engine.wait_steady(app)
    assert other in {task["id"] for task in engine.tasks(app)}


def test_an_engine_killed_while_it_starts_tasks_does_not_count_against_the_app(running):
    engine, app = running
    ecs = engine.client("ecs")
    for attempt in range(12):
        wait_for(lambda: ecs.list_tasks(cluster="web")["taskArns"], "a task")
        [arn, *_] = ecs.list_tasks(cluster="web")["taskArns"]
        ecs.stop_task(cluster="web", task=arn)
        time.sleep(attempt * 0.02)
        engine.kill()
        engine.cli("start")
    engine.wait_steady(app)
    stopped = ecs.list_tasks(cluster="web", desiredStatus="STOPPED")["taskArns"]
    codes = {task["stopCode"] for task in ecs.describe_tasks(cluster="web", tasks=stopped)["tasks"]}
    assert codes == {"UserInitiated"}
    [deployment] = ecs.describe_services(cluster="web", services=["web"])["services"][0]["deployments"]
    assert deployment["failedTasks"] == 0


def test_a_killed_balancer_comes_back_and_forgets_nothing(running):
    engine, app = running
    url = engine.url(app)
    [balancer] = engine.processes("balancer")
    os.kill(balancer, signal.SIGKILL)
    wait_for(lambda: engine.get(url, timeout=5)[0] == 200, "an answer")
    [fresh] = engine.processes("balancer")
    assert fresh != balancer
    with Load(url) as load:
        wait_for(lambda: load.answered > 100, "the load to flow")
    assert load.failures == []


def test_a_crash_of_everything_leaves_nothing_after_down(running):
    engine, _ = running
    instance = engine.instance
    for pid in [engine.pid, *(pid for kind in ("balancer", "resolver", "shim") for pid in engine.processes(kind))]:
        os.kill(pid, signal.SIGKILL)
    assert traces(instance), "there is something to remove"
    engine.cli("down", "--all", "--yes")
    assert traces(instance) == []
    assert not (engine.home / "state.redb").exists()


def test_a_start_after_a_reboot_rebuilds_the_data_plane(running):
    """A reboot ends every process and clears /run, cgroups and the network; the disk stays."""
    engine, app = running
    instance, before = engine.instance, {task["id"] for task in engine.tasks(app)}
    for pid in [engine.pid, *(pid for kind in ("balancer", "resolver", "shim") for pid in engine.processes(kind))]:
        os.kill(pid, signal.SIGKILL)
    engine.cli("stop")
    assert traces(instance) == []
    engine.cli("start")
    engine.wait_steady(app)
    assert {task["id"] for task in engine.tasks(app)}.isdisjoint(before), "tasks do not survive a reboot"
    assert engine.get(engine.url(app))[0] == 200


def test_a_stopped_task_gets_no_request_any_more_before_it_is_told(running):
    """Deregistered, drained, and only then SIGTERM: a request in flight is answered."""
    engine, app = running
    ecs = engine.client("ecs")
    with Load(engine.url(app), path="/slow?ms=0", rate=20, connections=2), \
            Load(engine.url(app), rate=100) as load:
        wait_for(lambda: load.answered > 50, "the load to flow")
        [arn, _] = ecs.list_tasks(cluster="web")["taskArns"]
        stopped = ecs.stop_task(cluster="web", task=arn, reason="a test")["task"]
        assert stopped["desiredStatus"] == "STOPPED" and stopped["stopCode"] == "UserInitiated"
        wait_for(lambda: ecs.describe_tasks(cluster="web", tasks=[arn])["tasks"][0]["lastStatus"] == "STOPPED", "its end")
        engine.wait_steady(app)
    assert load.failures == []
    [task] = ecs.describe_tasks(cluster="web", tasks=[arn])["tasks"]
    assert task["containers"][0]["exitCode"] == 0, "it ended by itself after SIGTERM"
    assert task["stoppingAt"] >= task["createdAt"] and task["stoppedAt"] >= task["stoppingAt"]


def test_an_engine_that_cannot_be_reached_by_others(engine):
    listening = subprocess.run(["ss", "-Hltn", f"sport = :{engine.port}"], capture_output=True, text=True, check=True)
    addresses = {line.split()[3].rsplit(":", 1)[0] for line in listening.stdout.splitlines()}
    assert addresses == {"127.0.0.1"}

def engines(engine):
    """The processes that are engines of this home."""
    return [pid for pid, words in processes() if words[1:2] == ["engine"] and str(engine.home) in words]


def test_a_start_and_a_stop_at_once_orphan_nothing(tmp_path):
    """Also where the engine is killed while it starts its balancer and resolver."""
    with Engine(tmp_path / "home") as engine:
        engine.cli("start")
        engine.cli("stop")
        for attempt in range(16):
            start = subprocess.Popen([str(BINARY), "start"], env=engine.environment, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            time.sleep(attempt * 0.006)
            if attempt % 2:
                for pid in engines(engine):
                    os.kill(pid, signal.SIGKILL)
            engine.cli("stop")
            start.wait(timeout=60)
            engine.cli("stop")
            assert traces(engine.instance) == [] and engines(engine) == []


def test_starts_at_once_share_one_engine(tmp_path):
    with Engine(tmp_path / "home") as engine:
        starts = [subprocess.Popen([str(BINARY), "start"], env=engine.environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True) for _ in range(3)]
        outputs = [start.communicate(timeout=60)[0] for start in starts]
        assert [start.returncode for start in starts] == [0, 0, 0], outputs
        assert engines(engine) == [engine.pid]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of a few megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_an_engine_whose_disk_is_full_ends_and_keeps_what_it_acknowledged(small_disk):
    with Engine(small_disk / "home") as engine:
        engine.cli("start")
        pid, logs, acknowledged = engine.pid, engine.client("logs"), []
        ballast = small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(botocore.exceptions.BotoCoreError):
            for number in range(20_000):
                name = f"group-{number}-" + "x" * 400
                logs.create_log_group(logGroupName=name)
                acknowledged.append(name)
        wait_for(lambda: not alive(pid), "the engine to end")
        assert "Is the disk full?" in (engine.home / "engine.log").read_text()
        ballast.unlink()
        engine.cli("start")
        pages = logs.get_paginator("describe_log_groups").paginate()
        kept = {group["logGroupName"] for page in pages for group in page["logGroups"]}
        assert set(acknowledged) <= kept


def test_a_damaged_state_is_said_to_be_damaged(tmp_path):
    with Engine(tmp_path / "home") as engine:
        engine.cli("start")
        engine.client("logs").create_log_group(logGroupName="kept")
        engine.cli("stop")
        state = engine.home / "state.redb"
        whole = state.read_bytes()
        for damaged in [b"garbage" * 5000, whole[: len(whole) // 2]]:
            state.write_bytes(damaged)
            refused = engine.cli("start", check=False)
            assert refused.returncode == 1 and "is damaged" in refused.stderr and "panicked" not in refused.stderr
        state.write_bytes(whole)
        engine.cli("start")
        assert engine.client("logs").describe_log_groups()["logGroups"]


CHATTY = SERVER.replace("server.listen(", """\
let line = 0;
const burst = setInterval(() => {
  process.stdout.write(Array.from({ length: 40 }, () => `line ${line++}\\n`).join(""));
  if (line === 8000) { clearInterval(burst); console.log("burst over"); }
}, 20);
server.listen(""")


def test_no_line_of_a_burst_is_lost_or_doubled_by_kills_of_the_engine(tmp_path):
    app = node_app(tmp_path / "web", server=CHATTY)
    with Engine(tmp_path / "home") as engine:
        engine.cli("start")
        up = subprocess.Popen([str(BINARY), "up", str(app)], env=engine.environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        wait_for(lambda: container_pids(engine), "a task", 120)
        for _ in range(6):
            engine.kill()
            engine.cli("start")
            time.sleep(0.4)
        up.wait(timeout=300)
        logs = engine.client("logs")

        def over():
            return logs.filter_log_events(logGroupName="/ecs/web", filterPattern='"burst over"')["events"]

        wait_for(lambda: len(over()) >= 2, "both bursts to end")
        for stream in {event["logStreamName"] for event in over()}:
            numbers, token = [], {}
            while events := (page := logs.get_log_events(logGroupName="/ecs/web", logStreamName=stream,
                                                         startFromHead=True, **token))["events"]:
                numbers += [int(event["message"][5:]) for event in events if event["message"].startswith("line ")]
                token = {"nextToken": page["nextForwardToken"]}
            assert numbers == list(range(8000))
