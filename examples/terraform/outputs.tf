output "url" {
  value = "http://${aws_lb.main.dns_name}"
}

output "repository" {
  description = "Where to push the image to."
  value       = aws_ecr_repository.app.repository_url
}

output "cluster" {
  value = aws_ecs_cluster.main.name
}

output "service" {
  value = aws_ecs_service.app.name
}
