"""Bad input ends in a clear error: AWS's code from the API, words and an exit code from the commands."""

import http.client
import json
import socket
import subprocess

import botocore.exceptions
import pytest

from engine import Engine, node_app


def code(call, **arguments):
    """The AWS error code that a call ends with."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def raw(engine, method="POST", path="/", body=b"", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_operations_that_are_unknown_or_missing_are_named(engine):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        engine.client("ec2").describe_instances()
    response = caught.value.response
    assert "ec2:DescribeInstances" in response["Error"]["Message"]
    assert 400 <= response["ResponseMetadata"]["HTTPStatusCode"] < 500, "no SDK retries it"
    status, body = raw(engine, body=b"{}", Content_Type="application/x-amz-json-1.1", X_Amz_Target="Nothing.AtAll")
    assert status == 400 and "UnknownOperationException" in body


def test_members_that_are_not_implemented_are_refused_by_name(engine):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        engine.client("ec2").create_vpc(CidrBlock="10.0.0.0/16", Ipv4IpamPoolId="ipam-pool-1")
    assert "Ipv4IpamPoolId" in str(caught.value)


def test_signatures_are_checked(engine):
    wrong = engine.client("sts", aws_secret_access_key="guessed")
    assert code(wrong.get_caller_identity) == "SignatureDoesNotMatch"
    unknown = engine.client("sts", aws_access_key_id="AKIAIOSFODNN7EXAMPLE")
    assert code(unknown.get_caller_identity) == "InvalidClientTokenId"
    status, body = raw(engine, body=b"Action=GetCallerIdentity&Version=2011-06-15",
                       Content_Type="application/x-www-form-urlencoded")
    assert status == 403 and "MissingAuthenticationToken" in body
    identity = engine.client("sts", aws_access_key_id="123456789012").get_caller_identity()
    assert identity["Account"] == "123456789012"


def test_resources_and_values_that_are_not(engine):
    ec2, ecs, elb = (engine.client(service) for service in ("ec2", "ecs", "elbv2"))
    assert code(ec2.describe_vpcs, VpcIds=["vpc-00000000000000000"]) == "InvalidVpcID.NotFound"
    assert code(ec2.create_vpc, CidrBlock="10.0.0.0/8") == "InvalidVpc.Range"
    assert code(ec2.create_vpc, CidrBlock="nonsense") == "InvalidParameterValue"
    assert code(elb.describe_load_balancers, Names=["none"]) == "LoadBalancerNotFound"
    assert code(ecs.describe_task_definition, taskDefinition="none") == "ClientException"
    assert code(ecs.list_tasks, cluster="none") == "ClusterNotFoundException"
    assert code(engine.client("ecr").describe_images, repositoryName="none") == "RepositoryNotFoundException"
    assert code(engine.client("logs").filter_log_events, logGroupName="none") == "ResourceNotFoundException"
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24")
    assert code(ec2.create_subnet, VpcId=vpc, CidrBlock="10.1.0.128/25") == "InvalidSubnet.Conflict"
    assert code(ec2.create_subnet, VpcId=vpc, CidrBlock="10.2.0.0/24") == "InvalidSubnet.Range"
    assert code(ec2.delete_vpc, VpcId=vpc) == "DependencyViolation"


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"},
    {"Host": "localhost", "Origin": "http://evil.example"},
    {"Host": "localhost", "Sec_Fetch_Site": "cross-site"},
])
def test_web_pages_cannot_drive_the_api(engine, headers):
    assert raw(engine, method="GET", path="/_pileus/health", **headers)[0] == 403


def test_large_and_slow_requests_are_bounded(engine):
    with socket.create_connection(("127.0.0.1", engine.port), timeout=60) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 41943040\r\n\r\n")
        assert client.recv(1024).startswith(b"HTTP/1.1 413"), "refused before the body is sent"
    with socket.create_connection(("127.0.0.1", engine.port), timeout=60) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert b"200" not in client.recv(1024), "headers that do not end are answered with an end"


def test_a_broken_manifest_is_shown_with_its_place(engine, app):
    (app / "pileus.toml").write_text("name = \"web\"\n\n[health\npath = 1\n")
    done = engine.cli("up", app, check=False)
    assert done.returncode != 0
    assert "pileus.toml:3" in done.stderr, done.stderr
    (app / "pileus.toml").write_text("[health]\npth = \"/\"\n")
    done = engine.cli("up", app, check=False)
    assert done.returncode != 0 and "pth" in done.stderr and "path" in done.stderr, "with what was meant"
    assert engine.aws("ec2", "describe-vpcs")["Vpcs"] == [], "nothing half-made"


def test_an_app_that_cannot_be_built_says_why(engine, app):
    (app / "package-lock.json").unlink()
    package = json.loads((app / "package.json").read_text()) | {"dependencies": {"express": "^5"}}
    (app / "package.json").write_text(json.dumps(package))
    done = engine.cli("up", app, check=False)
    assert done.returncode == 1 and "package-lock.json" in done.stderr
    assert engine.aws("ec2", "describe-vpcs")["Vpcs"] == [], "nothing half-made"


def test_an_app_without_a_health_page_never_becomes_healthy(tmp_path):
    app = node_app(tmp_path / "web", manifest='[health]\npath = "/no-such-page"\n',
                   server='require("node:http").createServer((q, r) => r.writeHead(404).end()).listen(3000)')
    with Engine(tmp_path / "home") as engine:
        done = engine.up(app, check=False)
        assert done.returncode == 1
        assert "404" in done.stderr, done.stderr


def test_a_task_of_an_image_that_does_not_exist_is_stopped_with_the_reason(deployed):
    ecs = deployed.client("ecs")
    service = ecs.describe_services(cluster="shared", services=["shared"])["services"][0]
    definition = ecs.register_task_definition(
        family="missing", networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
        executionRoleArn="arn:aws:iam::000000000000:role/shared-execution",
        containerDefinitions=[{"name": "app", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/shared:none"}])
    run = ecs.run_task(cluster="shared", taskDefinition=definition["taskDefinition"]["taskDefinitionArn"],
                       launchType="FARGATE", networkConfiguration=service["networkConfiguration"])
    arn = run["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_stopped").wait(cluster="shared", tasks=[arn], WaiterConfig={"Delay": 1})
    [task] = ecs.describe_tasks(cluster="shared", tasks=[arn])["tasks"]
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError"), task["stoppedReason"]


def test_a_taken_port_is_said_before_anything_happens(tmp_path):
    with Engine(tmp_path / "home") as engine, socket.socket() as taken:
        taken.bind(("127.0.0.1", engine.port))
        taken.listen()
        done = engine.cli("start", check=False)
        assert done.returncode == 1
        assert str(engine.port) in done.stderr and "--port" in done.stderr, done.stderr


def test_a_second_engine_on_the_same_home_is_refused(engine):
    environment = engine.environment | {"PILEUS_PORT": "0"}
    from engine import BINARY
    done = subprocess.run([BINARY, "engine"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "in use by another engine" in done.stderr, done.stderr
    assert engine.cli("start").returncode == 0, "starting what runs is fine"


def test_commands_without_an_engine_say_what_to_do(tmp_path, app):
    with Engine(tmp_path / "home") as engine:
        done = engine.cli("status", app, check=False)
        assert done.returncode == 3 and "pileus up" in done.stderr
        assert engine.cli("stop").returncode == 0
        assert json.loads(engine.cli("doctor", "--output", "json", check=False).stdout)
