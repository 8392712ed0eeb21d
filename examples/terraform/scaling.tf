# Between two and ten tasks: by tracking 70 % CPU, and by steps as alarms give them.

resource "aws_appautoscaling_target" "app" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.main.name}/${aws_ecs_service.app.name}"
  min_capacity       = var.minimum
  max_capacity       = var.maximum
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.name}-cpu-70"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.app.service_namespace
  scalable_dimension = aws_appautoscaling_target.app.scalable_dimension
  resource_id        = aws_appautoscaling_target.app.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 70
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

locals {
  # One task more above 70 % for two minutes, one less below 50 % for five.
  steps = {
    out = { adjustment = 1, comparison = "GreaterThanThreshold", threshold = 70, minutes = 2, cooldown = 60 }
    in  = { adjustment = -1, comparison = "LessThanThreshold", threshold = 50, minutes = 5, cooldown = 300 }
  }
}

resource "aws_appautoscaling_policy" "step" {
  for_each           = local.steps
  name               = "${var.name}-step-${each.key}"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.app.service_namespace
  scalable_dimension = aws_appautoscaling_target.app.scalable_dimension
  resource_id        = aws_appautoscaling_target.app.resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Average"
    cooldown                = each.value.cooldown

    step_adjustment {
      metric_interval_lower_bound = each.key == "out" ? "0" : null
      metric_interval_upper_bound = each.key == "in" ? "0" : null
      scaling_adjustment          = each.value.adjustment
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "cpu" {
  for_each            = local.steps
  alarm_name          = "${var.name}-cpu-${each.key}"
  alarm_description   = "CPU of the service's tasks"
  namespace           = "AWS/ECS"
  metric_name         = "CPUUtilization"
  statistic           = "Average"
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  alarm_actions       = [aws_appautoscaling_policy.step[each.key].arn]

  dimensions = {
    ClusterName = aws_ecs_cluster.main.name
    ServiceName = aws_ecs_service.app.name
  }
}
