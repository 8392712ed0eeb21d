"""What the probes find: one of each resource, under the names of the members that refer to it."""

import json

TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})


def build(engine):
    """Makes the resources; returns their names and ids by member name, `service.Member` where services differ."""
    ec2, iam, ecs, elbv2 = (engine.client(name) for name in ("ec2", "iam", "ecs", "elbv2"))
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
               for i, zone in enumerate(("us-east-1a", "us-east-1b"))]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    group = ec2.create_security_group(GroupName="probe", Description="probe", VpcId=vpc)["GroupId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    acl = ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"][0]["NetworkAclId"]
    role = iam.create_role(RoleName="probe", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    balancer = elbv2.create_load_balancer(Name="probe", Subnets=subnets, SecurityGroups=[group])["LoadBalancers"][0]
    targets = elbv2.create_target_group(Name="probe", Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")["TargetGroups"][0]
    action = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    listener = elbv2.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80,
                                     DefaultActions=[action])["Listeners"][0]["ListenerArn"]
    condition = {"Field": "path-pattern", "Values": ["/probe"]}
    rule = elbv2.create_rule(ListenerArn=listener, Priority=7, Conditions=[condition], Actions=[action])["Rules"][0]["RuleArn"]
    cluster = ecs.create_cluster(clusterName="probe")["cluster"]["clusterArn"]
    engine.client("ecr").create_repository(repositoryName="probe")
    engine.client("logs").create_log_group(logGroupName="probe")
    engine.client("logs").create_log_stream(logGroupName="probe", logStreamName="probe")
    container = {"name": "app", "image": f"localhost:{engine.port}/probe:latest", "essential": True,
                 "portMappings": [{"containerPort": 80}]}
    definition = ecs.register_task_definition(
        family="probe", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        executionRoleArn=role, containerDefinitions=[container])["taskDefinition"]["taskDefinitionArn"]
    network = {"awsvpcConfiguration": {"subnets": subnets[:1], "securityGroups": [group]}}
    ecs.create_service(cluster="probe", serviceName="probe", taskDefinition="probe", desiredCount=0,
                       launchType="FARGATE", networkConfiguration=network)
    return {
        "VpcId": vpc, "VpcIds": [vpc], "SubnetId": subnets[0], "SubnetIds": subnets, "Subnets": subnets,
        "InternetGatewayId": gateway, "RouteTableId": table, "GroupId": group, "GroupIds": [group],
        "SecurityGroupIds": [group], "SecurityGroups": [group], "AllocationId": address, "NetworkAclId": acl,
        "Resources": [vpc], "ec2.Tags": [{"Key": "probe", "Value": "1"}], "CidrBlock": "10.0.9.0/24",
        "CreateVpc.CidrBlock": "10.9.0.0/16", "DestinationCidrBlock": "192.0.2.0/24", "GatewayId": gateway,
        "iam.RoleName": "probe", "iam.AssumeRolePolicyDocument": TRUST, "iam.PolicyDocument": ALLOW, "RoleArn": role,
        "executionRoleArn": role, "taskRoleArn": role,
        "LoadBalancerArn": balancer["LoadBalancerArn"], "LoadBalancerArns": [balancer["LoadBalancerArn"]],
        "TargetGroupArn": targets["TargetGroupArn"], "TargetGroupArns": [targets["TargetGroupArn"]],
        "ListenerArn": listener, "ListenerArns": [listener], "RuleArn": rule, "RuleArns": [rule],
        "elbv2.ResourceArns": [balancer["LoadBalancerArn"]], "DefaultActions": [action], "Actions": [action],
        "elbv2.Conditions": [condition], "elbv2.Targets": [{"Id": "10.0.0.77"}],
        "cluster": "probe", "clusters": [cluster], "clusterName": "probe", "service": "probe", "services": ["probe"],
        "serviceName": "probe-2", "taskDefinition": definition, "family": "probe", "containerDefinitions": [container],
        "networkConfiguration": network, "ecs.resourceArn": cluster, "launchType": "FARGATE",
        "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512",
        "repositoryName": "probe", "repositoryNames": ["probe"],
        "ecr.resourceArn": f"arn:aws:ecr:us-east-1:000000000000:repository/probe",
        "logGroupName": "probe", "logStreamName": "probe", "logs.resourceArn": "arn:aws:logs:us-east-1:000000000000:log-group:probe",
        "Namespace": "Probe", "ServiceNamespace": "ecs", "ResourceId": "service/probe/probe",
        "ScalableDimension": "ecs:service:DesiredCount", "MinCapacity": 0, "MaxCapacity": 2,
    }
