"""Secrets, parameters, certificates and the account, as boto3 and Terraform use them."""

import json
import shutil
import socket
import ssl
import subprocess
import urllib.request

import botocore.exceptions
import pytest

from engine import REGION, Engine, wait_for
from terraform import Terraform, missing
from test_iam import ACCOUNT, allow, deny, document, user

WITHOUT_RECOVERY = {"ForceDeleteWithoutRecovery": True}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One engine for the tests that only ask its API; each has names of its own."""
    with Engine(tmp_path_factory.mktemp("home")) as engine:
        engine.cli("start")
        yield engine


def refused(code, call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"] == code, (call, arguments, error)
    return error["Message"]


def pages(client, operation, key, **arguments):
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page[key]]


# Secrets Manager


def test_the_life_of_a_secret(shared):
    secrets = shared.client("secretsmanager")
    made = secrets.create_secret(Name="life/db", SecretString="one", Description="a", Tags=[{"Key": "k", "Value": "v"}])
    assert made["ARN"].startswith(f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:life/db-")
    second = secrets.put_secret_value(SecretId="life/db", SecretString="two")
    assert second["VersionStages"] == ["AWSCURRENT"]
    for name in ["life/db", made["ARN"], made["ARN"][:-7]]:
        assert secrets.get_secret_value(SecretId=name)["SecretString"] == "two"
    assert secrets.get_secret_value(SecretId="life/db", VersionStage="AWSPREVIOUS")["SecretString"] == "one"
    assert secrets.get_secret_value(SecretId="life/db", VersionId=made["VersionId"])["SecretString"] == "one"
    secrets.update_secret(SecretId="life/db", Description="b", SecretBinary=b"\x00\xff")
    assert secrets.get_secret_value(SecretId="life/db")["SecretBinary"] == b"\x00\xff"
    described = secrets.describe_secret(SecretId="life/db")
    assert described["Description"] == "b" and described["Tags"] == [{"Key": "k", "Value": "v"}]
    assert sorted(sum(described["VersionIdsToStages"].values(), [])) == ["AWSCURRENT", "AWSPREVIOUS"]
    secrets.untag_resource(SecretId="life/db", TagKeys=["k"])
    assert "Tags" not in secrets.describe_secret(SecretId="life/db")

    secrets.delete_secret(SecretId="life/db", RecoveryWindowInDays=7)
    assert "marked for deletion" in refused("InvalidRequestException", secrets.get_secret_value, SecretId="life/db")
    assert "scheduled for deletion" in refused("InvalidRequestException", secrets.create_secret, Name="life/db")
    assert secrets.describe_secret(SecretId="life/db")["DeletedDate"]
    secrets.restore_secret(SecretId="life/db")
    secrets.delete_secret(SecretId="life/db", **WITHOUT_RECOVERY)
    message = refused("ResourceNotFoundException", secrets.get_secret_value, SecretId="life/db")
    assert message == "Secrets Manager can't find the specified secret."


def test_many_secrets_are_paged_and_filtered(shared):
    secrets = shared.client("secretsmanager")
    for number in range(5):
        secrets.create_secret(Name=f"page/{number}", SecretString=str(number))
    of_page = {"Filters": [{"Key": "name", "Values": ["page/"]}]}
    assert len(pages(secrets, "list_secrets", "SecretList", PaginationConfig={"PageSize": 2}, **of_page)) == 5
    first = secrets.batch_get_secret_value(MaxResults=3, **of_page)
    rest = secrets.batch_get_secret_value(MaxResults=3, NextToken=first["NextToken"], **of_page)
    assert [value["SecretString"] for value in first["SecretValues"] + rest["SecretValues"]] == list("01234")
    batch = secrets.batch_get_secret_value(SecretIdList=["page/1", "page/x"])
    assert [error["ErrorCode"] for error in batch["Errors"]] == ["ResourceNotFoundException"]
    assert len(secrets.get_random_password(PasswordLength=40, ExcludePunctuation=True)["RandomPassword"]) == 40


def test_what_a_policy_denies_is_denied(shared):
    secrets = shared.client("secretsmanager")
    arn = secrets.create_secret(Name="guarded", SecretString="s")["ARN"]
    secrets.create_secret(Name="other", SecretString="s")
    settings = user(shared, "reader", allow("secretsmanager:GetSecretValue", f"{arn[:-6]}??????"),
                    allow("secretsmanager:BatchGetSecretValue"))
    reader = shared.client("secretsmanager", **settings)
    assert reader.get_secret_value(SecretId="guarded")["SecretString"] == "s"
    refused("AccessDeniedException", reader.get_secret_value, SecretId="other")
    batch = reader.batch_get_secret_value(SecretIdList=["guarded", "other"])
    assert [error["ErrorCode"] for error in batch["Errors"]] == ["AccessDeniedException"]
    own = f"arn:aws:iam::{ACCOUNT}:user/reader"
    secrets.put_resource_policy(SecretId="guarded", ResourcePolicy=document(
        deny("secretsmanager:GetSecretValue", Principal={"AWS": own})))
    refused("AccessDeniedException", reader.get_secret_value, SecretId="guarded")
    secrets.put_resource_policy(SecretId="other", ResourcePolicy=document(
        allow("secretsmanager:GetSecretValue", Principal={"AWS": own})))
    assert reader.get_secret_value(SecretId="other")["SecretString"] == "s"


def test_secrets_outlive_the_engine_and_are_not_readable_on_its_disk(tmp_path):
    with Engine(tmp_path / "home") as engine:
        engine.cli("start")
        engine.client("secretsmanager").create_secret(Name="kept", SecretString="find-me-on-disk")
        engine.client("ssm").put_parameter(Name="kept", Value="find-me-too-on-disk", Type="SecureString")
        engine.kill()
        for path in engine.home.rglob("*"):
            assert not path.is_file() or b"on-disk" not in path.read_bytes(), f"{path} shows a secret"
        assert (engine.home / "state.key").stat().st_mode & 0o777 == 0o600
        engine.cli("start")
        assert engine.client("secretsmanager").get_secret_value(SecretId="kept")["SecretString"] == "find-me-on-disk"


def test_secrets_manager_refuses(shared):
    secrets = shared.client("secretsmanager")
    secrets.create_secret(Name="refusals", SecretString="s")
    table = [
        ("ResourceExistsException", secrets.create_secret, {"Name": "refusals", "SecretString": "t"}),
        ("InvalidParameterException", secrets.create_secret, {"Name": "a b"}),
        ("EncryptionFailure", secrets.create_secret, {"Name": "a", "KmsKeyId": "alias/mine"}),
        ("InvalidRequestException", secrets.put_secret_value, {"SecretId": "refusals"}),
        ("ResourceNotFoundException", secrets.put_secret_value, {"SecretId": "none", "SecretString": "s"}),
        ("ResourceNotFoundException", secrets.get_secret_value, {"SecretId": "refusals", "VersionStage": "X"}),
        ("InvalidParameterException", secrets.delete_secret, {"SecretId": "refusals", "RecoveryWindowInDays": 6}),
        ("InvalidParameterException", secrets.delete_secret,
         {"SecretId": "refusals", "RecoveryWindowInDays": 7, **WITHOUT_RECOVERY}),
        ("InvalidParameterException", secrets.get_random_password, {"PasswordLength": 3}),
        ("MalformedPolicyDocumentException", secrets.put_resource_policy,
         {"SecretId": "refusals", "ResourcePolicy": "{}"}),
        ("InvalidParameterException", secrets.update_secret_version_stage,
         {"SecretId": "refusals", "VersionStage": "AWSCURRENT"}),
        ("UnsupportedOperation", secrets.rotate_secret, {"SecretId": "refusals"}),
        ("InvalidNextTokenException", secrets.list_secrets, {"NextToken": "%"}),
    ]
    for code, call, arguments in table:
        refused(code, call, **arguments)


# Parameter Store


def test_the_life_of_a_parameter(shared):
    ssm = shared.client("ssm")
    assert ssm.put_parameter(Name="/life/port", Value="80", Type="String", Tags=[{"Key": "k", "Value": "v"}])["Version"] == 1
    ssm.put_parameter(Name="/life/port", Value="81", Overwrite=True)
    ssm.label_parameter_version(Name="/life/port", ParameterVersion=1, Labels=["prod"])
    read = lambda name: ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    arn = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/life/port"
    assert [read(name) for name in ["/life/port", "/life/port:1", "/life/port:prod", arn]] == ["81", "80", "80", "81"]
    assert len(pages(ssm, "get_parameter_history", "Parameters", Name="/life/port")) == 2
    ssm.put_parameter(Name="/life/key", Value="hidden", Type="SecureString")
    assert read("/life/key") == "hidden"
    assert ssm.get_parameter(Name="/life/key")["Parameter"]["Value"] != "hidden"
    by_path = pages(ssm, "get_parameters_by_path", "Parameters", Path="/life", PaginationConfig={"PageSize": 1})
    assert [parameter["Name"] for parameter in by_path] == ["/life/key", "/life/port"]
    found = pages(ssm, "describe_parameters", "Parameters",
                  ParameterFilters=[{"Key": "tag:k", "Values": ["v"]}, {"Key": "Path", "Values": ["/life"]}])
    assert [parameter["Version"] for parameter in found] == [2]
    assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/life/port")["TagList"] == [{"Key": "k", "Value": "v"}]
    assert ssm.get_parameters(Names=["/life/port", "/none"])["InvalidParameters"] == ["/none"]
    ssm.delete_parameter(Name="/life/port")
    assert ssm.delete_parameters(Names=["/life/key", "/life/port"])["InvalidParameters"] == ["/life/port"]


def test_parameter_store_refuses(shared):
    ssm = shared.client("ssm")
    ssm.put_parameter(Name="refusals", Value="s", Type="String")
    table = [
        ("ParameterAlreadyExists", ssm.put_parameter, {"Name": "refusals", "Value": "t", "Type": "String"}),
        ("ParameterNotFound", ssm.get_parameter, {"Name": "/aws/service/ami"}),
        ("ParameterVersionNotFound", ssm.get_parameter, {"Name": "refusals:9"}),
        ("ValidationException", ssm.put_parameter, {"Name": "a", "Value": "x" * 4097, "Type": "String"}),
        ("ValidationException", ssm.put_parameter, {"Name": "a/b", "Value": "x", "Type": "String"}),
        ("ValidationException", ssm.put_parameter, {"Name": "a", "Value": "x"}),
        ("HierarchyLevelLimitExceededException", ssm.put_parameter, {"Name": "/a" * 16, "Value": "x", "Type": "String"}),
        ("InvalidKeyId", ssm.put_parameter, {"Name": "a", "Value": "x", "Type": "SecureString", "KeyId": "alias/mine"}),
        ("ParameterPatternMismatchException", ssm.put_parameter,
         {"Name": "a", "Value": "x", "Type": "String", "AllowedPattern": "[0-9]+"}),
        ("InvalidResourceId", ssm.list_tags_for_resource, {"ResourceType": "Parameter", "ResourceId": "none"}),
        ("InvalidFilterKey", ssm.get_parameters_by_path,
         {"Path": "/", "ParameterFilters": [{"Key": "Name", "Values": ["x"]}]}),
        ("UnsupportedOperation", ssm.describe_instance_information, {}),
    ]
    for code, call, arguments in table:
        refused(code, call, **arguments)
    reader = shared.client("ssm", **user(shared, "parameters", allow("ssm:GetParameter",
                           f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/refusals")))
    assert reader.get_parameter(Name="refusals")["Parameter"]["Value"] == "s"
    refused("AccessDeniedException", reader.get_parameter, Name="other")


# Certificate Manager


def test_a_certificate_is_issued_and_can_be_trusted(shared):
    acm = shared.client("acm")
    request = {"DomainName": "shop.example.com", "ValidationMethod": "DNS", "SubjectAlternativeNames": ["*.shop.example.com"]}
    arn = acm.request_certificate(**request)["CertificateArn"]
    acm.get_waiter("certificate_validated").wait(CertificateArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    detail = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert detail["Status"] == "ISSUED" and detail["KeyAlgorithm"] == "RSA_2048"
    assert detail["DomainValidationOptions"][0]["ResourceRecord"]["Type"] == "CNAME"
    answer = acm.get_certificate(CertificateArn=arn)
    authority = (shared.home / "ca.pem").read_text()
    assert answer["CertificateChain"] == authority
    ssl.create_default_context(cadata=authority)
    if shutil.which("openssl"):
        leaf = shared.home.parent / "leaf.pem"
        leaf.write_text(answer["Certificate"])
        subprocess.run(["openssl", "verify", "-CAfile", shared.home / "ca.pem", leaf], check=True, capture_output=True)
    assert arn in [item["CertificateArn"] for item in pages(acm, "list_certificates", "CertificateSummaryList")]
    acm.add_tags_to_certificate(CertificateArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    acm.delete_certificate(CertificateArn=arn)
    refused("ResourceNotFoundException", acm.describe_certificate, CertificateArn=arn)


def test_a_load_balancer_serves_with_an_issued_certificate(shared):
    acm, elbv2, ec2 = shared.client("acm"), shared.client("elbv2"), shared.client("ec2")
    arn = acm.request_certificate(DomainName="tls.example.com", ValidationMethod="DNS",
                                  KeyAlgorithm="EC_prime256v1")["CertificateArn"]
    acm.get_waiter("certificate_validated").wait(CertificateArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{i}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]["SubnetId"]
               for i, zone in enumerate("ab")]
    group = ec2.create_security_group(GroupName="tls", Description="tls", VpcId=vpc)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=443, ToPort=443, CidrIp="0.0.0.0/0")
    balancer = elbv2.create_load_balancer(Name="tls", Subnets=subnets, SecurityGroups=[group])["LoadBalancers"][0]
    answer = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "MessageBody": "over tls"}}
    elbv2.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTPS", Port=443,
                          Certificates=[{"CertificateArn": arn}], DefaultActions=[answer])
    assert acm.describe_certificate(CertificateArn=arn)["Certificate"]["InUseBy"] == [balancer["LoadBalancerArn"]]
    refused("ResourceInUseException", acm.delete_certificate, CertificateArn=arn)

    def get():
        with urllib.request.urlopen(f"http://127.0.0.1:{shared.port}/_pileus/edges") as edges:
            port = json.load(edges).get("443")
        context = ssl.create_default_context(cafile=shared.home / "ca.pem")
        with socket.create_connection(("127.0.0.1", port)) as plain:
            with context.wrap_socket(plain, server_hostname="tls.example.com") as stream:
                stream.sendall(b"GET / HTTP/1.1\r\nHost: tls.example.com\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: stream.recv(4096), b""))

    def served():
        try:
            return b"over tls" in get()
        except (OSError, TypeError):
            return False

    wait_for(served, "the load balancer to serve with the certificate")
    elbv2.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    acm.delete_certificate(CertificateArn=arn)


def test_certificate_manager_refuses(shared):
    acm = shared.client("acm")
    none = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/12345678-1234-1234-1234-123456789012"
    table = [
        ("ResourceNotFoundException", acm.describe_certificate, {"CertificateArn": none}),
        ("UnsupportedOperation", acm.request_certificate, {"DomainName": "a.example.com", "ValidationMethod": "EMAIL"}),
        ("ValidationException", acm.request_certificate, {"DomainName": "localhost", "ValidationMethod": "DNS"}),
        ("ValidationException", acm.import_certificate, {"Certificate": b"x", "PrivateKey": b"y"}),
        ("UnsupportedOperation", acm.renew_certificate, {"CertificateArn": none}),
    ]
    for code, call, arguments in table:
        refused(code, call, **arguments)


# Account Management, whose protocol is restJson


def test_the_account(shared):
    account = shared.client("account")
    regions = pages(account, "list_regions", "Regions", PaginationConfig={"PageSize": 5})
    described = shared.client("ec2").describe_regions()["Regions"]
    assert {region["RegionName"] for region in regions} == {region["RegionName"] for region in described}
    assert account.get_region_opt_status(RegionName=REGION)["RegionOptStatus"] == "ENABLED_BY_DEFAULT"
    contact = {"FullName": "A. Person", "AddressLine1": "Street 1", "City": "Bern", "PostalCode": "3000",
               "CountryCode": "CH", "PhoneNumber": "+41 1"}
    refused("ResourceNotFoundException", account.get_contact_information)
    account.put_contact_information(ContactInformation=contact)
    assert account.get_contact_information()["ContactInformation"] == contact
    refused("ResourceNotFoundException", account.get_alternate_contact, AlternateContactType="BILLING")
    refused("ValidationException", account.get_region_opt_status, RegionName="mars-1")
    refused("AccessDeniedException", account.list_regions, AccountId="111111111111")
    refused("UnsupportedOperation", account.enable_region, RegionName="af-south-1")
    settings = user(shared, "nobody", allow("ec2:*"))
    refused("AccessDeniedException", shared.client("account", **settings).list_regions)


# Terraform

CONFIGURATION = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region = "us-east-1"
  default_tags {
    tags = { Project = "secrets" }
  }
}

variable "value" { default = "one" }

resource "aws_secretsmanager_secret" "db" {
  name                    = "terraform/db"
  description             = "a password"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "db" {
  secret_id     = aws_secretsmanager_secret.db.id
  secret_string = jsonencode({ password = var.value })
}

resource "aws_secretsmanager_secret_policy" "db" {
  secret_arn = aws_secretsmanager_secret.db.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::000000000000:root" }
      Action    = "secretsmanager:GetSecretValue"
      Resource  = "*"
    }]
  })
}

data "aws_secretsmanager_secret_version" "db" {
  secret_id  = aws_secretsmanager_secret.db.id
  depends_on = [aws_secretsmanager_secret_version.db]
}

resource "aws_ssm_parameter" "plain" {
  name            = "/terraform/plain"
  type            = "String"
  value           = var.value
  description     = "plain"
  allowed_pattern = "[a-z]+"
}

resource "aws_ssm_parameter" "list" {
  name  = "/terraform/list"
  type  = "StringList"
  value = "a,b"
  tier  = "Advanced"
}

resource "aws_ssm_parameter" "secure" {
  name  = "/terraform/secure"
  type  = "SecureString"
  value = var.value
}

data "aws_ssm_parameters_by_path" "all" {
  path       = "/terraform"
  depends_on = [aws_ssm_parameter.plain, aws_ssm_parameter.list, aws_ssm_parameter.secure]
}

resource "aws_acm_certificate" "web" {
  domain_name               = "web.example.com"
  subject_alternative_names = ["*.web.example.com"]
  validation_method         = "DNS"
  lifecycle { create_before_destroy = true }
}

resource "aws_acm_certificate" "imported" {
  certificate_body = file("own.pem")
  private_key      = file("own.key")
}

resource "aws_acm_certificate_validation" "web" {
  certificate_arn = aws_acm_certificate.web.arn
}

data "aws_acm_certificate" "web" {
  domain     = "web.example.com"
  statuses   = ["ISSUED"]
  depends_on = [aws_acm_certificate_validation.web]
}

output "secret" {
  value     = data.aws_secretsmanager_secret_version.db.secret_string
  sensitive = true
}
output "parameters" { value = sort(data.aws_ssm_parameters_by_path.all.names) }
output "certificate" { value = data.aws_acm_certificate.web.arn == aws_acm_certificate_validation.web.certificate_arn }
"""


@pytest.mark.skipif(missing() is not None, reason=f"NO TERRAFORM HERE: {missing()}")
def test_terraform(engine, tmp_path):
    (tmp_path / "main.tf").write_text(CONFIGURATION)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key", "-out", "own.pem",
                    "-days", "30", "-subj", "/CN=own.example.com"], cwd=tmp_path, check=True, capture_output=True)
    configuration = Terraform(tmp_path, engine)
    configuration.apply()
    configuration.assert_no_drift()
    outputs = configuration.outputs()
    assert outputs["secret"] == '{"password":"one"}' and outputs["certificate"] is True
    assert outputs["parameters"] == ["/terraform/list", "/terraform/plain", "/terraform/secure"]
    configuration.apply(value="two")
    configuration.assert_no_drift(value="two")
    assert configuration.outputs()["secret"] == '{"password":"two"}'
    configuration.destroy(value="two")
    assert engine.client("secretsmanager").list_secrets(IncludePlannedDeletion=True)["SecretList"] == []
    assert engine.client("ssm").describe_parameters()["Parameters"] == []
    assert engine.client("acm").list_certificates()["CertificateSummaryList"] == []
