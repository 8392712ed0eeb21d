"""The network's resources that the reference architecture has not, in Terraform: applied, changed, and gone."""

import pathlib
import shutil

import pytest

from terraform import Terraform, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"NO TERRAFORM HERE: {missing()}")


def test_endpoints_acls_rules_and_defaults(engine, tmp_path):
    directory = tmp_path / "network"
    shutil.copytree(pathlib.Path(__file__).parent / "terraform_network", directory)
    terraform = Terraform(directory, engine)
    terraform.apply()
    terraform.assert_no_drift()
    ec2 = engine.client("ec2")
    assert {item["State"] for item in ec2.describe_vpc_endpoints()["VpcEndpoints"]} == {"available"}
    changed = {"port": 8080, "rule_ports": "[443,8443]"}
    terraform.apply(**changed)
    terraform.assert_no_drift(**changed)
    [rule] = [rule for rule in ec2.describe_security_group_rules()["SecurityGroupRules"] if rule.get("CidrIpv4") == "10.1.0.0/16"]
    assert rule["FromPort"] == 8080
    terraform.destroy(**changed)
    assert ec2.describe_vpcs()["Vpcs"] == []
    assert ec2.describe_vpc_endpoints()["VpcEndpoints"] == []
