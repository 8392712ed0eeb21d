"""Users, roles and policies as clients see them: what is allowed here and denied there, on the wire."""

import datetime
import json
import urllib.error
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions
import pytest

from engine import REGION, Engine

ACCOUNT = "000000000000"
CLUSTER = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {**allow(action, resource, **more), "Effect": "Deny"}


def trust(**principal):
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


def refused(code, call, **arguments):
    """The message with which a call is refused."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    return error["Message"]


def user(engine, name, *statements):
    """A user with an inline policy; the settings of its clients."""
    iam = engine.client("iam")
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=document(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def session(credentials):
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


def test_a_narrow_policy_opens_its_resource_and_no_other(engine):
    admin = engine.client("ecs")
    for name in ("web", "db"):
        admin.create_cluster(clusterName=name)
    alice = user(engine, "alice", allow("ecs:DescribeClusters", CLUSTER + "web"), allow("ecs:UpdateCluster", CLUSTER + "web"))
    ecs = engine.client("ecs", **alice)
    assert ecs.describe_clusters(clusters=["web"])["clusters"][0]["clusterName"] == "web"
    assert ecs.describe_clusters(clusters=[CLUSTER + "web"])["clusters"]
    message = refused("AccessDeniedException", ecs.describe_clusters, clusters=["web", "db"])
    assert message == (
        f"User: arn:aws:iam::{ACCOUNT}:user/alice is not authorized to perform: ecs:DescribeClusters on resource: "
        f"{CLUSTER}db because no identity-based policy allows the ecs:DescribeClusters action"
    )
    refused("AccessDeniedException", ecs.delete_cluster, cluster="web")
    message = refused("UnauthorizedOperation", engine.client("ec2", **alice).create_vpc, CidrBlock="10.0.0.0/16")
    assert message.startswith("You are not authorized to perform this operation. User: arn:aws:iam::")
    refused("AccessDenied", engine.client("iam", **alice).list_users)
    assert engine.client("sts", **alice).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/alice"


def test_conditions_on_tags_of_requests_and_resources(engine):
    mine = {"Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}}
    tagged = {"Condition": {"StringEquals": {"aws:RequestTag/team": "a"}}}
    alice = user(engine, "alice", allow("ecs:DeleteCluster", **mine), allow(["ecs:CreateCluster", "ecs:TagResource"], **tagged))
    engine.client("iam").tag_user(UserName="alice", Tags=[{"Key": "team", "Value": "a"}])
    admin, ecs = engine.client("ecs"), engine.client("ecs", **alice)
    admin.create_cluster(clusterName="theirs", tags=[{"key": "team", "value": "b"}])
    refused("AccessDeniedException", ecs.create_cluster, clusterName="mine")
    refused("AccessDeniedException", ecs.create_cluster, clusterName="mine", tags=[{"key": "team", "value": "b"}])
    ecs.create_cluster(clusterName="mine", tags=[{"key": "team", "value": "a"}])
    refused("AccessDeniedException", ecs.delete_cluster, cluster="theirs")
    ecs.delete_cluster(cluster="mine")


def test_passing_a_role_needs_a_permission(engine):
    iam = engine.client("iam")
    role = iam.create_role(RoleName="task", AssumeRolePolicyDocument=trust(Service="ecs-tasks.amazonaws.com"))["Role"]["Arn"]
    container = {"name": "web", "image": "web", "essential": True}
    definition = {"family": "web", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256",
                  "memory": "512", "containerDefinitions": [container], "taskRoleArn": role}
    ecs = engine.client("ecs", **user(engine, "alice", allow("ecs:*")))
    message = refused("AccessDeniedException", ecs.register_task_definition, **definition)
    assert f"iam:PassRole on resource: {role}" in message
    to_tasks = {"Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}
    iam.put_user_policy(UserName="alice", PolicyName="pass", PolicyDocument=document(allow("iam:PassRole", role, **to_tasks)))
    ecs.register_task_definition(**definition)


def test_a_role_is_assumed_and_a_session_policy_narrows_it(engine):
    iam = engine.client("iam")
    alice = user(engine, "alice")
    arn = f"arn:aws:iam::{ACCOUNT}:user/alice"
    role = iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=trust(AWS=arn), MaxSessionDuration=7200)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="deployer", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    sts = engine.client("sts", **alice)
    full = sts.assume_role(RoleArn=role, RoleSessionName="full")
    assert full["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/full"
    engine.client("ec2", **session(full["Credentials"])).describe_vpcs()
    narrow = sts.assume_role(RoleArn=role, RoleSessionName="narrow", Policy=document(allow("ecs:*")))
    narrow = session(narrow["Credentials"])
    engine.client("ecs", **narrow).list_clusters()
    message = refused("UnauthorizedOperation", engine.client("ec2", **narrow).describe_vpcs)
    assert "because no session policy allows the ec2:DescribeVpcs action" in message
    by_arn = sts.assume_role(RoleArn=role, RoleSessionName="arn", PolicyArns=[{"arn": "arn:aws:iam::aws:policy/IAMReadOnlyAccess"}])
    by_arn = engine.client("iam", **session(by_arn["Credentials"]))
    by_arn.list_roles()
    refused("AccessDenied", by_arn.create_user, UserName="eve")
    iam.update_assume_role_policy(RoleName="deployer", PolicyDocument=trust(Service="ecs-tasks.amazonaws.com"))
    refused("AccessDenied", sts.assume_role, RoleArn=role, RoleSessionName="again")
    wrong = {**session(full["Credentials"]), "aws_session_token": "wrong"}
    refused("InvalidClientTokenId", engine.client("sts", **wrong).get_caller_identity)


def test_a_boundary_and_the_simulation_agree_with_what_happens(engine):
    iam = engine.client("iam")
    boundary = iam.create_policy(PolicyName="edge", PolicyDocument=document(allow("ecs:*")))["Policy"]["Arn"]
    bob = user(engine, "bob", allow("*"), deny("ecs:DeleteCluster"))
    iam.put_user_permissions_boundary(UserName="bob", PermissionsBoundary=boundary)
    calls = {
        "ecs:ListClusters": lambda: engine.client("ecs", **bob).list_clusters(),
        "ecs:DeleteCluster": lambda: engine.client("ecs", **bob).delete_cluster(cluster="x"),
        "logs:DescribeLogGroups": lambda: engine.client("logs", **bob).describe_log_groups(),
    }
    results = iam.simulate_principal_policy(PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:user/bob", ActionNames=list(calls))
    decisions = {result["EvalActionName"]: result["EvalDecision"] for result in results["EvaluationResults"]}
    assert decisions == {"ecs:ListClusters": "allowed", "ecs:DeleteCluster": "explicitDeny", "logs:DescribeLogGroups": "implicitDeny"}
    calls["ecs:ListClusters"]()
    assert "explicit deny in an identity-based policy" in refused("AccessDeniedException", calls["ecs:DeleteCluster"])
    assert "no permissions boundary allows" in refused("AccessDeniedException", calls["logs:DescribeLogGroups"])


def test_the_resources_of_iam_and_their_errors(engine):
    iam = engine.client("iam")
    iam.create_group(GroupName="devs", Path="/team/")
    iam.create_user(UserName="alice", Path="/team/", Tags=[{"Key": "a", "Value": "1"}])
    iam.add_user_to_group(GroupName="devs", UserName="alice")
    policy = iam.create_policy(PolicyName="p", PolicyDocument=document(allow("ecs:*")), Tags=[{"Key": "a", "Value": "1"}])["Policy"]
    iam.attach_group_policy(GroupName="devs", PolicyArn=policy["Arn"])
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName="alice")["Groups"]] == ["devs"]
    pages = iam.get_paginator("list_policies").paginate(Scope="All", PaginationConfig={"PageSize": 10})
    names = [policy["PolicyName"] for page in pages for policy in page["Policies"]]
    assert "p" in names and "AmazonECSTaskExecutionRolePolicy" in names and len(names) == len(set(names))
    iam.get_waiter("user_exists").wait(UserName="alice")
    assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    for code, call, arguments in [
        ("EntityAlreadyExists", iam.create_user, {"UserName": "ALICE"}),
        ("NoSuchEntity", iam.get_user, {"UserName": "nobody"}),
        ("NoSuchEntity", iam.attach_user_policy, {"UserName": "alice", "PolicyArn": "arn:aws:iam::aws:policy/None"}),
        ("MalformedPolicyDocument", iam.create_policy, {"PolicyName": "q", "PolicyDocument": "{}"}),
        ("DeleteConflict", iam.delete_user, {"UserName": "alice"}),
        ("DeleteConflict", iam.delete_group, {"GroupName": "devs"}),
        ("DeleteConflict", iam.delete_policy, {"PolicyArn": policy["Arn"]}),
        ("ValidationError", iam.create_user, {"UserName": "a b"}),
    ]:
        refused(code, call, **arguments)
    role = iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")["Role"]
    assert role["RoleName"] == "AWSServiceRoleForECS"
    task = iam.delete_service_linked_role(RoleName=role["RoleName"])["DeletionTaskId"]
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    iam.remove_user_from_group(GroupName="devs", UserName="alice")
    iam.delete_user(UserName="alice")
    iam.detach_group_policy(GroupName="devs", PolicyArn=policy["Arn"])
    iam.delete_group(GroupName="devs")
    iam.delete_policy(PolicyArn=policy["Arn"])


def presigned(engine, credentials, monkeypatch, age=0, expires=60):
    """A presigned GET of GetCallerIdentity, signed some seconds ago."""
    url = f"http://localhost:{engine.port}/?Action=GetCallerIdentity&Version=2011-06-15"
    request = botocore.awsrequest.AWSRequest("GET", url)
    keys = botocore.credentials.Credentials(credentials["aws_access_key_id"], credentials["aws_secret_access_key"])
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: at)
    botocore.auth.SigV4QueryAuth(keys, "sts", REGION, expires).add_auth(request)
    monkeypatch.undo()
    return request.prepare().url


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_presigned_requests_are_verified_and_expire(engine, monkeypatch):
    alice = user(engine, "alice")
    url = presigned(engine, alice, monkeypatch)
    status, body = get(url)
    assert status == 200 and ":user/alice" in body, body
    status, body = get(url.replace("Signature=", "Signature=0"))
    assert status == 403 and "SignatureDoesNotMatch" in body, body
    status, body = get(presigned(engine, alice, monkeypatch, age=90))
    assert status == 403 and "Signature expired" in body, body
    status, body = get(presigned(engine, alice, monkeypatch, expires=8 * 24 * 3600))
    assert status == 400 and "X-Amz-Expires" in body, body
    iam = engine.client("iam")
    iam.update_access_key(UserName="alice", AccessKeyId=alice["aws_access_key_id"], Status="Inactive")
    status, body = get(url)
    assert status == 403 and "InvalidClientTokenId" in body, body
    refused("UnrecognizedClientException", engine.client("ecs", **alice).list_clusters)


def test_accounts_are_apart_and_a_role_leads_from_one_to_the_other(engine):
    other = {"aws_access_key_id": "111122223333", "aws_secret_access_key": "test"}
    engine.client("ecs").create_cluster(clusterName="web")
    assert engine.client("ecs", **other).list_clusters()["clusterArns"] == []
    iam = engine.client("iam")
    trusted = trust(AWS="arn:aws:iam::111122223333:root")
    role = iam.create_role(RoleName="visitor", AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="visitor", PolicyArn="arn:aws:iam::aws:policy/AmazonECS_FullAccess")
    visitor = engine.client("sts", **other).assume_role(RoleArn=role, RoleSessionName="visit")["Credentials"]
    assert engine.client("ecs", **session(visitor)).list_clusters()["clusterArns"] == [CLUSTER + "web"]
    stranger = {"aws_access_key_id": "444455556666", "aws_secret_access_key": "test"}
    refused("AccessDenied", engine.client("sts", **stranger).assume_role, RoleArn=role, RoleSessionName="stray")


def test_a_strict_engine_takes_only_what_it_has_issued(tmp_path_factory, app):
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        started = engine.cli("start", "--strict")
        path = engine.home / "root-credentials"
        assert str(path) in started.stdout + started.stderr
        assert path.stat().st_mode & 0o777 == 0o600
        refused("InvalidClientTokenId", engine.client("sts").get_caller_identity)
        refused("UnrecognizedClientException", engine.client("ecs").list_clusters)
        lines = dict(line.split(" = ") for line in path.read_text().splitlines()[1:])
        assert engine.client("sts", **lines).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
        assert str(path) in engine.up(app).stderr
        assert len(engine.status(app)["tasks"]) == 2
        engine.cli("down", app)
        engine.cli("stop")
        engine.cli("start", "--strict")
        assert engine.client("sts", **lines).get_caller_identity()["Account"] == ACCOUNT
        engine.cli("stop")
        engine.cli("start")
        engine.client("sts").get_caller_identity()
