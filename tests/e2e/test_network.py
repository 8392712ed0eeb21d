"""The firewall, the balancer and the limits are those of the kernel, not of a record."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess

from engine import http_get, wait_for


def connect_from(namespace, address, port, timeout=3):
    """Whether a TCP connection opens from within an interface's namespace: "open", "refused" or "silent"."""
    program = (
        "import socket,sys\n"
        "try:\n socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])); print('open')\n"
        "except ConnectionRefusedError: print('refused')\n"
        "except OSError: print('silent')\n")
    command = ["nsenter", f"--net={namespace}", "python3", "-c", program, address, str(port), str(timeout)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def interfaces(engine):
    """Network namespaces by private address."""
    found = engine.client("ec2").describe_network_interfaces()["NetworkInterfaces"]
    return {item["PrivateIpAddress"]: (engine.run / "netns" / item["NetworkInterfaceId"], item) for item in found}


def addresses(engine):
    return [task["address"] for task in engine.status_of_shared()["tasks"]]


def test_a_task_answers_the_load_balancer_and_nobody_else(deployed):
    first, second = addresses(deployed)
    spaces = interfaces(deployed)
    route = subprocess.run(["ip", "-o", "route", "get", first], capture_output=True, text=True).stdout
    assert deployed.instance not in route, f"the host has no way into the VPC: {route}"
    assert connect_from(spaces[second][0], first, 3000) == "silent", "from another task"
    balancers = [space for space, item in spaces.values() if item["Description"].startswith("ELB ")]
    assert [connect_from(space, first, 3000) for space in balancers] == ["open", "open"], "from the load balancer"
    assert [connect_from(space, first, 3001) for space in balancers] == ["silent", "silent"], "another port"


def test_rules_take_effect_at_once_and_go_again(deployed):
    ec2 = deployed.client("ec2")
    first, second = addresses(deployed)
    space = interfaces(deployed)[second][0]
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["shared-tasks"]}])["SecurityGroups"][0]
    rule = [{"IpProtocol": "tcp", "FromPort": 3000, "ToPort": 3000, "UserIdGroupPairs": [{"GroupId": group["GroupId"]}]}]
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rule)
    wait_for(lambda: connect_from(space, first, 3000) == "open", "the new rule")
    ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rule)
    wait_for(lambda: connect_from(space, first, 3000, timeout=1) == "silent", "the rule's end")


def test_a_task_goes_out_by_its_nat_gateway(deployed):
    """A listener on the host, outside the VPC, sees the gateway's public address."""
    first, _ = addresses(deployed)
    space, item = interfaces(deployed)[first]
    gateways = deployed.client("ec2").describe_nat_gateways()["NatGateways"]
    subnets = {subnet["SubnetId"]: subnet for subnet in deployed.client("ec2").describe_subnets()["Subnets"]}
    zone = subnets[item["SubnetId"]]["AvailabilityZone"]
    expected = {gateway["NatGatewayAddresses"][0]["PublicIp"] for gateway in gateways
                if subnets[gateway["SubnetId"]]["AvailabilityZone"] == zone}
    host = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()[0]
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen()
        listener.settimeout(20)
        assert connect_from(space, host, listener.getsockname()[1]) == "open"
        _, (source, _) = listener.accept()
    assert {source} == expected


def resolve_from(namespace, name, resolver="10.0.0.2"):
    """The address that a UDP query for an A record gets from within an interface's namespace, else its answer in hex."""
    program = (
        "import socket,sys\n"
        "labels = b''.join(bytes([len(part)]) + part.encode() for part in sys.argv[1].split('.'))\n"
        "query = bytes.fromhex('0007 0100 0001 0000 0000 0000') + labels + bytes.fromhex('00 0001 0001')\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:\n"
        " client.settimeout(3); client.connect((sys.argv[2], 53)); client.send(query); answer = client.recv(512)\n"
        "one = answer[6:8] == b'\\0\\1'\n"
        "print(socket.inet_ntoa(answer[-4:]) if one else answer.hex())\n")
    command = ["nsenter", f"--net={namespace}", "python3", "-c", program, name, resolver]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_tasks_resolve_each_other_with_and_without_an_engine(deployed):
    first, second = addresses(deployed)
    space = interfaces(deployed)[second][0]
    name = f"ip-{first.replace('.', '-')}.ec2.internal"
    assert resolve_from(space, name) == first
    [resolver] = deployed.processes("resolver")
    deployed.kill()
    try:
        assert resolve_from(space, name) == first, "without an engine"
    finally:
        deployed.cli("start")
    assert resolve_from(space, name) == first
    assert deployed.processes("resolver") == [resolver], "the new engine found it"
    os.kill(resolver, signal.SIGKILL)
    wait_for(lambda: deployed.processes("resolver") not in ([], [resolver]), "another resolver")

    def resolved():
        with contextlib.suppress(subprocess.CalledProcessError):
            return resolve_from(space, name) == first

    wait_for(resolved, "an answer of the new one")


def test_limits_are_enforced_by_the_kernel(deployed):
    base = pathlib.Path("/sys/fs/cgroup")
    tasks = [task["id"] for task in deployed.status_of_shared()["tasks"]]
    group = f"pileus-{deployed.instance}"
    for task in tasks:
        if (base / "cgroup.controllers").exists():
            assert (base / group / task / "cpu.max").read_text().split() == ["25000", "100000"]
            assert int((base / group / task / "memory.max").read_text()) == 512 << 20
        else:
            assert int((base / "cpu" / group / task / "cpu.cfs_quota_us").read_text()) == 25_000
            assert int((base / "memory" / group / task / "memory.limit_in_bytes").read_text()) == 512 << 20


def test_requests_carry_what_an_alb_adds(deployed):
    url = deployed.status_of_shared()["url"]
    seen = json.loads(http_get(url.rstrip("/") + "/headers", headers={"X-Forwarded-For": "203.0.113.7"})[1])
    headers = seen["headers"]
    assert headers["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", "80")
    assert headers["x-amzn-trace-id"].startswith("Root=1-")
    assert seen["peer"].removeprefix("::ffff:") in interfaces(deployed), "the request comes from the balancer's interface"


def test_bodies_stream_both_ways(deployed):
    url = deployed.status_of_shared()["url"]
    host = url.split("://", 1)[1].strip("/")
    size = 8 << 20
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=60) as client:
        client.sendall(f"POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode())
        client.sendall(b"first")
        stream = client.makefile("rb")
        while stream.readline() not in (b"\r\n", b""):
            pass
        assert stream.read1(16).strip(), "the answer begins before the request has ended"
        client.sendall(bytes(size - 5))
        received = sum(len(part) for part in iter(lambda: stream.read1(1 << 16), b""))
    assert received >= size - 16
