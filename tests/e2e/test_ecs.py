"""ECS as the SDKs and Terraform use it: what task definitions can ask for, run by real containers; the operations around
clusters, services and task definitions; the errors."""

import gzip
import hashlib
import io
import json
import pathlib
import platform
import tarfile

import botocore.exceptions
import pytest

import terraform
from engine import Engine, wait_for

ACCOUNT = "000000000000"
EXECUTION = f"arn:aws:iam::{ACCOUNT}:role/execution"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]})
MANAGED = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"


def busybox():
    """A root file system as a tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in "sh cat echo id sleep env grep test touch wget ls date true false kill".split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for directory in ("tmp", "etc"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
    return archive.getvalue()


def push(ecr, repository, tag):
    """Pushes an image of busybox by ECR's own API; returns the image's digest."""
    ecr.create_repository(repositoryName=repository)
    layer = busybox()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    config = json.dumps({"architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/bin"]},
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}})

    def upload(data):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        started = ecr.initiate_layer_upload(repositoryName=repository)
        ecr.upload_layer_part(repositoryName=repository, uploadId=started["uploadId"], partFirstByte=0,
                              partLastByte=len(data) - 1, layerPartBlob=data)
        ecr.complete_layer_upload(repositoryName=repository, uploadId=started["uploadId"], layerDigests=[digest])
        return {"digest": digest, "size": len(data)}

    kind = "application/vnd.oci.image"
    manifest = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json",
                "config": upload(config.encode()) | {"mediaType": f"{kind}.config.v1+json"},
                "layers": [upload(gzip.compress(layer)) | {"mediaType": f"{kind}.layer.v1.tar+gzip"}]}
    put = ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))
    return put["image"]["imageId"]["imageDigest"]


class Place:
    """A VPC with a subnet that has a way out and one that has none, an image, a role, a log group, a cluster."""

    def __init__(self, engine):
        self.engine = engine
        self.ecs, self.logs, self.iam = (engine.client(name) for name in ("ecs", "logs", "iam"))
        ec2 = engine.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.public, self.private = (
            ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"]
            for cidr, zone in [("10.0.1.0/24", "a"), ("10.0.2.0/24", "b")])
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        ec2.associate_route_table(RouteTableId=table, SubnetId=self.public)
        self.digest = push(engine.client("ecr"), "box", "v1")
        self.repository = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/box"
        self.image = f"{self.repository}:v1"
        self.iam.create_role(RoleName="execution", AssumeRolePolicyDocument=TRUST)
        self.iam.attach_role_policy(RoleName="execution", PolicyArn=MANAGED)
        self.logs.create_log_group(logGroupName="/ecs/test")
        self.ecs.create_cluster(clusterName="main", settings=[{"name": "containerInsights", "value": "enabled"}])

    def network(self, subnet=None):
        public = "ENABLED" if subnet is None else "DISABLED"
        return {"awsvpcConfiguration": {"subnets": [subnet or self.public], "assignPublicIp": public}}

    def container(self, name, script, **members):
        options = {"awslogs-group": "/ecs/test", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
        return {"name": name, "image": self.image, "command": ["sh", "-c", script],
                "logConfiguration": {"logDriver": "awslogs", "options": options}, "stopTimeout": 1} | members

    def register(self, family, *containers, **members):
        settings = {"family": family, "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256",
                    "memory": "512", "executionRoleArn": EXECUTION, "containerDefinitions": list(containers)}
        definition = self.ecs.register_task_definition(**settings | members)["taskDefinition"]
        return f"{family}:{definition['revision']}"

    def run(self, definition, **members):
        settings = {"cluster": "main", "taskDefinition": definition, "launchType": "FARGATE",
                    "networkConfiguration": self.network()}
        return self.ecs.run_task(**settings | members)["tasks"][0]["taskArn"]

    def task(self, arn):
        return self.ecs.describe_tasks(cluster="main", tasks=[arn])["tasks"][0]

    def stopped(self, arn):
        return wait_for(lambda: (task := self.task(arn))["lastStatus"] == "STOPPED" and task, f"{arn} to stop")

    def output(self, arn, container):
        stream = f"t/{container}/{arn.rsplit('/')[-1]}"
        events = self.logs.get_log_events(logGroupName="/ecs/test", logStreamName=stream, startFromHead=True)
        return [event["message"] for event in events["events"]]

    def service(self, name, definition, desired, **members):
        settings = {"cluster": "main", "serviceName": name, "taskDefinition": definition, "desiredCount": desired,
                    "launchType": "FARGATE", "networkConfiguration": self.network()}
        return self.ecs.create_service(**settings | members)["service"]

    def described(self, name):
        return self.ecs.describe_services(cluster="main", services=[name])["services"][0]

    def events(self, name):
        return [event["message"] for event in reversed(self.described(name)["events"])]

    def tasks(self, name):
        arns = self.ecs.list_tasks(cluster="main", serviceName=name)["taskArns"]
        return self.ecs.describe_tasks(cluster="main", tasks=arns)["tasks"] if arns else []

    def delete(self, name):
        self.ecs.delete_service(cluster="main", service=name, force=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start")
        yield Place(engine)


def refused(code, call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


# Containers

def test_secrets_arrive_where_the_role_may_read_them(place):
    secret = place.engine.client("secretsmanager").create_secret(Name="db", SecretString='{"password":"open-sesame"}')
    place.engine.client("ssm").put_parameter(Name="/app/mode", Value="loud", Type="String")
    wanted = [{"name": "PASSWORD", "valueFrom": f"{secret['ARN']}:password::"}, {"name": "MODE", "valueFrom": "/app/mode"}]
    definition = place.register("secret", place.container("app", "echo $PASSWORD $MODE", secrets=wanted))
    denied = place.stopped(place.run(definition))
    assert denied["stopCode"] == "TaskFailedToStart"
    assert denied["stoppedReason"].startswith("ResourceInitializationError: unable to pull secrets or registry auth: ")
    assert "is not authorized to perform: secretsmanager:GetSecretValue" in denied["stoppedReason"]
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue", "ssm:GetParameters"], "Resource": "*"}]}
    place.iam.put_role_policy(RoleName="execution", PolicyName="secrets", PolicyDocument=json.dumps(policy))
    arn = place.run(definition)
    assert place.stopped(arn)["containers"][0]["exitCode"] == 0
    assert place.output(arn, "app") == ["open-sesame loud"]
    missing = [{"name": "PASSWORD", "valueFrom": f"{secret['ARN']}:other::"}]
    failed = place.stopped(place.run(place.register("secret", place.container("app", "true", secrets=missing))))
    assert "did not contain json key other" in failed["stoppedReason"]
    said = json.dumps(place.ecs.describe_task_definition(taskDefinition="secret"), default=str)
    assert "open-sesame" not in said
    for path in [place.engine.home / "engine.log", *pathlib.Path(place.engine.run).rglob("*.json")]:
        assert "open-sesame" not in path.read_text(errors="replace"), path


def test_images_are_pulled_by_every_form_of_name_and_as_the_execution_role(place):
    port = place.engine.port
    for image in (place.image, f"{place.repository}@{place.digest}",
                  f"{ACCOUNT}.dkr.ecr.us-east-1.localhost:{port}/box:v1"):
        arn = place.run(place.register("names", place.container("app", "echo here", image=image)))
        task = place.stopped(arn)
        assert task["containers"][0]["exitCode"] == 0, task.get("stoppedReason")
        assert task["containers"][0]["imageDigest"] == place.digest
    place.iam.create_role(RoleName="poor", AssumeRolePolicyDocument=TRUST)
    poor = f"arn:aws:iam::{ACCOUNT}:role/poor"
    definition = place.register("poor", place.container("app", "true"), executionRoleArn=poor)
    steps = [("ecr:GetAuthorizationToken", "ResourceInitializationError: unable to pull secrets or registry auth"),
             ("ecr:BatchGetImage", "CannotPullContainerError: pull image manifest has been retried 1 time(s)"),
             ("ecr:GetDownloadUrlForLayer", "CannotPullContainerError"),
             ("logs:CreateLogStream", "ResourceInitializationError: failed to validate logger args")]
    allowed = []
    for action, expected in steps:
        reason = place.stopped(place.run(definition))["stoppedReason"]
        assert reason.startswith(expected) and action in reason, reason
        allowed.append(action)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
        place.iam.put_role_policy(RoleName="poor", PolicyName="some", PolicyDocument=json.dumps(policy))
    # Without logs:PutLogEvents the task runs, and its log stays empty.
    arn = place.run(definition)
    assert place.stopped(arn)["containers"][0]["exitCode"] == 0
    assert place.output(arn, "app") == []


def test_containers_wait_for_each_other_and_share_volumes(place):
    shared = [{"sourceVolume": "data", "containerPath": "/data"}]
    migrate = place.container("migrate", "sleep 0.2; echo migrated > /data/log", essential=False, mountPoints=shared)
    db = place.container("db", "cat /data/log; echo db >> /data/log; touch /data/up; sleep 1000", mountPoints=shared,
                         essential=False, dependsOn=[{"containerName": "migrate", "condition": "SUCCESS"}],
                         healthCheck={"command": ["CMD-SHELL", "test -e /data/up"], "interval": 5})
    web = place.container("web", "cat /data/log; touch /data/x || echo read-only", readonlyRootFilesystem=True,
                          volumesFrom=[{"sourceContainer": "db", "readOnly": True}],
                          dependsOn=[{"containerName": "db", "condition": "HEALTHY"}])
    definition = place.register("order", web, db, migrate, volumes=[{"name": "data"}])
    arn = place.run(definition)
    task = place.stopped(arn)
    codes = {container["name"]: container.get("exitCode") for container in task["containers"]}
    assert codes["web"] == 0 and codes["migrate"] == 0, task
    assert place.output(arn, "db") == ["migrated"]
    assert [line for line in place.output(arn, "web") if "touch" not in line] == ["migrated", "db", "read-only"]
    shape = place.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
    assert shape["volumes"] == [{"name": "data", "host": {}}]
    check = next(it for it in shape["containerDefinitions"] if it["name"] == "db")["healthCheck"]
    assert (check["interval"], check["timeout"], check["retries"]) == (5, 5, 3)


def test_an_unhealthy_task_of_a_service_is_replaced(place):
    check = {"command": ["CMD-SHELL", "test ! -e /tmp/sick"], "interval": 5, "retries": 1}
    script = "echo up; while [ ! -e /tmp/x ]; do sleep 0.1; done"
    place.service("checked", place.register("checked", place.container("app", script, healthCheck=check)), 1)
    [first] = wait_for(lambda: [task for task in place.tasks("checked") if task["healthStatus"] == "HEALTHY"], "health")
    assert first["containers"][0]["healthStatus"] == "HEALTHY"
    wait_for(lambda: place.described("checked")["deployments"][0]["rolloutState"] == "COMPLETED", "the rollout")
    [shim] = [pid for pid in place.engine.processes("shim")
              if first["taskArn"].rsplit("/")[-1] in pathlib.Path(f"/proc/{pid}/cmdline").read_text()]
    child = pathlib.Path(f"/proc/{shim}/task/{shim}/children").read_text().split()[0]
    pathlib.Path(f"/proc/{child}/root/tmp/sick").touch()
    stopped = place.stopped(first["taskArn"])
    assert stopped["stoppedReason"] == "Task failed container health checks"
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    identity = first["taskArn"].rsplit("/")[-1]
    assert f"(service checked) (task {identity}) failed container health checks." in place.events("checked")
    assert any("replaced 1 tasks due to an unhealthy status" in event for event in place.events("checked"))
    place.delete("checked")


def test_limits_restarts_and_overrides(place):
    script = "ulimit -n; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; echo $A $AWS_REGION $AWS_EXECUTION_ENV; id -u"
    container = place.container("app", "false", user="1000", ulimits=[{"name": "nofile", "softLimit": 2048, "hardLimit": 4096}],
                                environment=[{"name": "A", "value": "1"}], dockerLabels={"team": "blue"},
                                systemControls=[{"namespace": "net.ipv4.ip_unprivileged_port_start", "value": "99"}],
                                linuxParameters={"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}})
    definition = place.register("limits", container, ephemeralStorage={"sizeInGiB": 25}, pidMode="task")
    overrides = {"containerOverrides": [{"name": "app", "command": ["sh", "-c", script], "environment": [{"name": "A", "value": "2"}]}],
                 "ephemeralStorage": {"sizeInGiB": 30}}
    arn = place.run(definition, overrides=overrides, startedBy="test", group="batch", enableECSManagedTags=True,
                    tags=[{"key": "stage", "value": "dev"}])
    task = place.stopped(arn)
    assert task["containers"][0]["exitCode"] == 0, task
    assert place.output(arn, "app") == ["2048", "99", "2 us-east-1 AWS_ECS_FARGATE", "1000"]
    assert (task["startedBy"], task["group"], task["ephemeralStorage"]) == ("test", "batch", {"sizeInGiB": 30})
    tags = place.ecs.list_tags_for_resource(resourceArn=arn)["tags"]
    assert {tag["key"]: tag["value"] for tag in tags} == {"stage": "dev", "aws:ecs:clusterName": "main"}
    assert arn in place.ecs.list_tasks(cluster="main", startedBy="test", desiredStatus="STOPPED")["taskArns"]
    message = refused("ClientException", place.run, definition=place.register("limits", container), overrides={
        "ephemeralStorage": {"sizeInGiB": 10}})
    assert "Ephemeral storage" in message


def test_what_fargate_refuses(place):
    for members, expected in [
        ({"linuxParameters": {"sharedMemorySize": 64}}, "Fargate compatible task definitions do not support sharedMemorySize"),
        ({"linuxParameters": {"tmpfs": [{"containerPath": "/x", "size": 1}]}}, "tmpfs"),
        ({"linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}}}, "NET_ADMIN"),
        ({"privileged": True}, "privileged"),
        ({"healthCheck": {"command": ["true"]}}, "CMD"),
        ({"mountPoints": [{"sourceVolume": "none", "containerPath": "/x"}]}, "Unknown volume 'none'."),
        ({"dependsOn": [{"containerName": "other", "condition": "START"}]}, "other"),
        ({"environment": [{"name": "A", "value": "1"}], "secrets": [{"name": "A", "valueFrom": "/a"}]}, "such as 'A'"),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            place.register("refused", place.container("app", "true", **members))
        assert caught.value.response["Error"]["Code"] == "ClientException"
        assert expected in caught.value.response["Error"]["Message"], caught.value


# Services

def test_tasks_under_protection_outlive_a_scale_in(place):
    place.service("kept", place.register("kept", place.container("app", "sleep 1000", stopTimeout=0)), 2)
    tasks = wait_for(lambda: len(found := [it for it in place.tasks("kept") if it["lastStatus"] == "RUNNING"]) == 2 and found, "tasks")
    arns = [task["taskArn"] for task in tasks]
    answer = place.ecs.update_task_protection(cluster="main", tasks=arns, protectionEnabled=True, expiresInMinutes=60)
    assert len(answer["protectedTasks"]) == 2 and answer["failures"] == []
    place.ecs.update_service(cluster="main", service="kept", desiredCount=1)
    blocked = "was unable to scale in due to (reason 2 tasks under protection)"
    wait_for(lambda: any(blocked in event for event in place.events("kept")), "the event")
    assert place.described("kept")["runningCount"] == 2
    place.ecs.update_task_protection(cluster="main", tasks=[arns[0]], protectionEnabled=False)
    assert place.stopped(arns[0])["stopCode"] == "ServiceSchedulerInitiated"
    shown = place.ecs.get_task_protection(cluster="main", tasks=[arns[1]])["protectedTasks"][0]
    assert shown["protectionEnabled"] and "expirationDate" in shown
    alone = place.run("kept")
    failure = place.ecs.update_task_protection(cluster="main", tasks=[alone], protectionEnabled=True)["failures"][0]
    assert failure["reason"] == "TASK_NOT_VALID"
    place.ecs.stop_task(cluster="main", task=alone)
    place.delete("kept")


def test_what_would_fail_on_aws_is_told_once_a_deployment(place):
    definition = place.register("alone", place.container("app", "sleep 1000", stopTimeout=0))
    place.service("alone", definition, 2, networkConfiguration=place.network(place.private))
    wait_for(lambda: place.described("alone")["runningCount"] == 2, "both tasks, which start here")
    warnings = [event for event in place.events("alone") if "would fail on AWS" in event]
    assert len(warnings) == 1 and "api.ecr.us-east-1.amazonaws.com" in warnings[0], warnings
    place.service("reaching", definition, 1)
    wait_for(lambda: place.described("reaching")["runningCount"] == 1, "the task")
    assert not any("would fail on AWS" in event for event in place.events("reaching"))
    place.delete("alone")
    place.delete("reaching")


def test_an_alarm_fails_a_deployment_and_it_is_rolled_back(place):
    cloudwatch = place.engine.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName="errors", Namespace="App", MetricName="Errors", Statistic="Sum", Period=60,
                                EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold")
    check = {"command": ["CMD", "true"], "interval": 5}
    first = place.register("watched", place.container("app", "sleep 1000", stopTimeout=0, healthCheck=check))
    second = place.register("watched", place.container("app", "sleep 2000", stopTimeout=0, healthCheck=check))
    configuration = {"alarms": {"alarmNames": ["errors"], "enable": True, "rollback": True}}
    place.service("watched", first, 1)
    wait_for(lambda: place.described("watched")["deployments"][0]["rolloutState"] == "COMPLETED", "the first rollout")
    place.ecs.update_service(cluster="main", service="watched", taskDefinition=second, deploymentConfiguration=configuration)
    # It has all it wants, and still waits whether the alarm goes off.
    alone = lambda: [it["runningCount"] for it in place.described("watched")["deployments"]] == [1]
    wait_for(alone, "the second version alone")
    assert place.described("watched")["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="test")
    wait_for(lambda: any("deployment failed: alarm detected." in event for event in place.events("watched")), "the alarm")
    wait_for(lambda: place.described("watched")["taskDefinition"].endswith(first), "the rollback")
    [latest] = place.ecs.list_service_deployments(cluster="main", service="watched",
                                                  status=["ROLLBACK_SUCCESSFUL", "ROLLBACK_IN_PROGRESS"])["serviceDeployments"]
    shown = place.ecs.describe_service_deployments(serviceDeploymentArns=[latest["serviceDeploymentArn"]])
    assert shown["serviceDeployments"][0]["alarms"]["status"] == "TRIGGERED"
    place.delete("watched")


def test_a_deployment_is_stopped_and_rolled_back_on_request(place):
    check = {"command": ["CMD", "true"], "interval": 5}
    first = place.register("halted", place.container("app", "sleep 1000", stopTimeout=0, healthCheck=check))
    never = check | {"command": ["CMD", "false"], "startPeriod": 300}
    second = place.register("halted", place.container("app", "sleep 1000", stopTimeout=0, healthCheck=never))
    place.service("halted", first, 1, deploymentConfiguration={"minimumHealthyPercent": 100, "maximumPercent": 200})
    wait_for(lambda: place.described("halted")["deployments"][0]["rolloutState"] == "COMPLETED", "the first rollout")
    place.ecs.update_service(cluster="main", service="halted", taskDefinition=second)
    [entry] = place.ecs.list_service_deployments(cluster="main", service="halted", status=["IN_PROGRESS"])["serviceDeployments"]
    place.ecs.stop_service_deployment(serviceDeploymentArn=entry["serviceDeploymentArn"])
    assert place.described("halted")["taskDefinition"].endswith(first)
    wait_for(lambda: len(place.described("halted")["deployments"]) == 1, "the rollback")
    refused("ConflictException", place.ecs.stop_service_deployment, serviceDeploymentArn=entry["serviceDeploymentArn"])
    place.delete("halted")


def test_tags_of_services_reach_their_tasks(place):
    definition = place.register("tagged", place.container("app", "sleep 1000", stopTimeout=0),
                                tags=[{"key": "from", "value": "definition"}])
    place.service("tagged", definition, 1, propagateTags="SERVICE", enableECSManagedTags=True,
                  tags=[{"key": "from", "value": "service"}])
    place.ecs.get_waiter("services_stable").wait(cluster="main", services=["tagged"], WaiterConfig={"Delay": 1})
    [task] = place.tasks("tagged")
    tags = {tag["key"]: tag["value"] for tag in place.ecs.list_tags_for_resource(resourceArn=task["taskArn"])["tags"]}
    assert tags == {"from": "service", "aws:ecs:clusterName": "main", "aws:ecs:serviceName": "tagged"}
    place.ecs.delete_service(cluster="main", service="tagged", force=True)
    place.ecs.get_waiter("services_inactive").wait(cluster="main", services=["tagged"], WaiterConfig={"Delay": 1})
    place.ecs.get_waiter("tasks_stopped").wait(cluster="main", tasks=[task["taskArn"]], WaiterConfig={"Delay": 1})


# What surrounds them

def test_task_definitions_are_deleted(place):
    definition = place.register("doomed", place.container("app", "true"))
    answer = place.ecs.delete_task_definitions(taskDefinitions=[definition])
    assert "still in ACTIVE status" in answer["failures"][0]["reason"]
    place.ecs.deregister_task_definition(taskDefinition=definition)
    answer = place.ecs.delete_task_definitions(taskDefinitions=[definition])
    assert answer["taskDefinitions"][0]["status"] == "DELETE_IN_PROGRESS"
    gone = lambda: place.ecs.list_task_definitions(familyPrefix="doomed", status="DELETE_IN_PROGRESS")["taskDefinitionArns"] == []
    wait_for(gone, "the revision to be gone")
    refused("ClientException", place.ecs.describe_task_definition, taskDefinition=definition)
    assert place.register("doomed", place.container("app", "true")) == "doomed:2"


def test_account_settings(place):
    setting = place.ecs.put_account_setting_default(name="containerInsights", value="enhanced")["setting"]
    assert setting["principalArn"] == f"arn:aws:iam::{ACCOUNT}:root"
    made = place.ecs.create_cluster(clusterName="insights")["cluster"]
    assert made["settings"] == [{"name": "containerInsights", "value": "enhanced"}]
    place.ecs.delete_account_setting(name="containerInsights")
    effective = place.ecs.list_account_settings(effectiveSettings=True)["settings"]
    values = {setting["name"]: setting["value"] for setting in effective}
    assert values["containerInsights"] == "disabled" and values["taskLongArnFormat"] == "enabled"
    refused("InvalidParameterException", place.ecs.put_account_setting, name="containerInsights", value="x")
    place.ecs.delete_cluster(cluster="insights")


def test_clusters_change(place):
    place.ecs.create_cluster(clusterName="other")
    changed = place.ecs.update_cluster_settings(cluster="other", settings=[{"name": "containerInsights", "value": "enhanced"}])
    assert changed["cluster"]["settings"][0]["value"] == "enhanced"
    strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    put = place.ecs.put_cluster_capacity_providers(cluster="other", capacityProviders=["FARGATE", "FARGATE_SPOT"],
                                                   defaultCapacityProviderStrategy=strategy)["cluster"]
    assert put["defaultCapacityProviderStrategy"] == [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]
    found = place.ecs.describe_capacity_providers()["capacityProviders"]
    assert sorted(provider["name"] for provider in found) == ["FARGATE", "FARGATE_SPOT"]
    refused("InvalidParameterException", place.ecs.put_cluster_capacity_providers, cluster="other",
            capacityProviders=["mine"], defaultCapacityProviderStrategy=[])
    place.ecs.delete_cluster(cluster="other")


def test_what_is_not_there_is_refused_by_name(place):
    arguments = {"cluster": "main", "task": "x", "command": "sh", "interactive": True}
    for call, arguments in [(place.ecs.execute_command, arguments),
                            (place.ecs.list_services_by_namespace, {"namespace": "x"}),
                            (place.ecs.start_task, {"cluster": "main", "taskDefinition": "x", "containerInstances": ["i"]}),
                            (place.ecs.put_attributes, {"cluster": "main", "attributes": [{"name": "a"}]})]:
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call(**arguments)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400, caught.value


CONFIGURATION = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  default_tags { tags = { owner = "test" } }
}

variable "mode" { default = "one" }

resource "aws_vpc" "main" { cidr_block = "10.9.0.0/16" }

resource "aws_subnet" "main" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.9.1.0/24"
}

resource "aws_ecs_cluster" "main" {
  name = "terraform"
  setting {
    name  = "containerInsights"
    value = "enhanced"
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 1
  }
}

resource "aws_ecs_account_setting_default" "main" {
  name  = "containerInsights"
  value = "enabled"
}

resource "aws_iam_role" "execution" {
  name = "terraform-execution"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" } }]
  })
}

resource "aws_ecs_task_definition" "main" {
  family                   = "terraform"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = 512
  memory                   = 1024
  execution_role_arn       = aws_iam_role.execution.arn
  pid_mode                 = "task"
  volume { name = "data" }
  ephemeral_storage { size_in_gib = 30 }
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARCHITECTURE"
  }
  container_definitions = jsonencode([
    {
      name         = "web"
      image        = "IMAGE"
      command      = ["sh", "-c", "sleep 1000"]
      environment  = [{ name = "MODE", value = var.mode }]
      secrets      = [{ name = "TOKEN", valueFrom = "/token" }]
      portMappings = [{ containerPort = 80, name = "http", appProtocol = "http" }]
      healthCheck  = { command = ["CMD-SHELL", "true"] }
      dependsOn    = [{ containerName = "side", condition = "START" }]
      mountPoints  = [{ sourceVolume = "data", containerPath = "/data", readOnly = false }]
      ulimits      = [{ name = "nofile", softLimit = 1024, hardLimit = 2048 }]
      linuxParameters = { initProcessEnabled = true, capabilities = { drop = ["NET_RAW"] } }
      systemControls  = [{ namespace = "net.core.somaxconn", value = "1024" }]
      restartPolicy   = { enabled = true, restartAttemptPeriod = 60 }
      dockerLabels    = { team = "blue" }
      stopTimeout     = 0
      readonlyRootFilesystem = true
    },
    { name = "side", image = "IMAGE", essential = false, command = ["sleep", "1000"], stopTimeout = 0,
      volumesFrom = [{ sourceContainer = "web", readOnly = true }] },
  ])
}

resource "aws_ecs_service" "main" {
  name                   = "terraform"
  cluster                = aws_ecs_cluster.main.id
  task_definition        = aws_ecs_task_definition.main.arn
  desired_count          = 0
  enable_execute_command = false
  enable_ecs_managed_tags = true
  propagate_tags         = "SERVICE"
  platform_version       = "LATEST"
  wait_for_steady_state  = true
  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 1
  }
  capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = 3
  }
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  deployment_controller { type = "ECS" }
  network_configuration { subnets = [aws_subnet.main.id] }
  depends_on = [aws_ecs_cluster_capacity_providers.main]
}

resource "aws_ecs_service" "plain" {
  name            = "plain"
  cluster         = aws_ecs_cluster.main.arn
  task_definition = aws_ecs_task_definition.main.arn
  launch_type     = "FARGATE"
  alarms {
    alarm_names = ["none"]
    enable      = true
    rollback    = true
  }
  network_configuration { subnets = [aws_subnet.main.id] }
}
"""


def test_terraform(place, tmp_path):
    if lacking := terraform.missing():
        print(f"NOT RUN: {lacking}")
        pytest.skip(lacking)
    architecture = {"x86_64": "X86_64", "aarch64": "ARM64"}[platform.machine()]
    text = CONFIGURATION.replace("IMAGE", place.image).replace("ARCHITECTURE", architecture)
    (tmp_path / "main.tf").write_text(text)
    configuration = terraform.Terraform(tmp_path, place.engine)
    configuration.apply()
    configuration.assert_no_drift()
    configuration.apply(mode="two")
    configuration.assert_no_drift(mode="two")
    configuration.destroy(mode="two")
    assert all("terraform" not in arn for arn in place.ecs.list_clusters()["clusterArns"])
