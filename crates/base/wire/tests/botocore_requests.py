"""Records what botocore really sends, for tests/botocore.rs. Run by hand after the codecs or the list changes:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install boto3
    /tmp/venv/bin/python crates/base/wire/tests/botocore_requests.py > crates/base/wire/tests/botocore.json
"""

import base64
import datetime
import json
import sys

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.serialize import create_serializer

TIME = datetime.datetime(2026, 11, 22, 20, 0, 0, tzinfo=datetime.timezone.utc)
LONG = "".join(chr(32 + i % 90) for i in range(300))

CALLS = [
    ("ec2", "CreateVpc", {"CidrBlock": "10.0.0.0/16", "TagSpecifications": [
        {"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "a b&c=d+é"}, {"Key": "k", "Value": ""}]}]}),
    ("ec2", "ModifyVpcAttribute", {"VpcId": "vpc-1", "EnableDnsHostnames": {"Value": True}}),
    ("ec2", "DescribeVpcs", {"VpcIds": ["vpc-2", "vpc-1"], "DryRun": False}),
    ("ec2", "DescribeNatGateways", {"Filters": [{"Name": "vpc-id", "Values": ["vpc-1", "vpc-2"]}], "MaxResults": 7}),
    ("ec2", "AuthorizeSecurityGroupIngress", {"GroupId": "sg-1", "IpPermissions": [
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
         "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-2", "UserId": "000000000000"}]}]}),
    ("ec2", "CreateTags", {"Resources": ["vpc-1"], "Tags": [{"Key": "a", "Value": "b"}]}),
    ("elbv2", "CreateLoadBalancer", {"Name": "web", "Subnets": ["subnet-1", "subnet-2"], "SecurityGroups": []}),
    ("elbv2", "CreateTargetGroup", {"Name": "web", "Protocol": "HTTP", "Port": 3000, "VpcId": "vpc-1",
        "TargetType": "ip", "HealthCheckPath": "/health", "Matcher": {"HttpCode": "200-299"}}),
    ("elbv2", "CreateRule", {"ListenerArn": "arn:l", "Priority": 1,
        "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/a*", "/b"]}}],
        "Actions": [{"Type": "forward", "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": "arn:t", "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": False}}}]}),
    ("elbv2", "RegisterTargets", {"TargetGroupArn": "arn:t", "Targets": [{"Id": "10.0.10.5", "Port": 3000}]}),
    ("ecs", "RegisterTaskDefinition", {"family": "web", "cpu": "256", "memory": "512", "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [{
            "name": "web", "image": "web:latest", "essential": True, "portMappings": [{"containerPort": 3000}],
            "environment": [{"name": "A", "value": "é\n"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web"}}}]}),
    ("ecs", "CreateService", {"cluster": "c", "serviceName": "web", "taskDefinition": "web:1", "desiredCount": 2,
        "deploymentConfiguration": {"maximumPercent": 200, "minimumHealthyPercent": 50,
                                    "deploymentCircuitBreaker": {"enable": True, "rollback": True}},
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-3"], "securityGroups": []}}}),
    ("ecs", "ListServiceDeployments", {"service": "web", "createdAt": {"after": TIME}}),
    ("ecr", "UploadLayerPart", {"repositoryName": "web", "uploadId": "12345678-1234-1234-1234-123456789012", "partFirstByte": 0, "partLastByte": 3,
        "layerPartBlob": b"\x00\xff\x10\x80"}),
    ("ecr", "BatchGetImage", {"repositoryName": "web", "imageIds": [{"imageTag": "latest"}]}),
    ("iam", "CreateRole", {"RoleName": "ecs-task", "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17"}),
        "Tags": [{"Key": "a", "Value": "b"}]}),
    ("iam", "ListRoles", {}),
    ("sts", "GetCallerIdentity", {}),
    ("sts", "AssumeRole", {"RoleArn": "arn:aws:iam::000000000000:role/ecs-task", "RoleSessionName": "session",
        "DurationSeconds": 900}),
    ("logs", "PutLogEvents", {"logGroupName": "/ecs/web", "logStreamName": "s",
        "logEvents": [{"timestamp": 1795377600123, "message": "{\"level\":\"info\"} \u20ac"}]}),
    ("logs", "TagResource", {"resourceArn": "arn:aws:logs:us-east-1:000000000000:log-group:a", "tags": {"k": "v"}}),
    ("secretsmanager", "PutSecretValue", {"SecretId": "db", "ClientRequestToken": "0" * 32,
        "SecretBinary": b"\x00\xff", "VersionStages": ["AWSPENDING"]}),
    ("ssm", "GetParametersByPath", {"Path": "/app", "Recursive": True, "WithDecryption": True}),
    ("acm", "RequestCertificate", {"DomainName": "example.com", "ValidationMethod": "DNS",
        "SubjectAlternativeNames": ["*.example.com"]}),
    ("account", "ListRegions", {"MaxResults": 5, "RegionOptStatusContains": ["ENABLED_BY_DEFAULT"]}),
    ("account", "GetContactInformation", {}),
    ("cloudwatch", "PutMetricData", {"Namespace": "App", "MetricData": [
        {"MetricName": "m", "Timestamp": TIME, "Value": 1.25, "Dimensions": [{"Name": "n", "Value": "v"}]},
        {"MetricName": "m", "Values": [1.0, 2.5], "Counts": [3.0, 4.0], "Unit": "Count"}]}),
    # Larger than 10 KiB: botocore compresses it.
    ("cloudwatch", "PutMetricData", {"Namespace": "App", "MetricData": [
        {"MetricName": f"{i}-{LONG[:100]}", "Value": i / 3} for i in range(200)]}),
    ("cloudwatch", "GetMetricData", {"StartTime": TIME, "EndTime": TIME, "MetricDataQueries": [
        {"Id": "a", "MetricStat": {"Metric": {"Namespace": "AWS/ECS", "MetricName": "CPUUtilization"},
                                   "Period": 60, "Stat": "Average"}, "ReturnData": True}]}),
]


def plain(value):
    """A parameter as JSON: bytes in base64, times in milliseconds."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return int(value.timestamp() * 1000)
    return value


def described(service, operation, parameters, request):
    body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
    text = lambda header: header.decode() if isinstance(header, bytes) else str(header)
    return {
        "service": service, "operation": operation, "parameters": plain(parameters),
        "method": request.method, "url": request.url, "body": base64.b64encode(body).decode(),
        "headers": {name.lower(): text(value) for name, value in request.headers.items()},
    }


def client_of(service):
    return boto3.client(service, region_name="us-east-1", endpoint_url="http://localhost:4566",
                        aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret",
                        config=Config(retries={"max_attempts": 1}))


def record(service, operation, parameters):
    """The request that a client sends."""
    client = client_of(service)
    sent = []

    def before_send(request, **_):
        sent.append(request)
        return AWSResponse(request.url, 500, {}, b"")

    client.meta.events.register("before-send", before_send)
    try:
        client._make_api_call(operation, parameters)
    except Exception as error:  # the answer is no answer
        if not sent:
            raise error
    return described(service, operation, parameters, sent[0])


def record_in(protocol, service, operation, parameters):
    """The request of a client that prefers another protocol of the service, as older and newer ones do."""
    model = client_of(service).meta.service_model
    request = create_serializer(protocol).serialize_to_request(parameters, model.operation_model(operation))
    request = AWSRequest(method=request["method"], url="http://localhost:4566" + request["url_path"],
                         headers=request["headers"], data=request["body"])
    SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "monitoring", "us-east-1").add_auth(request)
    return described(service, operation, parameters, request.prepare())


records = [record(*call) for call in CALLS]
records += [record_in(protocol, *call) for protocol in ("smithy-rpc-v2-cbor", "query") for call in CALLS
            if call[0] == "cloudwatch" and len(call[2].get("MetricData", [])) < 10]
json.dump(records, sys.stdout, indent=1, sort_keys=True)
print()
