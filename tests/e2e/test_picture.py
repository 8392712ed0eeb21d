"""The aws CLI and boto3 show the same picture as `pileus status`."""

import datetime

from engine import wait_for

APP = "shared"




def test_the_network_is_that_of_the_architecture(deployed):
    vpcs = deployed.aws("ec2", "describe-vpcs")["Vpcs"]
    assert [vpc["CidrBlock"] for vpc in vpcs] == ["10.0.0.0/16"]
    subnets = deployed.aws("ec2", "describe-subnets")["Subnets"]
    assert {(subnet["CidrBlock"], subnet["AvailabilityZone"]) for subnet in subnets} == {
        ("10.0.1.0/24", "us-east-1a"), ("10.0.2.0/24", "us-east-1b"),
        ("10.0.10.0/24", "us-east-1a"), ("10.0.11.0/24", "us-east-1b")}
    gateways = deployed.aws("ec2", "describe-nat-gateways")["NatGateways"]
    assert [gateway["State"] for gateway in gateways] == ["available", "available"]
    tables = deployed.aws("ec2", "describe-route-tables")["RouteTables"]
    targets = {route.get("GatewayId") or route.get("NatGatewayId")
               for table in tables for route in table["Routes"] if route["DestinationCidrBlock"] == "0.0.0.0/0"}
    assert len(targets) == 3, "one internet gateway, two NAT gateways"
    groups = {group["GroupName"]: group for group in deployed.aws("ec2", "describe-security-groups")["SecurityGroups"]}
    [rule] = groups["shared-alb"]["IpPermissions"]
    assert (rule["FromPort"], rule["IpRanges"]) == (80, [{"CidrIp": "0.0.0.0/0"}])
    [rule] = groups["shared-tasks"]["IpPermissions"]
    assert rule["FromPort"] == 3000 and rule["IpRanges"] == []
    assert rule["UserIdGroupPairs"][0]["GroupId"] == groups["shared-alb"]["GroupId"]


def test_interfaces_targets_and_tasks_agree(deployed):
    ecs, elb, ec2 = (deployed.client(service) for service in ("ecs", "elbv2", "ec2"))
    service = ecs.describe_services(cluster=APP, services=[APP])["services"][0]
    assert (service["runningCount"], service["deployments"][0]["rolloutState"]) == (2, "COMPLETED")
    arns = ecs.list_tasks(cluster=APP)["taskArns"]
    tasks = ecs.describe_tasks(cluster=APP, tasks=arns)["tasks"]
    addresses = {task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] for task in tasks}
    assert all(task["lastStatus"] == "RUNNING" and (task["cpu"], task["memory"]) == ("256", "512") for task in tasks)
    [group] = elb.describe_target_groups()["TargetGroups"]
    health = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    assert {target["Target"]["Id"] for target in health} == addresses
    assert all(target["TargetHealth"] == {"State": "healthy"} for target in health), "healthy has no reason"
    pages = ec2.get_paginator("describe_network_interfaces").paginate()
    interfaces = [interface for page in pages for interface in page["NetworkInterfaces"]]
    assert addresses < {interface["PrivateIpAddress"] for interface in interfaces}
    [balancer] = elb.describe_load_balancers()["LoadBalancers"]
    assert balancer["State"]["Code"] == "active"
    description = "ELB " + balancer["LoadBalancerArn"].split(":loadbalancer/")[1]
    assert len([interface for interface in interfaces if interface["Description"] == description]) == 2
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    assert definition["requiresCompatibilities"] == ["FARGATE"]


def test_waiters_of_boto3_are_content(deployed):
    deployed.client("ecs").get_waiter("services_stable").wait(cluster=APP, services=[APP])
    elb = deployed.client("elbv2")
    elb.get_waiter("load_balancer_available").wait(Names=[APP])
    group = elb.describe_target_groups(Names=[APP])["TargetGroups"][0]["TargetGroupArn"]
    elb.get_waiter("target_in_service").wait(TargetGroupArn=group)
    deployed.client("ec2").get_waiter("nat_gateway_available").wait()


def test_images_carry_tags_and_sizes(deployed):
    images = deployed.aws("ecr", "describe-images", "--repository-name", APP)["imageDetails"]
    assert any("latest" in image["imageTags"] and image["imageSizeInBytes"] > 1_000_000 for image in images)


def test_logs_are_in_cloudwatch_logs(deployed):
    tail = deployed.aws("logs", "filter-log-events", "--log-group-name", f"/ecs/{APP}", "--filter-pattern", "listening")
    assert len(tail["events"]) == 2
    stream = tail["events"][0]["logStreamName"]
    assert stream.startswith("app/app/"), "prefix/container/task"
    group = deployed.aws("logs", "describe-log-groups")["logGroups"][0]
    assert group["retentionInDays"] == 30


def test_metrics_are_measured(deployed):
    status = deployed.status_of_shared()
    for _ in range(20):
        assert deployed.get(status["url"])[0] == 200
    cloudwatch = deployed.client("cloudwatch")
    [balancer] = deployed.client("elbv2").describe_load_balancers()["LoadBalancers"]
    dimension = {"Name": "LoadBalancer", "Value": balancer["LoadBalancerArn"].split(":loadbalancer/")[1]}
    service = [{"Name": "ClusterName", "Value": APP}, {"Name": "ServiceName", "Value": APP}]

    def query(namespace, metric, statistic, dimensions):
        stat = {"Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions},
                "Period": 60, "Stat": statistic}
        now = datetime.datetime.now(datetime.UTC)
        data = cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "q", "MetricStat": stat}],
            StartTime=now - datetime.timedelta(minutes=10), EndTime=now + datetime.timedelta(minutes=1))
        return data["MetricDataResults"][0]["Values"]

    requests = wait_for(lambda: sum(query("AWS/ApplicationELB", "RequestCount", "Sum", [dimension])), "requests")
    assert requests >= 20
    assert sum(query("AWS/ApplicationELB", "HTTPCode_Target_2XX_Count", "Sum", [dimension])) >= 20
    assert 0 < query("AWS/ApplicationELB", "TargetResponseTime", "p99", [dimension])[0] < 10
    for metric in ("CPUUtilization", "MemoryUtilization"):
        values = wait_for(lambda metric=metric: query("AWS/ECS", metric, "Average", service), metric, timeout=150)
        assert 0 < values[0] < 100, (metric, values)
