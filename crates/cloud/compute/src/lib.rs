//! ECS on Fargate.

pub mod machine;
mod neighbours;
mod reconcile;
mod service;
mod task;
mod task_definition;
