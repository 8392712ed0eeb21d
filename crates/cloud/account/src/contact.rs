//! The account's contacts.

use pileus_aws::account::{
    AlternateContact, DeleteAlternateContactRequest, GetAlternateContactRequest, GetAlternateContactResponse,
    GetContactInformationRequest, GetContactInformationResponse, PutAlternateContactRequest,
    PutContactInformationRequest, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};

use crate::settings::Settings;
use crate::{check_account, not_found};

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::GetContactInformation>(get_contact_information)
        .on::<ops::PutContactInformation>(put_contact_information)
        .on::<ops::GetAlternateContact>(get_alternate_contact)
        .on::<ops::PutAlternateContact>(put_alternate_contact)
        .on::<ops::DeleteAlternateContact>(delete_alternate_contact);
}

fn get_contact_information(
    cx: &mut Context,
    input: GetContactInformationRequest,
) -> Result<GetContactInformationResponse, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    let contact = Settings::of(cx).contact;
    let contact = contact.ok_or_else(|| not_found("No contact information found for this account."))?;
    Ok(GetContactInformationResponse { contact_information: Some(contact) })
}

fn put_contact_information(cx: &mut Context, input: PutContactInformationRequest) -> Result<Unit, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    Settings { contact: Some(input.contact_information), ..Settings::of(cx) }.keep(cx);
    Ok(Unit {})
}

fn no_alternate() -> ApiError {
    not_found("No contact of the inputted alternate contact type found.")
}

fn get_alternate_contact(
    cx: &mut Context,
    input: GetAlternateContactRequest,
) -> Result<GetAlternateContactResponse, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    let contact = Settings::of(cx).alternates.remove(&input.alternate_contact_type);
    Ok(GetAlternateContactResponse { alternate_contact: Some(contact.ok_or_else(no_alternate)?) })
}

fn put_alternate_contact(cx: &mut Context, input: PutAlternateContactRequest) -> Result<Unit, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    let mut settings = Settings::of(cx);
    let contact = AlternateContact {
        name: Some(input.name),
        title: Some(input.title),
        email_address: Some(input.email_address),
        phone_number: Some(input.phone_number),
        alternate_contact_type: Some(input.alternate_contact_type.clone()),
    };
    settings.alternates.insert(input.alternate_contact_type, contact);
    settings.keep(cx);
    Ok(Unit {})
}

fn delete_alternate_contact(
    cx: &mut Context,
    input: DeleteAlternateContactRequest,
) -> Result<Unit, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    let mut settings = Settings::of(cx);
    settings.alternates.remove(&input.alternate_contact_type).ok_or_else(no_alternate)?;
    settings.keep(cx);
    Ok(Unit {})
}
