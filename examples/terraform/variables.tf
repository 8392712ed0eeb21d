variable "name" {
  description = "The name of the application, and of what belongs to it."
  type        = string
  default     = "mashroom"
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "cidr" {
  description = "The addresses of the VPC."
  type        = string
  default     = "10.0.0.0/16"
}

variable "image_tag" {
  description = "The tag of the image in the repository that this configuration makes."
  type        = string
  default     = "v1"
}

variable "port" {
  description = "Where the application listens."
  type        = number
  default     = 3000
}

variable "health_check_path" {
  type    = string
  default = "/health"
}

variable "health_check_interval" {
  description = "Seconds between two health checks of a target."
  type        = number
  default     = 30
}

variable "deregistration_delay" {
  description = "Seconds that a target is drained before its task is stopped."
  type        = number
  default     = 30
}

variable "ingress_cidr" {
  description = "Who may reach the load balancer."
  type        = string
  default     = "0.0.0.0/0"
}

variable "minimum" {
  description = "The fewest tasks."
  type        = number
  default     = 2
}

variable "maximum" {
  description = "The most tasks."
  type        = number
  default     = 10
}

variable "session_key" {
  description = "What the application signs its sessions with. On AWS give your own: TF_VAR_session_key."
  type        = string
  sensitive   = true
  default     = "only-for-rehearsals"
}
