"""Application Auto Scaling: its API as clients use it, and a service that really grows and shrinks with its load."""

import datetime

import botocore.exceptions
import pytest

from engine import SERVER, Engine, node_app, wait_for
from terraform import Terraform, missing

DIMENSION = "ecs:service:DesiredCount"

# Burns nearly all of a quarter of a core while it is told to, in a thread beside the one that answers.
BURNING = SERVER.replace("  if (url.pathname", """\
  if (url.pathname === "/burn") {
    burn(url.searchParams.get("on") === "yes");
    response.end(JSON.stringify({ host: require("node:os").hostname(), burning: worker !== null }));
  } else if (url.pathname""", 1).replace("let healthy", """\
const { Worker } = require("node:worker_threads");
let worker = null;
function burn(on) {
  if (on && !worker) {
    worker = new Worker(`setInterval(() => {
      const before = process.cpuUsage();
      while (process.cpuUsage(before).user < 22000);
    }, 100)`, { eval: true });
  } else if (!on && worker) {
    worker.terminate();
    worker = null;
  }
}
let healthy""", 1)


class Scaling:
    """The API for one service."""

    def __init__(self, engine, cluster, service):
        self.client = engine.client("application-autoscaling")
        self.ecs, self.cluster, self.service = engine.client("ecs"), cluster, service
        self.resource = f"service/{cluster}/{service}"
        self.of = {"ServiceNamespace": "ecs", "ResourceId": self.resource}
        self.at = self.of | {"ScalableDimension": DIMENSION}

    def register(self, **settings):
        return self.client.register_scalable_target(**self.at, **settings)["ScalableTargetARN"]

    def step(self, name, amount, cooldown):
        bound = "MetricIntervalLowerBound" if amount > 0 else "MetricIntervalUpperBound"
        return self.client.put_scaling_policy(
            PolicyName=name, PolicyType="StepScaling", **self.at,
            StepScalingPolicyConfiguration={"AdjustmentType": "ChangeInCapacity", "Cooldown": cooldown,
                                            "StepAdjustments": [{bound: 0, "ScalingAdjustment": amount}]})["PolicyARN"]

    def track(self, name, target, **settings):
        return self.client.put_scaling_policy(
            PolicyName=name, PolicyType="TargetTrackingScaling", **self.at,
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": target,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
                **settings})

    def policies(self):
        pages = self.client.get_paginator("describe_scaling_policies").paginate(**self.of)
        return {policy["PolicyName"]: policy for page in pages for policy in page["ScalingPolicies"]}

    def activities(self, **settings):
        return self.client.describe_scaling_activities(**self.of, **settings)["ScalingActivities"]

    def counts(self):
        [service] = self.ecs.describe_services(cluster=self.cluster, services=[self.service])["services"]
        return service["desiredCount"], service["runningCount"]

    def wait_for(self, count, timeout=120):
        wait_for(lambda: self.counts() == (count, count), f"{count} tasks", timeout)


@pytest.fixture
def idle(engine):
    """A service that runs nothing: what the API asks for is there, and nothing has to start."""
    ec2, ecs = engine.client("ec2"), engine.client("ecs")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    ecs.create_cluster(clusterName="main")
    ecs.register_task_definition(
        family="web", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        containerDefinitions=[{"name": "web", "image": "public.ecr.aws/nothing/at-all:latest"}])
    ecs.create_service(cluster="main", serviceName="web", taskDefinition="web", desiredCount=0, launchType="FARGATE",
                       networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}})
    return Scaling(engine, "main", "web")


def test_targets_policies_and_actions_live_and_go(engine, idle):
    client = idle.client
    arn = idle.register(MinCapacity=0, MaxCapacity=4, Tags={"env": "test"})
    assert idle.register(MaxCapacity=5, SuspendedState={"DynamicScalingInSuspended": True}) == arn
    pages = client.get_paginator("describe_scalable_targets").paginate(ServiceNamespace="ecs")
    [target] = [target for page in pages for target in page["ScalableTargets"]]
    assert (target["MinCapacity"], target["MaxCapacity"], target["ScalableTargetARN"]) == (0, 5, arn)
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_ECSService")
    assert target["SuspendedState"] == {"DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": False,
                                        "ScheduledScalingSuspended": False}
    client.tag_resource(ResourceARN=arn, Tags={"team": "web"})
    client.untag_resource(ResourceARN=arn, TagKeys=["env"])
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"team": "web"}

    made = idle.track("cpu", 70.0)
    names = [alarm["AlarmName"] for alarm in made["Alarms"]]
    high, low = engine.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert high["AlarmName"].startswith(f"TargetTracking-{idle.resource}-AlarmHigh-")
    assert (high["Threshold"], high["Period"], high["EvaluationPeriods"]) == (70.0, 60, 3)
    assert (low["Threshold"], low["Period"], low["EvaluationPeriods"]) == (63.0, 60, 15)
    assert high["AlarmActions"] == [made["PolicyARN"]] and high["StateValue"] == "INSUFFICIENT_DATA"
    idle.step("out", 1, 60)
    assert set(idle.policies()) == {"cpu", "out"}
    assert "MetricAggregationType" not in idle.policies()["out"]["StepScalingPolicyConfiguration"], "as it was put"
    client.delete_scaling_policy(PolicyName="out", **idle.at)

    client.put_scheduled_action(ScheduledActionName="night", Schedule="cron(0 22 * * ? *)", Timezone="Europe/Berlin",
                                ScalableTargetAction={"MaxCapacity": 1}, **idle.at)
    [action] = client.get_paginator("describe_scheduled_actions").paginate(**idle.of).build_full_result()["ScheduledActions"]
    assert action["Timezone"] == "Europe/Berlin" and action["ScalableTargetAction"] == {"MaxCapacity": 1}

    client.deregister_scalable_target(**idle.at)
    assert client.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"] == []
    assert idle.policies() == {}
    assert client.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"] == []
    assert engine.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_errors_are_those_of_aws(idle):
    client = idle.client
    idle.register(MinCapacity=0, MaxCapacity=4)
    idle.track("cpu", 70.0)
    other = idle.at | {"ResourceId": "service/main/other"}
    table = {"ServiceNamespace": "dynamodb", "ResourceId": "table/a", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
    tracking = {"TargetValue": 50.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageMemoryUtilization"}}
    action = {"ScheduledActionName": "a", "ScalableTargetAction": {"MinCapacity": 1}}
    target_arn = "arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/0"
    put, act = client.put_scaling_policy, client.put_scheduled_action
    for expected, call, arguments in [
        ("ValidationException", client.register_scalable_target, other | {"MinCapacity": 0, "MaxCapacity": 1}),
        ("ValidationException", client.register_scalable_target, table | {"MinCapacity": 0, "MaxCapacity": 1}),
        ("ValidationException", client.register_scalable_target, idle.at | {"MinCapacity": 5}),
        ("ValidationException", client.register_scalable_target, idle.at | {"MinCapacity": -1}),
        ("ValidationException", client.describe_scalable_targets, {"ServiceNamespace": "nothing"}),
        ("InvalidNextTokenException", client.describe_scalable_targets, {"ServiceNamespace": "ecs", "NextToken": "%"}),
        ("ObjectNotFoundException", client.deregister_scalable_target, other),
        ("ObjectNotFoundException", put, other | {"PolicyName": "x", "PolicyType": "TargetTrackingScaling",
                                                  "TargetTrackingScalingPolicyConfiguration": tracking}),
        ("ValidationException", put, idle.at | {"PolicyName": "x"}),
        ("ValidationException", put, idle.at | {"PolicyName": "x", "PolicyType": "StepScaling"}),
        ("ValidationException", put, idle.at | {
            "PolicyName": "x", "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": tracking | {"TargetValue": 0.0}}),
        ("ValidationException", put, idle.at | {
            "PolicyName": "x", "PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 100.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"}}}),
        ("UnsupportedOperation", put, idle.at | {"PolicyName": "x", "PolicyType": "PredictiveScaling"}),
        ("ObjectNotFoundException", client.delete_scaling_policy, idle.at | {"PolicyName": "x"}),
        ("ValidationException", act, idle.at | action | {"Schedule": "every day"}),
        ("ValidationException", act, idle.at | action | {"Schedule": "rate(1 hour)", "Timezone": "Mars"}),
        ("ObjectNotFoundException", act, other | action | {"Schedule": "rate(1 hour)"}),
        ("ObjectNotFoundException", client.delete_scheduled_action, idle.at | {"ScheduledActionName": "x"}),
        ("ResourceNotFoundException", client.list_tags_for_resource, {"ResourceARN": target_arn}),
        ("ResourceNotFoundException", client.tag_resource, {"ResourceARN": target_arn, "Tags": {}}),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call(**arguments)
        error = caught.value.response["Error"]
        assert error["Code"] == expected, f"{call.__name__} {arguments}: {error}"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.register_scalable_target(**other, MinCapacity=0, MaxCapacity=1)
    assert caught.value.response["Error"]["Message"] == "ECS service doesn't exist: service/main/other"


def burn(engine, url, on, tasks=2):
    """Tells `tasks` of the app's tasks to burn, or all not to."""
    told = set()

    def tell():
        _, body = engine.get(url, f"/burn?on={'yes' if on else 'no'}")
        told.add(body)
        return len(told) >= tasks
    wait_for(tell, f"{tasks} tasks to be told")


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    """An app of two tasks on an engine whose minutes take two seconds."""
    app = node_app(tmp_path_factory.mktemp("apps") / "spiky", server=BURNING)
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start", "--time-scale", "30")
        engine.up(app)
        status = engine.status(app)
        engine.app_url = status["url"]
        yield engine, Scaling(engine, status["service"]["cluster"], status["service"]["name"])


def test_a_service_grows_and_shrinks_by_steps_and_by_tracking(hurried):
    """The reference policy both ways: a task more above 70 % CPU for two minutes, one less below 50 % for five; and
    tracking of 70 %."""
    engine, scaling = hurried
    cloudwatch = engine.client("cloudwatch")
    scaling.register(MinCapacity=2, MaxCapacity=10)
    out, back = scaling.step("out", 1, 60), scaling.step("in", -1, 300)
    of_service = [{"Name": "ClusterName", "Value": scaling.cluster}, {"Name": "ServiceName", "Value": scaling.service}]
    for name, comparison, threshold, minutes, action in [("high", "GreaterThanThreshold", 70, 2, out),
                                                         ("low", "LessThanThreshold", 50, 5, back)]:
        cloudwatch.put_metric_alarm(
            AlarmName=name, Namespace="AWS/ECS", MetricName="CPUUtilization", Dimensions=of_service, Statistic="Average",
            Period=60, EvaluationPeriods=minutes, Threshold=threshold, ComparisonOperator=comparison,
            AlarmActions=[action])
    burn(engine, engine.app_url, True)
    scaling.wait_for(3)
    first = scaling.activities()[-1]
    assert first["Cause"] == "monitor alarm high in state ALARM triggered policy out"
    assert first["Description"] == "Setting desired count to 3."
    wait_for(lambda: scaling.activities()[-1]["StatusCode"] == "Successful", "the activity to end")
    assert scaling.activities()[-1]["StatusMessage"] == \
        "Successfully set desired count to 3. Change successfully fulfilled by ecs."
    history = cloudwatch.describe_alarm_history(AlarmName="high", HistoryItemType="Action")["AlarmHistoryItems"]
    assert any(item["HistorySummary"].startswith("Successfully executed action") for item in history)
    burn(engine, engine.app_url, False, tasks=scaling.counts()[0])
    scaling.wait_for(2)
    assert scaling.activities()[0]["Cause"] == "monitor alarm low in state ALARM triggered policy in"
    wait_for(lambda: [a["StatusCode"] for a in scaling.activities()[:1]] == ["Successful"], "the activity to end")
    not_scaled = wait_for(lambda: [activity for activity in scaling.activities(IncludeNotScaledActivities=True)
                                   if "NotScaledReasons" in activity], "an attempt at the minimum")
    assert not_scaled[0]["NotScaledReasons"] == [{"Code": "AlreadyAtMinCapacity", "MinCapacity": 2}]

    for name in ["out", "in"]:
        scaling.client.delete_scaling_policy(PolicyName=name, **scaling.at)
    cloudwatch.delete_alarms(AlarmNames=["high", "low"])
    high, low = scaling.track("cpu70", 70.0, ScaleOutCooldown=60, ScaleInCooldown=60)["Alarms"]
    burn(engine, engine.app_url, True)
    scaling.wait_for(3)
    assert scaling.activities()[0]["Cause"] == \
        f"monitor alarm {high['AlarmName']} in state ALARM triggered policy cpu70"
    burn(engine, engine.app_url, False, tasks=3)
    scaling.wait_for(2, timeout=180)
    assert scaling.activities()[0]["Cause"] == f"monitor alarm {low['AlarmName']} in state ALARM triggered policy cpu70"
    scaling.client.deregister_scalable_target(**scaling.at)


def test_a_scheduled_action_scales_when_its_time_has_come(hurried):
    _, scaling = hurried
    scaling.register(MinCapacity=2, MaxCapacity=10)
    [target] = scaling.client.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    soon = target["CreationTime"].astimezone(datetime.UTC) + datetime.timedelta(minutes=3)
    scaling.client.put_scheduled_action(ScheduledActionName="more", Schedule=f"at({soon:%Y-%m-%dT%H:%M:%S})",
                                        ScalableTargetAction={"MinCapacity": 3}, **scaling.at)
    scaling.wait_for(3)
    done, range_set = scaling.activities()[:2]
    assert done["Cause"] == "minimum capacity was set to 3"
    assert range_set["Cause"] == "scheduled action name more was triggered"
    assert range_set["StatusMessage"] == "Successfully set min capacity to 3"
    scaling.client.deregister_scalable_target(**scaling.at)


def test_requests_per_target_are_tracked(hurried):
    """Twenty requests a minute for each of two targets are wanted; many more make a third task."""
    engine, scaling = hurried
    engine.client("ecs").update_service(cluster=scaling.cluster, service=scaling.service, desiredCount=2)
    scaling.wait_for(2)
    scaling.register(MinCapacity=2, MaxCapacity=3)
    elbv2 = engine.client("elbv2")
    [balancer] = elbv2.describe_load_balancers()["LoadBalancers"]
    [group] = elbv2.describe_target_groups()["TargetGroups"]
    label = balancer["LoadBalancerArn"].partition("loadbalancer/")[2] + "/" + group["TargetGroupArn"].rpartition(":")[2]
    scaling.track("requests", 20.0, PredefinedMetricSpecification={
        "PredefinedMetricType": "ALBRequestCountPerTarget", "ResourceLabel": label})

    def grown():
        for _ in range(20):
            assert engine.get(engine.app_url)[0] == 200
        return scaling.counts()[0] == 3
    wait_for(grown, "a third task", 120)
    scaling.client.deregister_scalable_target(**scaling.at)


CONFIGURATION = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region = "us-east-1"
  default_tags { tags = { owner = "tests" } }
}

resource "aws_vpc" "main" {
  cidr_block = "10.9.0.0/16"
}

resource "aws_subnet" "main" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.9.0.0/24"
}

resource "aws_ecs_cluster" "main" {
  name = "main"
}

resource "aws_ecs_task_definition" "web" {
  family                   = "web"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = jsonencode([{ name = "web", image = "public.ecr.aws/nothing/at-all:latest" }])
}

resource "aws_ecs_service" "web" {
  name            = "web"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.web.arn
  desired_count   = 0
  launch_type     = "FARGATE"
  network_configuration { subnets = [aws_subnet.main.id] }
}

resource "aws_appautoscaling_target" "web" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.main.name}/${aws_ecs_service.web.name}"
  min_capacity       = 0
  max_capacity       = var.maximum
  suspended_state { dynamic_scaling_in_suspended = true }
  tags = { env = "test" }
}

variable "maximum" {
  default = 10
}

locals {
  target = {
    service_namespace  = aws_appautoscaling_target.web.service_namespace
    scalable_dimension = aws_appautoscaling_target.web.scalable_dimension
    resource_id        = aws_appautoscaling_target.web.resource_id
  }
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id
  target_tracking_scaling_policy_configuration {
    target_value = 70
    predefined_metric_specification { predefined_metric_type = "ECSServiceAverageCPUUtilization" }
  }
}

resource "aws_appautoscaling_policy" "backlog" {
  name               = "backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id
  target_tracking_scaling_policy_configuration {
    target_value     = 100
    disable_scale_in = true
    customized_metric_specification {
      metrics {
        id          = "e1"
        label       = "Backlog per task"
        expression  = "m1 / m2"
        return_data = true
      }
      dynamic "metrics" {
        for_each = { m1 = "Visible", m2 = "Running" }
        content {
          id = metrics.key
          metric_stat {
            stat = "Sum"
            metric {
              namespace   = "app"
              metric_name = metrics.value
            }
          }
          return_data = false
        }
      }
    }
  }
}

resource "aws_appautoscaling_policy" "out" {
  name               = "out"
  policy_type        = "StepScaling"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id
  step_scaling_policy_configuration {
    adjustment_type          = "PercentChangeInCapacity"
    min_adjustment_magnitude = 1
    cooldown                 = 60
    step_adjustment {
      metric_interval_lower_bound = 0
      metric_interval_upper_bound = 10
      scaling_adjustment          = 10
    }
    step_adjustment {
      metric_interval_lower_bound = 10
      scaling_adjustment          = 30
    }
  }
}

resource "aws_appautoscaling_scheduled_action" "night" {
  name               = "night"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id
  schedule           = "cron(0 22 * * ? *)"
  timezone           = "Europe/Berlin"
  scalable_target_action {
    min_capacity = 0
    max_capacity = 1
  }
}
"""


@pytest.mark.skipif(missing() is not None, reason=f"NO TERRAFORM HERE: {missing()}")
def test_terraform_has_no_drift(engine, tmp_path):
    (tmp_path / "main.tf").write_text(CONFIGURATION)
    terraform = Terraform(tmp_path, engine)
    terraform.apply()
    terraform.assert_no_drift()
    terraform.apply(maximum=8)
    terraform.assert_no_drift(maximum=8)
    terraform.destroy(maximum=8)
    assert engine.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"] == []
    assert engine.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
