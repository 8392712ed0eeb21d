//! The account's settings.
//!
//! Their one member says when events of an expiry begin; there is no EventBridge here that would carry them.

use pileus_aws::acm::{
    ExpiryEventsConfiguration, GetAccountConfigurationResponse, PutAccountConfigurationRequest, ops,
};
use pileus_core::ApiError;
use pileus_model::Unit;
use pileus_service::{Context, Router};
use pileus_state::Record;
use serde::{Deserialize, Serialize};

use crate::record::invalid;

const DEFAULT_DAYS: i64 = 45;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    days_before_expiry: i64,
}

impl Configuration {
    const KEY: &str = "configuration";
}

impl Record for Configuration {
    const KIND: &'static str = "acm/configuration";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::GetAccountConfiguration>(|cx, _| Ok(get_account_configuration(cx)))
        .on::<ops::PutAccountConfiguration>(put_account_configuration);
}

fn get_account_configuration(cx: &Context) -> GetAccountConfigurationResponse {
    let own = cx.tx.get::<Configuration>(Configuration::KEY);
    let days = own.map_or(DEFAULT_DAYS, |own| own.days_before_expiry);
    let expiry_events = Some(ExpiryEventsConfiguration { days_before_expiry: Some(days) });
    GetAccountConfigurationResponse { expiry_events }
}

fn put_account_configuration(
    cx: &mut Context,
    input: PutAccountConfigurationRequest,
) -> Result<Unit, ApiError> {
    let days = input.expiry_events.and_then(|events| events.days_before_expiry).unwrap_or(DEFAULT_DAYS);
    if !(1..=DEFAULT_DAYS).contains(&days) {
        return Err(invalid(format!("DaysBeforeExpiry must be between 1 and {DEFAULT_DAYS}.")));
    }
    cx.tx.put(Configuration { days_before_expiry: days });
    Ok(Unit {})
}
