//! What AWS's users can have and Pileus's cannot: passwords for a console, MFA devices, SSH keys, certificates. Nothing
//! makes them, so these answers are true; clients ask before they delete a user.

use pileus_aws::iam::{
    DeleteLoginProfileRequest, GetLoginProfileRequest, GetLoginProfileResponse, ListMFADevicesRequest,
    ListMFADevicesResponse, ListSSHPublicKeysRequest, ListSSHPublicKeysResponse,
    ListServiceSpecificCredentialsRequest, ListServiceSpecificCredentialsResponse,
    ListSigningCertificatesRequest, ListSigningCertificatesResponse, ListVirtualMFADevicesRequest,
    ListVirtualMFADevicesResponse, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};

use super::{User, own_name};
use crate::global::globally;
use crate::grants::Grantee as _;
use crate::text::no_such_entity;

pub(super) fn operations(router: &mut Router) {
    router
        .on::<ops::GetLoginProfile>(|cx, input| globally(cx, |cx| get_login_profile(cx, input)))
        .on::<ops::DeleteLoginProfile>(|cx, input| globally(cx, |cx| delete_login_profile(cx, input)))
        .on::<ops::ListMFADevices>(|cx, input| globally(cx, |cx| list_mfa_devices(cx, input)))
        .on::<ops::ListVirtualMFADevices>(list_virtual_mfa_devices)
        .on::<ops::ListSSHPublicKeys>(|cx, input| globally(cx, |cx| list_ssh_public_keys(cx, input)))
        .on::<ops::ListSigningCertificates>(|cx, input| {
            globally(cx, |cx| list_signing_certificates(cx, input))
        })
        .on::<ops::ListServiceSpecificCredentials>(|cx, input| {
            globally(cx, |cx| list_service_specific_credentials(cx, input))
        });
}

fn check_user(cx: &Context, given: Option<String>) -> Result<String, ApiError> {
    let name = own_name(cx, given)?;
    User::named(cx.tx, &name)?;
    Ok(name)
}

fn no_login_profile(name: &str) -> ApiError {
    no_such_entity(format!("Login Profile for User {name} cannot be found."))
}

fn get_login_profile(
    cx: &mut Context,
    input: GetLoginProfileRequest,
) -> Result<GetLoginProfileResponse, ApiError> {
    Err(no_login_profile(&check_user(cx, input.user_name)?))
}

fn delete_login_profile(cx: &mut Context, input: DeleteLoginProfileRequest) -> Result<Unit, ApiError> {
    Err(no_login_profile(&check_user(cx, input.user_name)?))
}

fn list_mfa_devices(
    cx: &mut Context,
    input: ListMFADevicesRequest,
) -> Result<ListMFADevicesResponse, ApiError> {
    check_user(cx, input.user_name)?;
    Ok(ListMFADevicesResponse { mfa_devices: Some(Vec::new()), is_truncated: Some(false), marker: None })
}

fn list_virtual_mfa_devices(
    _: &mut Context,
    _: ListVirtualMFADevicesRequest,
) -> Result<ListVirtualMFADevicesResponse, ApiError> {
    Ok(ListVirtualMFADevicesResponse {
        virtual_mfa_devices: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    })
}

fn list_ssh_public_keys(
    cx: &mut Context,
    input: ListSSHPublicKeysRequest,
) -> Result<ListSSHPublicKeysResponse, ApiError> {
    check_user(cx, input.user_name)?;
    Ok(ListSSHPublicKeysResponse {
        ssh_public_keys: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    })
}

fn list_signing_certificates(
    cx: &mut Context,
    input: ListSigningCertificatesRequest,
) -> Result<ListSigningCertificatesResponse, ApiError> {
    check_user(cx, input.user_name)?;
    Ok(ListSigningCertificatesResponse {
        certificates: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    })
}

fn list_service_specific_credentials(
    cx: &mut Context,
    input: ListServiceSpecificCredentialsRequest,
) -> Result<ListServiceSpecificCredentialsResponse, ApiError> {
    check_user(cx, input.user_name)?;
    Ok(ListServiceSpecificCredentialsResponse {
        service_specific_credentials: Some(Vec::new()),
        ..Default::default()
    })
}
