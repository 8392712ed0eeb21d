"""The ways from a VPC to the AWS APIs: none, VPC endpoints, a NAT gateway. By real connections and a real SDK."""

import json
import subprocess
import sys

import botocore.exceptions
import pytest

from engine import REGION, node_app, wait_for
from test_roles import environment_of

# Runs inside a network namespace, with the VPC's resolver: says of each URL whether anybody answers there.
PROBE = """
import sys, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for url in sys.argv[1:]:
    try:
        opener.open(url, timeout=1.5)
        print("answered")
    except urllib.error.HTTPError:
        print("answered")
    except OSError as error:
        print("silent" if "timed out" in str(error) else repr(error))
"""

# The same with an SDK: prints what came of one call.
CALL = """
import json, sys, boto3, botocore.config, botocore.exceptions
service, operation, key, secret, arguments = sys.argv[1:6]
config = botocore.config.Config(connect_timeout=2, retries={"total_max_attempts": 1}, proxies={})
host = f"http://{service}.us-east-1.amazonaws.com:443"
client = boto3.client(service, region_name="us-east-1", endpoint_url=host, config=config,
                      aws_access_key_id=key, aws_secret_access_key=secret)
try:
    print(json.dumps({"ok": getattr(client, operation)(**json.loads(arguments))}, default=str))
except botocore.exceptions.ClientError as error:
    print(json.dumps({"code": error.response["Error"]["Code"]}))
"""


def url(service):
    return f"http://{service}.{REGION}.amazonaws.com:443/"


class Place:
    """An interface in a subnet, as a task would have it."""

    def __init__(self, engine, directory, interface, resolver):
        self.space = engine.run / "netns" / interface
        self.resolv = directory / "resolv.conf"
        self.resolv.write_text(f"nameserver {resolver}\noptions timeout:2 attempts:1\n")

    def python(self, program, *arguments):
        script = f'mount --bind {self.resolv} /etc/resolv.conf && exec "$@"'
        command = ["nsenter", f"--net={self.space}", "unshare", "--mount", "sh", "-c", script, "sh",
                   sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[:-1]

    def reaches(self, *services):
        """Which of the services answer."""
        found = self.python(PROBE, *map(url, services))
        assert set(found) <= {"answered", "silent"}, found
        return {service for service, word in zip(services, found) if word == "answered"}

    def call(self, service, operation, key, **arguments):
        [line] = self.python(CALL, service, operation, key["AccessKeyId"], key["SecretAccessKey"], json.dumps(arguments))
        return json.loads(line)


@pytest.fixture
def network(engine, tmp_path):
    """A VPC with one private subnet, and an interface in it."""
    ec2 = engine.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone=f"{REGION}a")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    groups = {name: ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
              for name in ("tasks", "doors")}
    made = ec2.create_network_interface(SubnetId=subnet, Groups=[groups["tasks"]])["NetworkInterface"]
    ec2.get_waiter("network_interface_available").wait(NetworkInterfaceIds=[made["NetworkInterfaceId"]])
    place = Place(engine, tmp_path, made["NetworkInterfaceId"], "10.0.0.2")
    wait_for(place.space.exists, "the interface's namespace")
    return {"ec2": ec2, "vpc": vpc, "subnet": subnet, "table": table, "place": place} | groups


def issued_key(engine):
    """The access key of a user who may do everything."""
    iam = engine.client("iam")
    iam.create_user(UserName="task")
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="task", PolicyName="all", PolicyDocument=json.dumps(everything))
    return iam.create_access_key(UserName="task")["AccessKey"]


def endpoint(network, service, **options):
    made = network["ec2"].create_vpc_endpoint(VpcId=network["vpc"], ServiceName=f"com.amazonaws.{REGION}.{service}",
                                              **options)["VpcEndpoint"]
    return available(network, made["VpcEndpointId"])


def available(network, id):
    def look():
        [shown] = network["ec2"].describe_vpc_endpoints(VpcEndpointIds=[id])["VpcEndpoints"]
        return shown if shown["State"] == "available" else None
    return wait_for(look, "the endpoint to be available") or look()


def delete(network, *ids):
    assert network["ec2"].delete_vpc_endpoints(VpcEndpointIds=list(ids))["Unsuccessful"] == []
    described = lambda: network["ec2"].describe_vpc_endpoints()["VpcEndpoints"]
    wait_for(lambda: not described(), "the endpoints to be gone")


def test_an_interface_endpoint_is_the_only_way_and_its_group_guards_it(engine, network):
    ec2, place = network["ec2"], network["place"]
    services = ("secretsmanager", "sts", "s3")
    assert place.reaches(*services) == set(), "a private subnet has no way out"
    made = endpoint(network, "secretsmanager", VpcEndpointType="Interface", SubnetIds=[network["subnet"]],
                    SecurityGroupIds=[network["doors"]])
    assert made["PrivateDnsEnabled"] and len(made["NetworkInterfaceIds"]) == 1
    assert place.reaches(*services) == set(), "the endpoint's group is closed"
    rule = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
             "UserIdGroupPairs": [{"GroupId": network["tasks"]}]}]
    ec2.authorize_security_group_ingress(GroupId=network["doors"], IpPermissions=rule)
    wait_for(lambda: place.reaches("secretsmanager"), "the rule")
    assert place.reaches(*services) == {"secretsmanager"}
    # As whom: only credentials that were issued here, and only what the endpoint's policy allows.
    key = issued_key(engine)
    assert "ok" in place.call("secretsmanager", "list_secrets", key)
    forged = place.call("secretsmanager", "list_secrets", {"AccessKeyId": "test", "SecretAccessKey": "test"})
    assert forged == {"code": "UnrecognizedClientException"}
    policy = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]}
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], PolicyDocument=json.dumps(policy))
    assert place.call("secretsmanager", "list_secrets", key) == {"code": "AccessDeniedException"}
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], ResetPolicy=True)
    assert "ok" in place.call("secretsmanager", "list_secrets", key)
    # Another engine opens the doors again.
    engine.kill()
    engine.cli("start")
    wait_for(lambda: "ok" in place.call("secretsmanager", "list_secrets", key), "the next engine")
    # Without private DNS the service's name leads nowhere again.
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], PrivateDnsEnabled=False)
    wait_for(lambda: not place.reaches("secretsmanager"), "the name to change")
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], PrivateDnsEnabled=True)
    wait_for(lambda: place.reaches("secretsmanager"), "the name to change back")
    delete(network, made["VpcEndpointId"])
    assert place.reaches("secretsmanager") == set()
    again = ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])["Unsuccessful"]
    assert [item["Error"]["Code"] for item in again] == ["InvalidVpcEndpointId.NotFound"]


def test_a_gateway_endpoint_leads_to_s3_alone(engine, network):
    ec2, place = network["ec2"], network["place"]
    made = endpoint(network, "s3", RouteTableIds=[network["table"]])
    services = ("secretsmanager", "s3")
    assert place.reaches(*services) == {"s3"}
    # By an SDK, which puts the bucket into the host name; the endpoint's policy holds for all who come this way.
    key = issued_key(engine)
    engine.client("s3").create_bucket(Bucket="task-files")
    assert "ok" in place.call("s3", "put_object", key, Bucket="task-files", Key="a", Body="b")
    listed = place.call("s3", "list_objects_v2", key, Bucket="task-files")["ok"]["Contents"]
    assert [item["Key"] for item in listed] == ["a"]
    policy = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "*"}]}
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], PolicyDocument=json.dumps(policy))
    assert place.call("s3", "put_object", key, Bucket="task-files", Key="a", Body="b") == {"code": "AccessDenied"}
    assert "ok" in place.call("s3", "list_objects_v2", key, Bucket="task-files")
    [table] = ec2.describe_route_tables(RouteTableIds=[network["table"]])["RouteTables"]
    [route] = [route for route in table["Routes"] if route["GatewayId"] == made["VpcEndpointId"]]
    [prefixes] = ec2.describe_prefix_lists(PrefixListIds=[route["DestinationPrefixListId"]])["PrefixLists"]
    assert prefixes["PrefixListName"] == f"com.amazonaws.{REGION}.s3"
    # A group that lets nothing out but to S3's prefix list.
    [group] = ec2.describe_security_groups(GroupIds=[network["tasks"]])["SecurityGroups"]
    ec2.revoke_security_group_egress(GroupId=network["tasks"], IpPermissions=group["IpPermissionsEgress"])
    wait_for(lambda: not place.reaches("s3"), "the group to close")
    rule = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
             "PrefixListIds": [{"PrefixListId": prefixes["PrefixListId"]}]}]
    ec2.authorize_security_group_egress(GroupId=network["tasks"], IpPermissions=rule)
    wait_for(lambda: place.reaches("s3"), "the group to open")
    # A network ACL of one's own, which denies everything until it has a rule.
    [old] = ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [network["subnet"]]}])["NetworkAcls"]
    [association] = [item["NetworkAclAssociationId"] for item in old["Associations"]]
    acl = ec2.create_network_acl(VpcId=network["vpc"])["NetworkAcl"]["NetworkAclId"]
    ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl)
    wait_for(lambda: not place.reaches("s3"), "the ACL to block")
    for egress in (True, False):
        ec2.create_network_acl_entry(NetworkAclId=acl, RuleNumber=100, Protocol="6", RuleAction="allow", Egress=egress,
                                     CidrBlock="0.0.0.0/0", PortRange={"From": 0, "To": 65535})
    wait_for(lambda: place.reaches("s3"), "the ACL to allow")
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], RemoveRouteTableIds=[network["table"]])
    wait_for(lambda: not place.reaches("s3"), "the route to go")
    delete(network, made["VpcEndpointId"])


def test_a_nat_gateway_leads_to_all(network):
    ec2, place, vpc = network["ec2"], network["place"], network["vpc"]
    services = ("secretsmanager", "sts", "s3", "api.ecr", "logs")
    public = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.2.0/24")["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.associate_route_table(RouteTableId=table, SubnetId=public)
    address = ec2.allocate_address()["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
    ec2.create_route(RouteTableId=network["table"], DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    wait_for(lambda: place.reaches("sts"), "the route")
    assert place.reaches(*services) == set(services)
    # A gateway endpoint's route is the more specific one: with it, S3 needs no NAT gateway.
    made = endpoint(network, "s3", RouteTableIds=[network["table"]])
    ec2.delete_nat_gateway(NatGatewayId=nat)
    wait_for(lambda: not place.reaches("sts"), "the NAT gateway to go")
    assert place.reaches(*services) == {"s3"}
    delete(network, made["VpcEndpointId"])


def test_bad_endpoints_get_awss_codes(network):
    ec2 = network["ec2"]
    interface = {"VpcId": network["vpc"], "VpcEndpointType": "Interface"}
    name = f"com.amazonaws.{REGION}."
    for code, arguments in [
        ("InvalidServiceName", interface | {"ServiceName": name + "sqs"}),
        ("InvalidVpcID.NotFound", interface | {"ServiceName": name + "sts", "VpcId": "vpc-00000000000000000"}),
        ("InvalidSubnetID.NotFound",
         interface | {"ServiceName": name + "sts", "SubnetIds": ["subnet-00000000000000000"]}),
        ("InvalidPolicyDocument", interface | {"ServiceName": name + "sts", "PolicyDocument": "{}"}),
        ("InvalidRouteTableID.NotFound",
         {"VpcId": network["vpc"], "ServiceName": name + "s3", "RouteTableIds": ["rtb-00000000000000000"]}),
        ("InvalidParameter", {"VpcId": network["vpc"], "ServiceName": name + "sts"}),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            ec2.create_vpc_endpoint(**arguments)
        assert caught.value.response["Error"]["Code"] == code, arguments
    assert ec2.describe_vpc_endpoints()["VpcEndpoints"] == []


SERVER = """\
const http = require("node:http");
http.createServer((request, response) => {
  if (request.url === "/health") return response.end("ok");
  http.get(process.env.AWS_ENDPOINT_URL_STS + "/?Action=GetCallerIdentity&Version=2011-06-15", (answer) => {
    response.end(JSON.stringify({ status: answer.statusCode, variables: Object.keys(process.env) }));
  }).on("error", (error) => response.writeHead(502).end(String(error)));
}).listen(Number(process.env.PORT));
"""


def test_a_task_finds_the_apis_by_its_environment(engine, tmp_path):
    """The app is behind a NAT gateway; nobody has signed its request, so STS refuses it."""
    app = node_app(tmp_path / "caller", server=SERVER)
    engine.up(app)
    answer = json.loads(engine.get(engine.url(app))[1])
    assert answer["status"] == 403
    assert {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SECRETS_MANAGER"} <= set(answer["variables"])
    [first, *_] = engine.status(app)["tasks"]
    assert environment_of(engine, first["id"])["AWS_ENDPOINT_URL_ECR"] == f"http://api.ecr.{REGION}.amazonaws.com:443"
