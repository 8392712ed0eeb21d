# Everything of monitoring that Terraform knows: test_monitoring.py applies, plans and destroys it.
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.0" }
  }
}

provider "aws" {
  default_tags {
    tags = { project = "pileus" }
  }
}

variable "threshold" {
  default = 70
}

resource "aws_sns_topic" "ops" {
  name         = "ops"
  display_name = "Operations"
}
resource "aws_sns_topic_policy" "ops" {
  arn    = aws_sns_topic.ops.arn
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = "cw", Effect = "Allow", Principal = { Service = "cloudwatch.amazonaws.com" }, Action = "sns:Publish", Resource = aws_sns_topic.ops.arn }] })
}
resource "aws_sns_topic" "plain" {
  name = "plain"
}
resource "aws_sns_topic_subscription" "hook" {
  topic_arn = aws_sns_topic.plain.arn
  protocol  = "http"
  endpoint  = "http://127.0.0.1:9/hook"
}
resource "aws_cloudwatch_metric_alarm" "high" {
  alarm_name          = "tf-high"
  namespace           = "AWS/ECS"
  metric_name         = "CPUUtilization"
  statistic           = "Average"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.threshold
  period              = 60
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  dimensions          = { ClusterName = "c", ServiceName = "s" }
  alarm_actions       = [aws_sns_topic.ops.arn]
  alarm_description   = "high"
}
resource "aws_cloudwatch_metric_alarm" "p99" {
  alarm_name                            = "tf-p99"
  namespace                             = "AWS/ApplicationELB"
  metric_name                           = "TargetResponseTime"
  extended_statistic                    = "p99"
  evaluate_low_sample_count_percentiles = "ignore"
  comparison_operator                   = "GreaterThanOrEqualToThreshold"
  threshold                             = 1.5
  period                                = 60
  evaluation_periods                    = 3
  treat_missing_data                    = "notBreaching"
}
resource "aws_cloudwatch_metric_alarm" "math" {
  alarm_name          = "tf-math"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  evaluation_periods  = 1
  metric_query {
    id          = "e1"
    expression  = "m2/m1*100"
    label       = "Error Rate"
    return_data = true
  }
  metric_query {
    id = "m1"
    metric {
      metric_name = "RequestCount"
      namespace   = "AWS/ApplicationELB"
      period      = 60
      stat        = "Sum"
      unit        = "Count"
      dimensions  = { LoadBalancer = "app/web" }
    }
  }
  metric_query {
    id = "m2"
    metric {
      metric_name = "HTTPCode_ELB_5XX_Count"
      namespace   = "AWS/ApplicationELB"
      period      = 60
      stat        = "Sum"
      unit        = "Count"
      dimensions  = { LoadBalancer = "app/web" }
    }
  }
}
resource "aws_cloudwatch_composite_alarm" "both" {
  alarm_name    = "tf-both"
  alarm_rule    = "ALARM(${aws_cloudwatch_metric_alarm.high.alarm_name}) OR ALARM(${aws_cloudwatch_metric_alarm.math.alarm_name})"
  alarm_actions = [aws_sns_topic.ops.arn]
  actions_suppressor {
    alarm            = aws_cloudwatch_metric_alarm.p99.alarm_name
    extension_period = 10
    wait_period      = 20
  }
}
resource "aws_cloudwatch_dashboard" "web" {
  dashboard_name = "web"
  dashboard_body = jsonencode({ widgets = [{ type = "metric", x = 0, y = 0, width = 12, height = 6, properties = { metrics = [["AWS/ECS", "CPUUtilization"]], region = "us-east-1" } }] })
}
resource "aws_cloudwatch_log_group" "app" {
  name              = "/app"
  retention_in_days = 7
}
resource "aws_cloudwatch_log_stream" "s" {
  name           = "s"
  log_group_name = aws_cloudwatch_log_group.app.name
}
resource "aws_cloudwatch_log_metric_filter" "errors" {
  name           = "errors"
  pattern        = "{ $.level = \"error\" }"
  log_group_name = aws_cloudwatch_log_group.app.name
  metric_transformation {
    name          = "Errors"
    namespace     = "App"
    value         = "1"
    default_value = "0"
    unit          = "Count"
  }
}
