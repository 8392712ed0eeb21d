//! Deleting parameters.

use pileus_aws::ssm::{
    DeleteParameterRequest, DeleteParameterResult, DeleteParametersRequest, DeleteParametersResult, ops,
};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::record::{Parameter, find, not_found};

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::DeleteParameter>(delete_parameter).on::<ops::DeleteParameters>(delete_parameters);
}

fn delete(cx: &mut Context, name: &str) -> Result<(), ApiError> {
    let found = find(cx.tx, name);
    let parameter = found.ok_or_else(|| not_found(name))?;
    cx.tx.delete::<Parameter>(&parameter.name);
    Ok(())
}

fn delete_parameter(
    cx: &mut Context,
    input: DeleteParameterRequest,
) -> Result<DeleteParameterResult, ApiError> {
    delete(cx, &input.name)?;
    Ok(DeleteParameterResult {})
}

fn delete_parameters(
    cx: &mut Context,
    input: DeleteParametersRequest,
) -> Result<DeleteParametersResult, ApiError> {
    let (mut deleted, mut invalid) = (Vec::new(), Vec::new());
    for name in input.names {
        match delete(cx, &name) {
            Ok(()) => deleted.push(name),
            Err(_) => invalid.push(name),
        }
    }
    Ok(DeleteParametersResult { deleted_parameters: Some(deleted), invalid_parameters: Some(invalid) })
}
