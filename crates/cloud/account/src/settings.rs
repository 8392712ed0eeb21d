//! What is kept of an account, and its name.

use std::collections::BTreeMap;

use pileus_aws::account::{
    AlternateContact, ContactInformation, GetAccountInformationRequest, GetAccountInformationResponse,
    PutAccountNameRequest, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::Record;
use serde::{Deserialize, Serialize};

use crate::check_account;

/// An account's name until it is given one.
const DEFAULT_NAME: &str = "Pileus";

/// One in the global scope of each account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) contact: Option<ContactInformation>,
    /// By type.
    pub(crate) alternates: BTreeMap<String, AlternateContact>,
}

impl Record for Settings {
    const KIND: &'static str = "account/settings";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

impl Settings {
    const KEY: &str = "settings";

    pub(crate) fn of(cx: &mut Context) -> Self {
        let found = cx.tx.within(cx.scope().global(), |tx| tx.get::<Self>(Self::KEY));
        found.map(|settings| Self::clone(&settings)).unwrap_or_default()
    }

    pub(crate) fn keep(self, cx: &mut Context) {
        cx.tx.within(cx.scope().global(), |tx| tx.put(self));
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::GetAccountInformation>(get_account_information)
        .on::<ops::PutAccountName>(put_account_name);
}

fn get_account_information(
    cx: &mut Context,
    input: GetAccountInformationRequest,
) -> Result<GetAccountInformationResponse, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    Ok(GetAccountInformationResponse {
        account_id: Some(cx.scope().account.clone()),
        account_name: Some(Settings::of(cx).name.unwrap_or_else(|| DEFAULT_NAME.into())),
        account_state: Some("ACTIVE".into()),
        ..GetAccountInformationResponse::default()
    })
}

fn put_account_name(cx: &mut Context, input: PutAccountNameRequest) -> Result<Unit, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    Settings { name: Some(input.account_name), ..Settings::of(cx) }.keep(cx);
    Ok(Unit {})
}
