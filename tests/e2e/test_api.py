"""The AWS APIs as tools use them: defaults, idempotence, waiters, pages, errors; and that a change reaches what runs."""

import concurrent.futures
import http.client
import json
import random
import time

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions
import pytest

from engine import Engine, wait_for

APP = "shared"
TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An engine for the tests that need no app; each uses an account of its own."""
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start")
        yield engine


def account(engine, number, region="us-east-1"):
    """Clients of an account: twelve digits as the access key are its root."""
    key = str(number) * 12
    return lambda service: engine.client(service, aws_access_key_id=key, region_name=region)


def code(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def wait(client, waiter, **arguments):
    client.get_waiter(waiter).wait(**arguments, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def network(ec2):
    """A VPC with an internet gateway and two public subnets."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"]
        for n, zone in enumerate("ab")]
    return vpc, gateway, subnets


def test_a_vpc_has_what_aws_gives_it_and_goes_only_when_empty(empty):
    ec2 = account(empty, 1)("ec2")
    vpc, gateway, [subnet, _] = network(ec2)
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    [main] = ec2.describe_route_tables(Filters=here)["RouteTables"]
    assert [(route["GatewayId"], route["State"]) for route in main["Routes"]] == [("local", "active")]
    [group] = ec2.describe_security_groups(Filters=here)["SecurityGroups"]
    assert code(ec2.delete_security_group, GroupId=group["GroupId"]) == "CannotDelete"
    [acl] = ec2.describe_network_acls(Filters=here)["NetworkAcls"]
    assert [(entry["RuleNumber"], entry["RuleAction"]) for entry in acl["Entries"] if entry["Egress"]] == [
        (100, "allow"), (32767, "deny")]
    ec2.create_route(RouteTableId=main["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    [main] = ec2.describe_route_tables(Filters=here)["RouteTables"]
    assert {route["State"] for route in main["Routes"] if route["GatewayId"] == gateway} == {"blackhole"}
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    shown = ec2.describe_addresses_attribute(AllocationIds=[address])["Addresses"]
    assert [entry["AllocationId"] for entry in shown] == [address], "Terraform asks for each aws_eip"
    nat = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address, ClientToken="t")["NatGateway"]["NatGatewayId"]
    again = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address, ClientToken="t")["NatGateway"]["NatGatewayId"]
    assert nat == again
    wait(ec2, "nat_gateway_available", NatGatewayIds=[nat])
    assert code(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    assert code(ec2.delete_vpc, VpcId=vpc) == "DependencyViolation"
    assert code(ec2.release_address, AllocationId=address) == "InvalidIPAddress.InUse"
    ec2.delete_nat_gateway(NatGatewayId=nat)
    wait(ec2, "nat_gateway_deleted", NatGatewayIds=[nat])
    ec2.release_address(AllocationId=address)


def test_security_group_rules_are_changed_in_place(empty):
    ec2 = account(empty, 2)("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"]
    http = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    [rule] = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[http])["SecurityGroupRules"]
    other = {"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    assert code(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[other, http]) == (
        "InvalidPermission.Duplicate")
    assert len(ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]) == 1, "all or none"
    ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[{
        "SecurityGroupRuleId": rule["SecurityGroupRuleId"],
        "SecurityGroupRule": {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "10.0.0.0/8"}}])
    [changed] = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])["SecurityGroupRules"]
    assert (changed["FromPort"], changed["CidrIpv4"]) == (443, "10.0.0.0/8")
    assert code(ec2.revoke_security_group_ingress, GroupId=group, IpPermissions=[http]) == "InvalidPermission.NotFound"


def test_load_balancers_are_idempotent_and_protect_what_they_use(empty):
    clients = account(empty, 3)
    ec2, elb = clients("ec2"), clients("elbv2")
    vpc, _, subnets = network(ec2)
    [balancer] = elb.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"]
    arn = balancer["LoadBalancerArn"]
    assert elb.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"] == arn
    assert code(elb.create_load_balancer, Name="web", Subnets=subnets, Scheme="internal") == "DuplicateLoadBalancerName"
    wait(elb, "load_balancer_available", LoadBalancerArns=[arn])
    # The provider of Terraform sends an empty ProtocolVersion, which boto3 lets through too.
    settings = {"Protocol": "HTTP", "Port": 80, "VpcId": vpc, "TargetType": "ip", "ProtocolVersion": ""}
    group = elb.create_target_group(Name="web", **settings)["TargetGroups"][0]["TargetGroupArn"]
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "300"} in attributes
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.0.99"}])
    [health] = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert health["TargetHealth"]["Reason"] == "Target.NotInUse"
    forward = [{"Type": "forward", "TargetGroupArn": group}]
    [listener] = elb.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=forward)["Listeners"]
    listener = listener["ListenerArn"]
    assert code(elb.delete_target_group, TargetGroupArn=group) == "ResourceInUse"
    rules = [
        elb.create_rule(ListenerArn=listener, Priority=priority, Actions=forward,
                        Conditions=[{"Field": "path-pattern", "Values": [f"/{priority}"]}])["Rules"][0]["RuleArn"]
        for priority in (1, 2)]
    elb.set_rule_priorities(RulePriorities=[
        {"RuleArn": rules[0], "Priority": 2}, {"RuleArn": rules[1], "Priority": 1}])
    pages = elb.get_paginator("describe_rules").paginate(ListenerArn=listener, PaginationConfig={"PageSize": 1})
    assert [page["Rules"][0]["Priority"] for page in pages] == ["1", "2", "default"]
    interfaces = [{"Name": "description", "Values": ["ELB app/web/*"]}]
    assert len(ec2.describe_network_interfaces(Filters=interfaces)["NetworkInterfaces"]) == 2
    elb.delete_load_balancer(LoadBalancerArn=arn)
    wait(elb, "load_balancers_deleted", LoadBalancerArns=[arn])
    assert code(elb.describe_load_balancers, Names=["web"]) == "LoadBalancerNotFound"
    assert ec2.describe_network_interfaces(Filters=interfaces)["NetworkInterfaces"] == []
    elb.delete_target_group(TargetGroupArn=group)


def test_services_without_tasks_live_and_go(empty):
    clients = account(empty, 4)
    ecs, [_, _, subnets] = clients("ecs"), network(clients("ec2"))
    ecs.create_cluster(clusterName="main")
    container = {"name": "app", "image": "none:1", "privileged": False, "mountPoints": []}
    definition = {"family": "web", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
                  "containerDefinitions": [container]}
    assert code(ecs.register_task_definition, cpu="256", memory="4096", **definition) == "ClientException"
    ecs.register_task_definition(cpu="256", memory="512", **definition)
    awsvpc = {"awsvpcConfiguration": {"subnets": subnets}}
    service = {"cluster": "main", "serviceName": "web", "taskDefinition": "web", "desiredCount": 0,
               "launchType": "FARGATE", "networkConfiguration": awsvpc, "clientToken": "t"}
    arn = ecs.create_service(**service)["service"]["serviceArn"]
    assert ecs.create_service(**service)["service"]["serviceArn"] == arn
    assert code(ecs.create_service, **service | {"clientToken": "u"}) == "InvalidParameterException"
    shown = ecs.describe_services(cluster="main", services=["web", "none"])
    assert shown["failures"][0]["reason"] == "MISSING"
    assert shown["services"][0]["availabilityZoneRebalancing"] in ("ENABLED", "DISABLED")
    ecs.get_waiter("services_stable").wait(cluster="main", services=["web"])
    update = ecs.update_service(cluster="main", service="web", forceNewDeployment=True)["service"]
    number = update["deployments"][0]["id"].removeprefix("ecs-svc/")
    [newest, *_] = ecs.list_service_deployments(cluster="main", service="web")["serviceDeployments"]
    assert newest["targetServiceRevisionArn"].endswith("/" + number), "Terraform finds the deployment by it"
    assert code(ecs.list_tasks, cluster="main", serviceName="none") == "ServiceNotFoundException"
    assert code(ecs.delete_cluster, cluster="main") == "ClusterContainsServicesException"
    too_much = {"containerOverrides": [{"name": "app", "memory": 9999}]}
    assert code(ecs.run_task, cluster="main", taskDefinition="web", launchType="FARGATE",
                networkConfiguration=awsvpc, overrides=too_much) == "ClientException"
    ecs.delete_service(cluster="main", service="web")
    wait(ecs, "services_inactive", cluster="main", services=["web"])
    assert code(ecs.update_service, cluster="main", service="web", desiredCount=1) == "ServiceNotActiveException"
    assert ecs.list_services(cluster="main")["serviceArns"] == []
    assert ecs.delete_cluster(cluster="main")["cluster"]["status"] == "INACTIVE"


def test_roles_change_and_are_not_deleted_in_use(empty):
    iam = account(empty, 5)("iam")
    policy = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    assert iam.create_role(RoleName="app", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["RoleId"][:4] == "AROA"
    assert code(iam.create_role, RoleName="APP", AssumeRolePolicyDocument=json.dumps(TRUST)) == "EntityAlreadyExists"
    iam.update_role(RoleName="app", Description="the app", MaxSessionDuration=7200)
    iam.tag_role(RoleName="app", Tags=[{"Key": "a", "Value": "1"}])
    role = iam.get_role(RoleName="app")["Role"]
    assert (role["MaxSessionDuration"], role["Tags"]) == (7200, [{"Key": "a", "Value": "1"}])
    assert role["AssumeRolePolicyDocument"] == TRUST
    iam.attach_role_policy(RoleName="app", PolicyArn=policy)
    assert code(iam.delete_role, RoleName="app") == "DeleteConflict"
    iam.detach_role_policy(RoleName="app", PolicyArn=policy)
    iam.delete_role(RoleName="app")
    assert code(iam.get_role, RoleName="app") == "NoSuchEntity"


def test_log_events_are_taken_or_rejected_one_by_one(empty):
    logs = account(empty, 6)("logs")
    logs.create_log_group(logGroupName="/app")
    assert code(logs.create_log_group, logGroupName="/app") == "ResourceAlreadyExistsException"
    logs.create_log_stream(logGroupName="/app", logStreamName="s")
    now, day = int(time.time() * 1000), 24 * 3600 * 1000

    def put(*events):
        return logs.put_log_events(logGroupName="/app", logStreamName="s", logEvents=[
            {"timestamp": at, "message": text} for at, text in events])

    put((now - 1, "one"), (now, "two"))
    assert put((now, "three"), (now + day // 4, "late"))["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert put((now - 15 * day, "old"))["rejectedLogEventsInfo"]["tooOldLogEventEndIndex"] == 1
    with pytest.raises(logs.exceptions.InvalidParameterException):
        put((now, "b"), (now - 1, "a"))
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/app", PaginationConfig={"PageSize": 1})
    assert [event["message"] for page in pages for event in page["events"]] == ["one", "two", "three"]
    stream = {"logGroupName": "/app", "logStreamName": "s", "startFromHead": True}
    token = logs.get_log_events(**stream)["nextForwardToken"]
    assert logs.get_log_events(**stream, nextToken=token)["nextForwardToken"] == token, "clients stop by it"
    assert code(logs.put_retention_policy, logGroupName="/app", retentionInDays=8) == "InvalidParameterException"


def test_accounts_and_regions_do_not_see_each_other(empty):
    account(empty, 7)("ec2").create_vpc(CidrBlock="10.0.0.0/16")
    assert len(account(empty, 7)("ec2").describe_vpcs()["Vpcs"]) == 1
    assert account(empty, 7, "eu-west-1")("ec2").describe_vpcs()["Vpcs"] == []
    assert account(empty, 8)("ec2").describe_vpcs()["Vpcs"] == []
    assert account(empty, 7)("sts").get_caller_identity()["Arn"] == "arn:aws:iam::777777777777:root"
    assert code(account(empty, 7, "us-east-1a")("ec2").describe_vpcs) == "AuthFailure", "a zone is no region"


def test_of_equal_creations_at_once_one_wins(empty):
    clients = account(empty, 9)
    ec2, ecr, ecs = clients("ec2"), clients("ecr"), clients("ecs")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]

    def outcomes(call, **arguments):
        def outcome(_):
            try:
                call(**arguments)
            except botocore.exceptions.ClientError as error:
                return error.response["Error"]["Code"]
            return "made"
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            return sorted(pool.map(outcome, range(20)))

    subnets = outcomes(ec2.create_subnet, VpcId=vpc, CidrBlock="10.0.1.0/24")
    assert subnets == ["InvalidSubnet.Conflict"] * 19 + ["made"]
    repositories = outcomes(ecr.create_repository, repositoryName="web")
    assert repositories == ["RepositoryAlreadyExistsException"] * 19 + ["made"]
    assert outcomes(ecs.create_cluster, clusterName="main") == ["made"] * 20


def signed(engine, service, body, headers, path="/"):
    """The status of a signed request with any body."""
    request = botocore.awsrequest.AWSRequest("POST", f"http://localhost:{engine.port}{path}", headers, body)
    credentials = botocore.credentials.Credentials("test", "test")
    botocore.auth.SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=10)
    connection.request("POST", path, body, dict(request.headers) | {"Host": f"localhost:{engine.port}"})
    return connection.getresponse().status


def test_garbage_is_a_client_error_in_every_protocol(empty):
    noise = random.Random(1)
    bodies = [b"", b"null", b"{", b"[" * 5000, b'{"cluster":' * 400, b'{"cluster":{}}', b'{"desiredCount":1e400}', b"%",
              b"Action=%ff", b"Action=CreateVpc&Version=2016-11-15&Filter.1.Value.99999999999=1", b"\xff", b"\x9f" * 5000,
              b"\x5b" + b"\xff" * 8, b"&".join(b"a%d=1" % n for n in range(20000))]
    bodies += [noise.randbytes(length) for length in (16, 300, 4000)]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    cbor = {"Content-Type": "application/cbor", "Smithy-Protocol": "rpc-v2-cbor"}
    targets = {"ecs": "AmazonEC2ContainerServiceV20141113.CreateService", "logs": "Logs_20140328.PutLogEvents",
               "ecr": "AmazonEC2ContainerRegistry_V20150921.PutImage"}
    for body in bodies:
        for service in ("ec2", "iam", "elasticloadbalancing"):
            assert 400 <= signed(empty, service, body, form) < 500, (service, body[:60])
        for service, target in targets.items():
            json_ = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
            assert 400 <= signed(empty, service, body, json_) < 500, (service, body[:60])
        path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
        assert 400 <= signed(empty, "monitoring", body, cbor, path) < 500, body[:60]
    assert "panicked" not in (empty.home / "engine.log").read_text()


def behind(deployed):
    """Client, listener and target group of the deployed app's balancer."""
    elb = deployed.client("elbv2")
    balancer = elb.describe_load_balancers(Names=[APP])["LoadBalancers"][0]["LoadBalancerArn"]
    listener = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"]
    return elb, listener, elb.describe_target_groups(Names=[APP])["TargetGroups"][0]


def test_listener_rules_take_effect_on_the_running_balancer(deployed):
    elb, listener, group = behind(deployed)
    url = deployed.status_of_shared()["url"]

    def fixed(status, text):
        return [{"Type": "fixed-response", "FixedResponseConfig": {
            "StatusCode": status, "ContentType": "text/plain", "MessageBody": text}}]

    tea = [{"Field": "path-pattern", "Values": ["/tea*"]}]
    rule = elb.create_rule(ListenerArn=listener, Priority=1, Conditions=tea, Actions=fixed("418", "pot"))
    rule = rule["Rules"][0]["RuleArn"]
    wait_for(lambda: deployed.get(url, "/tea/1") == (418, "pot"), "the fixed response")
    assert deployed.get(url)[0] == 200
    elb.modify_rule(RuleArn=rule, Actions=[{"Type": "redirect", "RedirectConfig": {
        "StatusCode": "HTTP_302", "Path": "/headers"}}])
    host = url.split("//")[1].rstrip("/")

    def location():
        connection = http.client.HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]), timeout=10)
        connection.request("GET", "/tea/1?a=b", headers={"Host": host})
        return connection.getresponse().headers["Location"]

    wait_for(lambda: (location() or "").endswith("/headers?a=b"), "the redirect")
    empty_group = elb.create_target_group(
        Name="empty", Protocol="HTTP", Port=80, TargetType="ip", VpcId=group["VpcId"])["TargetGroups"][0]["TargetGroupArn"]
    weights = [{"TargetGroupArn": group["TargetGroupArn"], "Weight": 0}, {"TargetGroupArn": empty_group, "Weight": 1}]
    elb.modify_rule(RuleArn=rule, Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}])
    wait_for(lambda: deployed.get(url, "/tea/1")[0] == 503, "an empty group has no failover")
    elb.delete_rule(RuleArn=rule)
    elb.delete_target_group(TargetGroupArn=empty_group)
    wait_for(lambda: deployed.get(url, "/tea/1")[0] == 200, "the rule to be gone")


def test_a_single_task_runs_with_overrides_and_says_how_it_ended(deployed):
    ecs, logs = deployed.client("ecs"), deployed.client("logs")
    service = ecs.describe_services(cluster=APP, services=[APP])["services"][0]

    def run(definition, **override):
        [task] = ecs.run_task(
            cluster=APP, taskDefinition=definition, launchType="FARGATE", startedBy="test",
            networkConfiguration=service["networkConfiguration"],
            overrides={"containerOverrides": [{"name": "app", **override}]})["tasks"]
        wait(ecs, "tasks_stopped", cluster=APP, tasks=[task["taskArn"]])
        return ecs.describe_tasks(cluster=APP, tasks=[task["taskArn"]])["tasks"][0]

    task = run(service["taskDefinition"], command=["-e", "console.log('hi ' + process.env.WHO); process.exit(7)"],
               environment=[{"name": "WHO", "value": "you"}])
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited", "Essential container in task exited")
    assert task["containers"][0]["exitCode"] == 7
    stream = "app/app/" + task["taskArn"].rpartition("/")[2]
    events = wait_for(lambda: logs.get_log_events(logGroupName=f"/ecs/{APP}", logStreamName=stream)["events"], "the line")
    assert [event["message"] for event in events] == ["hi you"]
    greedy = "const kept = []; for (;;) kept.push(Buffer.alloc(1 << 25, 1));"
    task = run(service["taskDefinition"], command=["-e", greedy])
    container = task["containers"][0]
    assert (container["exitCode"], container["reason"]) == (137, "OutOfMemoryError: Container killed due to memory usage")

    known = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    [app] = known["containerDefinitions"]
    base = {"family": "broken", "networkMode": "awsvpc", "cpu": "256", "memory": "512",
            "executionRoleArn": known["executionRoleArn"]}
    options = app["logConfiguration"]["options"] | {"awslogs-group": "/none"}
    for change, reason in (
        ({"containerDefinitions": [app | {"logConfiguration": {"logDriver": "awslogs", "options": options}}]},
         "ResourceInitializationError: failed to validate logger args"),
        ({"containerDefinitions": [app], "executionRoleArn": "arn:aws:iam::000000000000:role/none"},
         "ResourceInitializationError: ECS was unable to assume the role"),
    ):
        definition = ecs.register_task_definition(**base | change)["taskDefinition"]["taskDefinitionArn"]
        task = run(definition)
        assert task["stopCode"] == "TaskFailedToStart" and task["stoppedReason"].startswith(reason), task["stoppedReason"]
        assert task["attachments"][0]["status"] == "DELETED"


def test_a_rolling_update_and_a_scale_in_tell_it_as_aws_does(deployed):
    ecs = deployed.client("ecs")
    url = deployed.status_of_shared()["url"]

    def service():
        return ecs.describe_services(cluster=APP, services=[APP])["services"][0]

    def tasks():
        arns = ecs.list_tasks(cluster=APP, serviceName=APP)["taskArns"]
        return ecs.describe_tasks(cluster=APP, tasks=arns)["tasks"]

    def steady(count):
        shown = service()
        return shown["runningCount"] == count and [it["rolloutState"] for it in shown["deployments"]] == ["COMPLETED"]

    old, before = tasks(), {event["id"] for event in service()["events"]}
    started = ecs.update_service(cluster=APP, service=APP, forceNewDeployment=True)["service"]["deployments"]
    assert [(it["status"], it["rolloutState"]) for it in started] == [("PRIMARY", "IN_PROGRESS"), ("ACTIVE", "COMPLETED")]
    wait_for(lambda: deployed.get(url)[0] == 200 and steady(2), "the new deployment")
    messages = [event["message"] for event in reversed(service()["events"]) if event["id"] not in before]
    order = ["has started", "registered", "has stopped", "deregistered", "has begun draining", "deployment completed",
             "has reached a steady state"]
    places = [next(n for n, message in enumerate(messages) if part in message) for part in order]
    assert places == sorted(places), messages
    [replaced, _] = ecs.describe_tasks(cluster=APP, tasks=[task["taskArn"] for task in old])["tasks"]
    assert replaced["stopCode"] == "ServiceSchedulerInitiated"
    assert replaced["stoppedReason"].startswith("Scaling activity initiated by (deployment ecs-svc/")

    deployment = service()["deployments"][0]["id"]
    ecs.update_service(cluster=APP, service=APP, desiredCount=4)
    wait_for(lambda: steady(4), "four tasks")
    zones = sorted(task["availabilityZone"] for task in tasks())
    assert zones == ["us-east-1a", "us-east-1a", "us-east-1b", "us-east-1b"]
    ecs.update_service(cluster=APP, service=APP, desiredCount=2)
    wait_for(lambda: steady(2), "two tasks")
    assert sorted(task["availabilityZone"] for task in tasks()) == ["us-east-1a", "us-east-1b"]
    assert service()["deployments"][0]["id"] == deployment, "a desired count starts no deployment"
