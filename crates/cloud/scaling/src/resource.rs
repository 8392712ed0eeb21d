//! What is scaled: the desired count of an ECS service. Every other namespace of the API is refused by name.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/services-that-can-integrate-ecs.html>

use pileus_core::{ApiError, Scope};

pub(crate) const NAMESPACE: &str = "ecs";
pub(crate) const DIMENSION: &str = "ecs:service:DesiredCount";

/// The service principal of the role by which AWS scales ECS services.
pub(crate) const PRINCIPAL: &str = "ecs.application-autoscaling.amazonaws.com";

/// An ECS service, as this API names it: `service/<cluster>/<service>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resource<'a> {
    pub(crate) id: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) service: &'a str,
}

impl<'a> Resource<'a> {
    /// # Errors
    /// AWS's answer to a namespace, dimension or resource that do not belong together.
    pub(crate) fn read(namespace: &str, id: &'a str, dimension: &str) -> Result<Self, ApiError> {
        check_namespace(namespace, Some(dimension))?;
        Self::parse(id)
            .ok_or_else(|| invalid("Unsupported service namespace, resource type or scalable dimension"))
    }

    pub(crate) fn parse(id: &'a str) -> Option<Self> {
        let (cluster, service) = id.strip_prefix("service/")?.split_once('/')?;
        let named = !cluster.is_empty() && !service.is_empty() && !service.contains('/');
        named.then_some(Self { id, cluster, service })
    }

    /// As error messages name it.
    pub(crate) fn described(&self) -> String {
        format!("service namespace: {NAMESPACE}, resource ID: {}, scalable dimension: {DIMENSION}", self.id)
    }
}

/// # Errors
/// The namespace, or the dimension if there is one, is not that of ECS services.
pub(crate) fn check_namespace(namespace: &str, dimension: Option<&str>) -> Result<(), ApiError> {
    if namespace != NAMESPACE {
        return Err(invalid(format!(
            "Unsupported service namespace, resource type or scalable dimension: Pileus does not scale {namespace}, only ecs"
        )));
    }
    match dimension {
        None | Some(DIMENSION) => Ok(()),
        Some(_) => Err(invalid("Unsupported service namespace, resource type or scalable dimension")),
    }
}

/// The ARN of that role.
pub(crate) fn service_linked_role(scope: &Scope) -> String {
    let role = "AWSServiceRoleForApplicationAutoScaling_ECSService";
    scope.global().arn("iam", format_args!("role/aws-service-role/{PRINCIPAL}/{role}"))
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationException", message)
}

pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::client("ObjectNotFoundException", message)
}

pub(crate) fn bad_token() -> ApiError {
    ApiError::client("InvalidNextTokenException", "The specified next token is invalid.")
}

pub(crate) fn too_many(message: impl Into<String>) -> ApiError {
    ApiError::client("LimitExceededException", message)
}

/// The size of a page: 1 to 50, which is also the default.
///
/// # Errors
/// Another number.
pub(crate) fn page_size(asked: Option<i64>) -> Result<usize, ApiError> {
    match asked {
        None => Ok(50),
        Some(size @ 1..=50) => Ok(size as usize),
        Some(_) => Err(invalid("Max results must be between 1 and 50")),
    }
}
