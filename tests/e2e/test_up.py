"""From a directory to a running app with one command, again and again."""

import json
import time

from engine import ROOT, Engine, http_get, node_app, wait_for
from load import Load


def test_the_example_app_from_one_command(tmp_path_factory):
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        example = ROOT / "examples" / "mashroom"
        done = engine.up(example)
        assert "http://" in done.stdout
        status = engine.status(example)
        assert [task["state"] for task in status["tasks"]] == ["RUNNING", "RUNNING"]
        assert {task["az"] for task in status["tasks"]} == {"us-east-1a", "us-east-1b"}
        served = {json.loads(engine.get(status["url"], "/api/info")[1])["availabilityZone"] for _ in range(8)}
        assert served == {"us-east-1a", "us-east-1b"}, "round robin over both zones"
        code, page = engine.get(status["url"])
        assert code == 200 and "<html" in page
        # Down removes the app, and a second time there is nothing to do.
        engine.cli("down", example)
        assert engine.aws("ec2", "describe-vpcs")["Vpcs"] == []
        assert engine.aws("elbv2", "describe-load-balancers")["LoadBalancers"] == []
        assert engine.aws("ecs", "list-clusters")["clusterArns"] == []
        engine.cli("down", example)


def test_again_without_a_change_does_nothing_and_a_change_rolls_out_without_a_failed_request(tmp_path):
    app = node_app(tmp_path / "web")
    with Engine(tmp_path / "home") as engine:
        engine.up(app)
        before = {task["id"] for task in engine.tasks(app)}
        again = engine.up(app)
        assert "nothing" in (again.stdout + again.stderr).lower()
        assert {task["id"] for task in engine.tasks(app)} == before
        server = app / "server.js"
        server.write_text(server.read_text().replace('"v1"', '"v2"'))
        with Load(engine.url(app)) as load:
            wait_for(lambda: load.answered > 50, "the load to flow")
            engine.up(app)
            finished = time.monotonic()
            wait_for(lambda: load.versions["v2"] > 50, "answers of the new version")
        assert load.failures == []
        assert set(load.versions) == {"v1", "v2"}
        assert load.last_version_at["v1"] < finished, "no answer of the old version after the end"
        assert {task["id"] for task in engine.tasks(app)}.isdisjoint(before)


def test_a_version_that_never_becomes_healthy_is_rolled_back(tmp_path):
    app = node_app(tmp_path / "web")
    with Engine(tmp_path / "home") as engine:
        engine.up(app)
        server = app / "server.js"
        good = server.read_text()
        server.write_text("process.exit(7);")
        with Load(engine.url(app)) as load:
            failed = engine.up(app, check=False)
        assert failed.returncode == 1
        assert "tasks failed to start" in failed.stderr and "exited with 7" in failed.stderr, failed.stderr
        assert load.failures == []
        engine.wait_steady(app)
        assert json.loads(engine.get(engine.url(app))[1])["version"] == "v1"
        server.write_text(good.replace('"v1"', '"v3"'))
        engine.up(app)
        assert json.loads(engine.get(engine.url(app))[1])["version"] == "v3"


def test_two_engines_with_the_same_addresses_do_not_meet(tmp_path):
    app = node_app(tmp_path / "web")
    with Engine(tmp_path / "one") as one, Engine(tmp_path / "two") as two:
        one.up(app)
        server = app / "server.js"
        server.write_text(server.read_text().replace('"v1"', '"v2"'))
        two.up(app)
        addresses = [{task["address"] for task in engine.tasks(app)} for engine in (one, two)]
        assert addresses[0] == addresses[1]
        versions = [json.loads(http_get(engine.url(app))[1])["version"] for engine in (one, two)]
        assert versions == ["v1", "v2"]
        one.cli("down", "--all", "--yes")
        assert two.get(two.url(app))[0] == 200


def test_logs_and_status_read_well(tmp_path):
    app = node_app(tmp_path / "web")
    with Engine(tmp_path / "home") as engine:
        engine.up(app)
        wait_for(lambda: engine.cli("logs", app).stdout.count('"listening"') == 2, "both tasks' first line")
        lines = [json.loads(line) for line in engine.cli("logs", app, "--output", "json").stdout.splitlines()]
        assert {line["task"] for line in lines} == {task["id"] for task in engine.tasks(app)}
        text = engine.cli("status", app).stdout
        assert "RUNNING" in text and "healthy" in text and "us-east-1b" in text
        usage = wait_for(
            lambda: [task["memory_percent"] for task in engine.tasks(app) if task["memory_percent"] is not None],
            "the first measurement", timeout=150)
        assert all(0 < percent < 100 for percent in usage)
