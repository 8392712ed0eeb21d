terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }
}

# On Pileus: AWS_ENDPOINT_URL=http://localhost:4566, AWS_ACCESS_KEY_ID=test, AWS_SECRET_ACCESS_KEY=test. On AWS: your own credentials.
provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project   = var.name
      ManagedBy = "terraform"
    }
  }
}
