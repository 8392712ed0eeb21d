terraform {
  required_providers { aws = { source = "hashicorp/aws" } }
}
provider "aws" {
  region = "us-east-1"
  skip_requesting_account_id = false
  default_tags { tags = { stage = "test" } }
}
variable "port" { default = 80 }
variable "rule_ports" {
  type    = list(number)
  default = [443]
}

resource "aws_vpc" "main" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
}
resource "aws_subnet" "a" {
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.0.1.0/24"
  availability_zone = "us-east-1a"
}
resource "aws_subnet" "b" {
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.0.2.0/24"
  availability_zone = "us-east-1b"
}
resource "aws_internet_gateway" "main" { vpc_id = aws_vpc.main.id }
resource "aws_route_table" "private" { vpc_id = aws_vpc.main.id }
resource "aws_route_table_association" "a" {
  subnet_id      = aws_subnet.a.id
  route_table_id = aws_route_table.private.id
}
resource "aws_route" "out" {
  route_table_id         = aws_route_table.private.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}
resource "aws_route_table" "listed" { vpc_id = aws_vpc.main.id }
data "aws_prefix_list" "s3" { name = "com.amazonaws.us-east-1.s3" }
data "aws_ec2_managed_prefix_list" "s3" { name = "com.amazonaws.us-east-1.s3" }
resource "aws_route" "listed" {
  route_table_id             = aws_route_table.listed.id
  destination_prefix_list_id = data.aws_prefix_list.s3.id
  gateway_id                 = aws_internet_gateway.main.id
}
resource "aws_default_route_table" "main" {
  default_route_table_id = aws_vpc.main.default_route_table_id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.main.id
  }
}
resource "aws_security_group" "doors" {
  name   = "doors"
  vpc_id = aws_vpc.main.id
  ingress {
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = [aws_vpc.main.cidr_block]
  }
  egress {
    from_port       = 443
    to_port         = 443
    protocol        = "tcp"
    prefix_list_ids = [data.aws_prefix_list.s3.id]
  }
}
resource "aws_security_group" "loose" {
  name   = "loose"
  vpc_id = aws_vpc.main.id
}
resource "aws_security_group_rule" "cidr" {
  for_each          = toset([for port in var.rule_ports : tostring(port)])
  security_group_id = aws_security_group.loose.id
  type              = "ingress"
  from_port         = each.value
  to_port           = each.value
  protocol          = "tcp"
  cidr_blocks       = ["10.0.0.0/8"]
}
resource "aws_security_group_rule" "list" {
  security_group_id = aws_security_group.loose.id
  type              = "egress"
  from_port         = 443
  to_port           = 443
  protocol          = "tcp"
  prefix_list_ids   = [data.aws_ec2_managed_prefix_list.s3.id]
}
resource "aws_vpc_security_group_ingress_rule" "cidr" {
  security_group_id = aws_security_group.loose.id
  cidr_ipv4         = "10.1.0.0/16"
  ip_protocol       = "tcp"
  from_port         = var.port
  to_port           = var.port
}
resource "aws_vpc_security_group_ingress_rule" "group" {
  security_group_id            = aws_security_group.loose.id
  referenced_security_group_id = aws_security_group.doors.id
  ip_protocol                  = "-1"
}
resource "aws_vpc_security_group_egress_rule" "list" {
  security_group_id = aws_security_group.loose.id
  prefix_list_id    = data.aws_prefix_list.s3.id
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}
resource "aws_default_security_group" "main" {
  vpc_id = aws_vpc.main.id
  ingress {
    protocol  = -1
    self      = true
    from_port = 0
    to_port   = 0
  }
}
resource "aws_default_network_acl" "main" {
  default_network_acl_id = aws_vpc.main.default_network_acl_id
  subnet_ids             = [aws_subnet.a.id]
  ingress {
    protocol   = -1
    rule_no    = 100
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }
  egress {
    protocol   = -1
    rule_no    = 100
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }
}
resource "aws_network_acl" "own" {
  vpc_id     = aws_vpc.main.id
  subnet_ids = [aws_subnet.b.id]
  ingress {
    protocol   = "tcp"
    rule_no    = 100
    action     = "allow"
    cidr_block = "10.0.0.0/8"
    from_port  = var.port
    to_port    = var.port
  }
  egress {
    protocol   = "icmp"
    rule_no    = 200
    action     = "deny"
    cidr_block = "0.0.0.0/0"
    icmp_type  = 8
    icmp_code  = -1
    from_port  = 0
    to_port    = 0
  }
}
resource "aws_network_acl" "bare" { vpc_id = aws_vpc.main.id }
resource "aws_network_acl_rule" "own" {
  network_acl_id = aws_network_acl.bare.id
  rule_number    = 150
  egress         = false
  protocol       = "tcp"
  rule_action    = "allow"
  cidr_block     = "10.0.0.0/8"
  from_port      = var.port
  to_port        = var.port
}
resource "aws_network_interface" "own" {
  subnet_id       = aws_subnet.b.id
  security_groups = [aws_security_group.loose.id]
  description     = "own"
}
resource "aws_eip" "own" { domain = "vpc" }
resource "aws_eip_association" "own" {
  allocation_id        = aws_eip.own.id
  network_interface_id = aws_network_interface.own.id
  depends_on           = [aws_internet_gateway.main]
}
resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.main.id
  service_name    = "com.amazonaws.us-east-1.s3"
  route_table_ids = [aws_route_table.private.id]
  tags            = { Name = "s3" }
}
resource "aws_vpc_endpoint" "api" {
  for_each            = toset(["ecr.api", "ecr.dkr", "secretsmanager", "logs"])
  vpc_id              = aws_vpc.main.id
  service_name        = "com.amazonaws.us-east-1.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = [aws_subnet.a.id, aws_subnet.b.id]
  security_group_ids  = [aws_security_group.doors.id]
  private_dns_enabled = true
}
resource "aws_vpc_endpoint" "plain" {
  vpc_id            = aws_vpc.main.id
  service_name      = "com.amazonaws.us-east-1.sts"
  vpc_endpoint_type = "Interface"
}
resource "aws_vpc_endpoint_policy" "sts" {
  vpc_endpoint_id = aws_vpc_endpoint.plain.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = "*", Action = "sts:*", Resource = "*" }]
  })
}
resource "aws_vpc_endpoint" "ssm" {
  vpc_id            = aws_vpc.main.id
  service_name      = "com.amazonaws.us-east-1.ssm"
  vpc_endpoint_type = "Interface"
}
resource "aws_vpc_endpoint_subnet_association" "ssm" {
  vpc_endpoint_id = aws_vpc_endpoint.ssm.id
  subnet_id       = aws_subnet.a.id
}
resource "aws_vpc_endpoint_security_group_association" "ssm" {
  vpc_endpoint_id   = aws_vpc_endpoint.ssm.id
  security_group_id = aws_security_group.loose.id
}
resource "aws_vpc_endpoint" "late" {
  vpc_id       = aws_vpc.main.id
  service_name = "com.amazonaws.us-east-1.s3"
}
resource "aws_route_table" "late" { vpc_id = aws_vpc.main.id }
resource "aws_vpc_endpoint_route_table_association" "late" {
  vpc_endpoint_id = aws_vpc_endpoint.late.id
  route_table_id  = aws_route_table.late.id
}
data "aws_vpc_endpoint_service" "s3" {
  service      = "s3"
  service_type = "Gateway"
}
output "s3" { value = aws_vpc_endpoint.s3.cidr_blocks }
