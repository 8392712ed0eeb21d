"""The reference architecture as people have it in Terraform (examples/terraform), applied unmodified."""

import json
import shutil
import time
import urllib.request

import pytest

from engine import ROOT, SERVER, node_app, wait_for
from terraform import Terraform, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"NO TERRAFORM HERE: {missing()}")

# What the configuration's variables change is seen from inside: the paths that are asked for, and the secret.
WATCHING = SERVER.replace("  if (url.pathname", """\
  seen.add(url.pathname);
  if (url.pathname === "/seen") {
    response.end(JSON.stringify({ version, paths: [...seen], key: process.env.SESSION_KEY }));
  } else if (url.pathname === "/ready") {
    response.end("ready");
  } else if (url.pathname""", 1).replace("let healthy", "const seen = new Set();\nlet healthy", 1)


@pytest.fixture
def configuration(tmp_path, engine):
    directory = tmp_path / "architecture"
    directory.mkdir()
    for source in (ROOT / "examples" / "terraform").glob("*.tf"):
        shutil.copy(source, directory)
    return Terraform(directory, engine)


def push(engine, directory, repository, tag):
    engine.cli("image", "build", directory, "--tag", f"{repository}:{tag}", "--push")


def edge(engine, url):
    """The load balancer's URL with the port where this engine's edge stands for port 80."""
    with urllib.request.urlopen(f"http://127.0.0.1:{engine.port}/_pileus/edges") as response:
        return f"{url}:{json.load(response)['80']}"


def test_the_reference_architecture(engine, configuration, tmp_path):
    app = node_app(tmp_path / "v1", server=WATCHING)
    configuration("apply", "-auto-approve", "-no-color", "-target=aws_ecr_repository.app")
    repository = configuration.outputs()["repository"]
    push(engine, app, repository, "v1")

    # An engine that is killed in the middle of an apply: what it acknowledged is there, and applying again converges.
    quick = {"health_check_interval": 5, "deregistration_delay": 2}
    cut = configuration.start("apply", "-auto-approve", "-no-color", *[f"-var={k}={v}" for k, v in quick.items()])
    wait_for(lambda: engine.client("ec2").describe_subnets()["Subnets"], "the apply to be in the middle")
    engine.kill()
    time.sleep(1)
    engine.cli("start")
    cut.communicate(timeout=600)
    configuration.apply(**quick)

    url = edge(engine, configuration.outputs()["url"])
    assert json.loads(engine.get(url)[1])["version"] == "v1"
    assert json.loads(engine.get(url, "/seen")[1])["key"] == "only-for-rehearsals", "the secret, by the execution role"
    assert engine.get(url, "/robots.txt") == (200, "User-agent: *\nDisallow: /\n"), "the listener's rule"
    configuration.assert_no_drift(**quick)

    # A health check, a rule and an image change, and take effect.
    (app / "server.js").write_text(WATCHING.replace('"v1"', '"v2"'))
    push(engine, app, repository, "v2")
    rule = configuration.directory / "balancer.tf"
    rule.write_text(rule.read_text().replace("Disallow: /\\n", "Disallow: /private\\n"))
    changed = quick | {"health_check_path": "/ready", "image_tag": "v2"}
    configuration.apply(**changed)
    seen = json.loads(engine.get(url, "/seen")[1])
    assert seen["version"] == "v2" and "/ready" in seen["paths"] and "/health" not in seen["paths"]
    assert engine.get(url, "/robots.txt") == (200, "User-agent: *\nDisallow: /private\n")
    configuration.assert_no_drift(**changed)

    # The flow log has seen the load balancer's requests.
    logs = engine.client("logs")
    flows = wait_for(lambda: logs.filter_log_events(logGroupName="/vpc/mashroom", filterPattern="ACCEPT")["events"],
                     "a record in the flow log", timeout=150)
    assert any(" 3000 " in event["message"] for event in flows)

    configuration.destroy(**changed)
    assert_nothing_is_left(engine)


def assert_nothing_is_left(engine):
    assert engine.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"] == []
    assert engine.client("ec2").describe_addresses()["Addresses"] == []
    assert engine.client("ec2").describe_flow_logs()["FlowLogs"] == []
    assert engine.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert engine.client("elbv2").describe_target_groups()["TargetGroups"] == []
    assert engine.client("ecs").list_clusters()["clusterArns"] == []
    assert engine.client("ecr").describe_repositories()["repositories"] == []
    assert engine.client("logs").describe_log_groups()["logGroups"] == []
    assert engine.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert engine.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="ecs")["ScalableTargets"] == []
    assert engine.client("secretsmanager").list_secrets()["SecretList"] == []
    roles = engine.client("iam").list_roles()["Roles"]
    assert [role["RoleName"] for role in roles if not role["Path"].startswith("/aws-service-role/")] == []
    assert engine.client("iam").list_policies(Scope="Local")["Policies"] == []
