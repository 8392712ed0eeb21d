//! Secrets read as parameters: `/aws/reference/secretsmanager/NAME`.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/integration-ps-secretsmanager.html>

use pileus_aws::ssm::Parameter as Shape;
use pileus_core::ApiError;
use pileus_service::Context;

use super::invalid;
use super::put::SECURE;
use super::record::{arn, not_found};
use crate::access;
use crate::secret::record::{Content, content, find_live};

const PREFIX: &str = "/aws/reference/secretsmanager/";

/// The secret that a parameter's name stands for; `None` where it is a parameter's own.
pub(super) fn read(cx: &Context, name: &str, decrypt: bool) -> Option<Result<Shape, ApiError>> {
    name.strip_prefix(PREFIX).map(|id| read_secret(cx, name, id, decrypt))
}

fn read_secret(cx: &Context, name: &str, id: &str, decrypt: bool) -> Result<Shape, ApiError> {
    if !decrypt {
        return Err(invalid("WithDecryption flag must be True for retrieving a Secret Manager secret."));
    }
    let (id, selector) = id.split_once(':').map_or((id, None), |(id, selector)| (id, Some(selector)));
    let secret = find_live(cx.tx, id, cx.now).map_err(|_| not_found(name))?;
    access::to_secret(cx.tx, cx.caller, "GetSecretValue", &secret, None)?;
    // What follows the colon is a version's id, or a label.
    let by_id = selector.filter(|selector| secret.version(selector).is_some());
    let version = secret.choose(by_id, selector.filter(|_| by_id.is_none())).map_err(|_| not_found(name))?;
    let Content::String(value) = content(cx.tx, &secret.name, &version.id)? else {
        return Err(invalid("A secret with a binary value cannot be read as a parameter."));
    };
    Ok(Shape {
        name: Some(name.to_owned()),
        r#type: Some(SECURE.into()),
        value: Some(value.reveal().to_owned()),
        version: Some(0),
        last_modified_date: Some(version.created),
        arn: Some(arn(cx.scope(), name)),
        data_type: Some("text".into()),
        ..Shape::default()
    })
}
