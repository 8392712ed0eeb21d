"""A task acts as its role, by credentials that only it can have."""

import json
import pathlib
import subprocess

import botocore.exceptions
import pytest

from engine import wait_for
from test_network import interfaces


def environment_of(engine, task):
    """The environment of a task's process, from the kernel."""
    for shim in engine.processes("shim"):
        if task in pathlib.Path(f"/proc/{shim}/cmdline").read_text():
            [child] = pathlib.Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
            pairs = pathlib.Path(f"/proc/{child}/environ").read_text().split("\0")
            return dict(pair.split("=", 1) for pair in pairs if pair)
    raise AssertionError(f"task {task} has no shim")


def fetch(space, url):
    """GET from within a network namespace."""
    command = ["nsenter", f"--net={space}", "curl", "--silent", "--max-time", "5", "--noproxy", "*", url]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_task_is_its_role_and_may_do_what_the_role_may(deployed):
    first, second = deployed.status_of_shared()["tasks"]
    spaces = interfaces(deployed)
    space = spaces[first["address"]][0]
    variables = environment_of(deployed, first["id"])
    assert variables["AWS_EXECUTION_ENV"] == "AWS_ECS_FARGATE"
    path = variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
    document = fetch(space, f"http://169.254.170.2{path}")
    keys = {"aws_access_key_id": document["AccessKeyId"], "aws_secret_access_key": document["SecretAccessKey"],
            "aws_session_token": document["Token"]}
    identity = deployed.client("sts", **keys).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::000000000000:assumed-role/shared-task/{first['id']}"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        deployed.client("ec2", **keys).describe_vpcs()
    assert caught.value.response["Error"]["Code"] == "UnauthorizedOperation"
    iam = deployed.client("iam")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="shared-task", PolicyName="look", PolicyDocument=json.dumps(policy))
    assert len(deployed.client("ec2", **keys).describe_vpcs()["Vpcs"]) == 1
    iam.delete_role_policy(RoleName="shared-task", PolicyName="look")
    wrong = keys | {"aws_session_token": "guessed"}
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        deployed.client("sts", **wrong).get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "InvalidClientTokenId"
    other = subprocess.run(["nsenter", f"--net={spaces[second['address']][0]}", "curl", "--silent", "--max-time", "5",
                            "--noproxy", "*", f"http://169.254.170.2{path}"], capture_output=True, text=True)
    assert document["SecretAccessKey"] not in other.stdout, "a path is good in its own task only"


def test_the_metadata_endpoint_tells_of_the_task(deployed):
    [task, _] = deployed.status_of_shared()["tasks"]
    space = interfaces(deployed)[task["address"]][0]
    base = environment_of(deployed, task["id"])["ECS_CONTAINER_METADATA_URI_V4"]
    container = fetch(space, base)
    assert container["Name"] == "app" and container["Networks"][0]["IPv4Addresses"] == [task["address"]]
    whole = wait_for(lambda: (found := fetch(space, f"{base}/task"))["KnownStatus"] == "RUNNING" and found, "RUNNING")
    assert whole["TaskARN"].endswith(task["id"]) and whole["AvailabilityZone"] == task["az"]
    assert whole["Limits"] == {"CPU": 0.25, "Memory": 512}
