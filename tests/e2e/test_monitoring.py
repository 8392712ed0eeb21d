"""CloudWatch, Logs and SNS as their clients use them: metrics, math, alarms and what they do, filters, topics.

The engine's clock runs sixty times as fast as the wall, so that a minute's period ends each second.
"""

import datetime
import http.server
import json
import pathlib
import shutil
import threading
import urllib.request

import pytest
from botocore.exceptions import ClientError

from engine import Engine, wait_for
from terraform import Terraform, missing

SCALE = 60


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start", "--time-scale", SCALE)
        yield engine


@pytest.fixture
def cloudwatch(hurried):
    return hurried.client("cloudwatch")


@pytest.fixture
def logs(hurried):
    return hurried.client("logs")


@pytest.fixture
def sns(hurried):
    return hurried.client("sns")


def engine_now(engine):
    with urllib.request.urlopen(f"http://localhost:{engine.port}/_pileus/health") as response:
        return datetime.datetime.fromisoformat(json.load(response)["now"])


def code_of(call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"]


def alarm(name, **changes):
    return {
        "AlarmName": name, "Namespace": "Test", "MetricName": name, "Statistic": "Average", "Period": 60,
        "EvaluationPeriods": 2, "Threshold": 70, "ComparisonOperator": "GreaterThanThreshold",
    } | changes


def state(cloudwatch, name):
    alarms = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    return (alarms["MetricAlarms"] + alarms["CompositeAlarms"])[0]


class Feed:
    """Puts a value every few hundred milliseconds of the wall, so that no minute is without one."""

    def __init__(self, cloudwatch, name, value):
        self.cloudwatch, self.name, self.value, self.end = cloudwatch, name, value, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.end.wait(0.2):
            data = [{"MetricName": self.name, "Value": self.value, "Unit": "Percent"}]
            self.cloudwatch.put_metric_data(Namespace="Test", MetricData=data)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


def test_an_alarm_goes_off_and_ends(cloudwatch):
    cloudwatch.put_metric_alarm(**alarm("cpu", TreatMissingData="missing", Tags=[{"Key": "team", "Value": "web"}]))
    cloudwatch.get_waiter("alarm_exists").wait(AlarmNames=["cpu"])
    assert state(cloudwatch, "cpu")["StateValue"] == "INSUFFICIENT_DATA"
    with Feed(cloudwatch, "cpu", 90) as feed:
        wait_for(lambda: state(cloudwatch, "cpu")["StateValue"] == "ALARM", "ALARM")
        reason = state(cloudwatch, "cpu")["StateReason"]
        assert reason.startswith("Threshold Crossed: 2 out of the last 2 datapoints [90.0 ("), reason
        assert json.loads(state(cloudwatch, "cpu")["StateReasonData"])["recentDatapoints"] == [90.0, 90.0]
        feed.value = 10
        wait_for(lambda: state(cloudwatch, "cpu")["StateValue"] == "OK", "OK")
    wait_for(lambda: state(cloudwatch, "cpu")["StateValue"] == "INSUFFICIENT_DATA", "INSUFFICIENT_DATA")
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
        AlarmName="cpu", HistoryItemType="StateUpdate", ScanBy="TimestampAscending", PaginationConfig={"PageSize": 1})
    summaries = [item["HistorySummary"] for page in pages for item in page["AlarmHistoryItems"]]
    assert summaries == ["Alarm updated from INSUFFICIENT_DATA to ALARM", "Alarm updated from ALARM to OK",
                         "Alarm updated from OK to INSUFFICIENT_DATA"]
    arn = state(cloudwatch, "cpu")["AlarmArn"]
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "team", "Value": "web"}]
    cloudwatch.delete_alarms(AlarmNames=["cpu"])
    assert cloudwatch.describe_alarms(AlarmNames=["cpu"])["MetricAlarms"] == []


def test_composite_and_math_alarms(cloudwatch):
    stat = {"Metric": {"Namespace": "Test", "MetricName": "half"}, "Period": 60, "Stat": "Maximum"}
    queries = [{"Id": "m", "MetricStat": stat, "ReturnData": False}, {"Id": "double", "Expression": "m * 2"}]
    cloudwatch.put_metric_alarm(AlarmName="math", Metrics=queries, EvaluationPeriods=1, Threshold=100,
                                ComparisonOperator="GreaterThanOrEqualToThreshold", TreatMissingData="notBreaching")
    cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule='ALARM("math") AND NOT FALSE')
    cloudwatch.get_waiter("composite_alarm_exists").wait(AlarmNames=["both"], AlarmTypes=["CompositeAlarm"])
    with Feed(cloudwatch, "half", 50):
        wait_for(lambda: state(cloudwatch, "both")["StateValue"] == "ALARM", "the composite alarm")
    wait_for(lambda: state(cloudwatch, "both")["StateValue"] == "OK", "the composite alarm's end")
    assert code_of(cloudwatch.put_composite_alarm, AlarmName="x", AlarmRule="ALARM(gone)") == "ValidationError"
    search = [{"Id": "e", "Expression": "SEARCH('x', 'Sum', 60)"}]
    refused = code_of(cloudwatch.put_metric_alarm, AlarmName="x", Metrics=search, EvaluationPeriods=1, Threshold=1,
                      ComparisonOperator="GreaterThanThreshold")
    assert refused == "UnsupportedOperation"


def test_errors_of_alarms(cloudwatch):
    assert code_of(cloudwatch.put_metric_alarm, **alarm("x", Period=45)) == "ValidationError"
    reboot = "arn:aws:automate:us-east-1:ec2:reboot"
    assert code_of(cloudwatch.put_metric_alarm, **alarm("x", AlarmActions=[reboot])) == "UnsupportedOperation"
    with pytest.raises(cloudwatch.exceptions.ResourceNotFound):
        cloudwatch.set_alarm_state(AlarmName="gone", StateValue="OK", StateReason="x")
    with pytest.raises(cloudwatch.exceptions.InvalidNextToken):
        cloudwatch.describe_alarms(NextToken="%")
    assert code_of(cloudwatch.get_metric_widget_image, MetricWidget="{}") == "UnsupportedOperation"


def test_metrics_and_math(cloudwatch, hurried):
    now = engine_now(hurried).replace(second=0, microsecond=0)
    start = now - datetime.timedelta(minutes=10)
    minute = lambda n: start + datetime.timedelta(minutes=n)
    dimensions = [{"Name": "Queue", "Value": "a"}]
    base = {"MetricName": "Depth", "Dimensions": dimensions, "Unit": "Count"}
    cloudwatch.put_metric_data(Namespace="App", MetricData=[
        base | {"Timestamp": minute(0), "Values": [1.0, 2.0, 3.0], "Counts": [50, 45, 5]},
        base | {"Timestamp": minute(1), "Value": 10.0},
        base | {"Timestamp": minute(3), "StatisticValues": {"SampleCount": 2, "Sum": 30, "Minimum": 10, "Maximum": 20}},
    ])
    cloudwatch.put_metric_data(Namespace="App", MetricData=[base | {"Timestamp": minute(1), "Value": 5, "Unit": "Bytes"}])
    metric = {"Namespace": "App", "MetricName": "Depth", "Dimensions": dimensions}
    query = lambda stat: {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat, "Unit": "Count"}}

    def values(*queries, **options):
        paginator = cloudwatch.get_paginator("get_metric_data")
        pages = paginator.paginate(MetricDataQueries=list(queries), StartTime=start, EndTime=minute(5),
                                   ScanBy="TimestampAscending", **options)
        found = {}
        for page in pages:
            for result in page["MetricDataResults"]:
                found.setdefault(result["Id"], []).extend(result["Values"])
        return found

    assert values(query("Sum"), MaxDatapoints=1) == {"m1": [155.0, 10.0, 30.0]}
    assert values(query("p95")) == {"m1": [2.0, 10.0]}
    assert values(query("TM(:2)")) == {"m1": [140 / 95]}
    hidden = query("Sum") | {"ReturnData": False}
    fill = {"Id": "e1", "Expression": "FILL(m1, 0) / 5"}
    rate = {"Id": "e2", "Expression": "IF(m1 > 20, m1, RATE(METRICS()))"}
    assert values(hidden, fill) == {"e1": [31.0, 2.0, 0.0, 6.0, 0.0]}
    assert code_of(cloudwatch.get_metric_data, MetricDataQueries=[hidden, rate], StartTime=start, EndTime=minute(5)) \
        == "ValidationError"
    statistics = cloudwatch.get_metric_statistics(**metric, StartTime=start, EndTime=minute(5), Period=300,
                                                  Statistics=["Sum", "SampleCount"], Unit="Count")
    totals = [(point["Sum"], point["SampleCount"]) for point in statistics["Datapoints"]]
    assert tuple(map(sum, zip(*totals))) == (195.0, 103.0), "in one period or two"
    listed = cloudwatch.get_paginator("list_metrics").paginate(Namespace="App", RecentlyActive="PT3H")
    assert [metric["MetricName"] for page in listed for metric in page["Metrics"]] == ["Depth"]


def test_dashboards(cloudwatch):
    widget = {"type": "text", "x": 0, "y": 0, "width": 6, "height": 6, "properties": {"markdown": "# Hello"}}
    body = json.dumps({"widgets": [widget]})
    assert cloudwatch.put_dashboard(DashboardName="web", DashboardBody=body)["DashboardValidationMessages"] == []
    assert cloudwatch.get_dashboard(DashboardName="web")["DashboardBody"] == body
    assert code_of(cloudwatch.put_dashboard, DashboardName="bad", DashboardBody="{") == "InvalidParameterInput"
    cloudwatch.delete_dashboards(DashboardNames=["web"])
    assert code_of(cloudwatch.get_dashboard, DashboardName="web") == "ResourceNotFound"


def test_logs_become_metrics(logs, cloudwatch, hurried):
    logs.create_log_group(logGroupName="/app", tags={"a": "1"})
    logs.create_log_stream(logGroupName="/app", logStreamName="s")
    transformation = {"metricName": "Errors", "metricNamespace": "Logs", "metricValue": "$.ms", "unit": "Milliseconds",
                      "dimensions": {"Route": "$.route"}}
    logs.put_metric_filter(logGroupName="/app", filterName="errors", filterPattern='{ $.level = "error" && $.ms > 1 }',
                           metricTransformations=[transformation])
    now = engine_now(hurried)
    events = [{"level": "error", "ms": 20, "route": "/a"}, {"level": "error", "ms": 1, "route": "/a"}, {"level": "info"}]
    stamp = int(now.timestamp() * 1000)
    logs.put_log_events(logGroupName="/app", logStreamName="s",
                        logEvents=[{"timestamp": stamp, "message": json.dumps(event)} for event in events])
    day = datetime.timedelta(days=1)
    statistics = cloudwatch.get_metric_statistics(
        Namespace="Logs", MetricName="Errors", Dimensions=[{"Name": "Route", "Value": "/a"}], Period=60 * 60 * 24 * 2,
        StartTime=now - day, EndTime=now + day, Statistics=["Sum"])
    points = [(point["Sum"], point["Unit"]) for point in statistics["Datapoints"]]
    assert points == [(20.0, "Milliseconds")]
    found = logs.filter_log_events(logGroupName="/app", filterPattern='{ $.level = "err*" }')["events"]
    assert len(found) == 2
    tried = logs.test_metric_filter(filterPattern="[ip, status = 5*]", logEventMessages=["::1 200", "::1 503"])
    assert tried["matches"][0]["extractedValues"] == {"$ip": "::1", "$status": "503"}
    assert logs.describe_log_groups(logGroupNamePrefix="/app")["logGroups"][0]["metricFilterCount"] == 1
    assert code_of(logs.put_subscription_filter, logGroupName="/app", filterName="f", filterPattern="",
                   destinationArn="arn:aws:lambda:us-east-1:000000000000:function:f") == "UnsupportedOperation"
    logs.put_log_group_deletion_protection(logGroupIdentifier="/app", deletionProtectionEnabled=True)
    assert code_of(logs.delete_log_group, logGroupName="/app") == "InvalidOperationException"
    logs.put_log_group_deletion_protection(logGroupIdentifier="/app", deletionProtectionEnabled=False)
    logs.delete_log_group(logGroupName="/app")


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Takes what it is sent; refuses the first message of each type."""

    seen = []
    failures = set()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        kind = self.headers["x-amz-sns-message-type"]
        first = kind not in self.failures
        self.failures.add(kind)
        self.send_response(500 if first else 200)
        self.end_headers()
        if not first:
            self.seen.append((dict(self.headers), json.loads(body)))

    def log_message(self, *_):
        pass


def test_an_alarm_tells_an_endpoint(cloudwatch, sns):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        topic = sns.create_topic(Name="ops", Tags=[{"Key": "a", "Value": "1"}])["TopicArn"]
        url = f"http://127.0.0.1:{server.server_port}/hook"
        subscription = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=url)["SubscriptionArn"]
        assert subscription == "pending confirmation"
        wait_for(lambda: Endpoint.seen, "the confirmation, at its second attempt")
        with urllib.request.urlopen(Endpoint.seen[0][1]["SubscribeURL"]) as response:
            assert b"Confirmed" in response.read()
        [subscription] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        assert sns.get_subscription_attributes(SubscriptionArn=subscription["SubscriptionArn"])["Attributes"][
            "PendingConfirmation"] == "false"
        cloudwatch.put_metric_alarm(**alarm("loud", AlarmActions=[topic]))
        cloudwatch.set_alarm_state(AlarmName="loud", StateValue="ALARM", StateReason="a test")
        wait_for(lambda: len(Endpoint.seen) == 2, "the notification, at its second attempt")
        headers, body = Endpoint.seen[1]
        assert headers["x-amz-sns-topic-arn"] == topic
        assert body["Subject"] == 'ALARM: "loud" in US East (N. Virginia)'
        message = json.loads(body["Message"])
        assert (message["NewStateValue"], message["NewStateReason"]) == ("ALARM", "a test")
        history = cloudwatch.describe_alarm_history(AlarmName="loud", HistoryItemType="Action")["AlarmHistoryItems"]
        assert history[-1]["HistorySummary"] == f"Successfully executed action {topic}"
        sns.publish(TopicArn=topic, Message="plain")
        wait_for(lambda: Endpoint.seen[-1][1]["Message"] == "plain", "the published message")
        sns.delete_topic(TopicArn=topic)
        with pytest.raises(sns.exceptions.NotFoundException):
            sns.publish(TopicArn=topic, Message="gone")
        assert code_of(sns.subscribe, TopicArn=topic, Protocol="sms", Endpoint="1") in ("UnsupportedOperation", "NotFound")
    finally:
        server.shutdown()


def test_alarms_survive_a_kill(cloudwatch, hurried):
    cloudwatch.put_metric_alarm(**alarm("kept"))
    cloudwatch.put_metric_data(Namespace="Test", MetricData=[{"MetricName": "kept", "Value": 1.0}])
    cloudwatch.set_alarm_state(AlarmName="kept", StateValue="ALARM", StateReason="x")
    hurried.kill()
    hurried.cli("start", "--time-scale", SCALE)
    assert state(cloudwatch, "kept")["AlarmName"] == "kept"
    listed = cloudwatch.list_metrics(Namespace="Test", MetricName="kept")["Metrics"]
    assert len(listed) == 1, "the point was on disk"


@pytest.mark.skipif(missing() is not None, reason=f"NOT TESTED WITH TERRAFORM: {missing()}")
def test_terraform_has_nothing_to_add(hurried, cloudwatch, tmp_path):
    shutil.copy(pathlib.Path(__file__).with_name("monitoring.tf"), tmp_path / "main.tf")
    terraform = Terraform(tmp_path, hurried)
    terraform.apply()
    terraform.assert_no_drift()
    terraform.apply(threshold=80)
    terraform.assert_no_drift(threshold=80)
    assert state(cloudwatch, "tf-high")["Threshold"] == 80
    terraform.destroy()
    assert cloudwatch.describe_alarms(AlarmNamePrefix="tf-")["MetricAlarms"] == []
