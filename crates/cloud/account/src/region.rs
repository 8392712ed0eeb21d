//! The account's Regions.

use pileus_aws::account::{
    GetRegionOptStatusRequest, GetRegionOptStatusResponse, ListRegionsRequest, ListRegionsResponse, Region,
    ops,
};
use pileus_core::{ApiError, paginate};
use pileus_network::zone::REGIONS;
use pileus_service::{Context, Router};

use crate::{check_account, invalid};

const STATUS: &str = "ENABLED_BY_DEFAULT";
const MAX_RESULTS: usize = 50;

pub(crate) fn operations(router: &mut Router) {
    router.on::<ops::ListRegions>(list_regions).on::<ops::GetRegionOptStatus>(get_region_opt_status);
}

fn list_regions(cx: &mut Context, input: ListRegionsRequest) -> Result<ListRegionsResponse, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    let wanted = input.region_opt_status_contains.unwrap_or_default();
    let shown = wanted.is_empty() || wanted.iter().any(|status| status == STATUS);
    let regions: Vec<&str> = REGIONS.iter().copied().filter(|_| shown).collect();
    let limit = input.max_results.and_then(|max| usize::try_from(max).ok()).unwrap_or(MAX_RESULTS);
    let bad_token = || invalid("The NextToken is not one of this operation's.");
    let token = input.next_token.as_deref();
    let (page, next_token) = paginate(regions, |region| (*region).to_owned(), token, limit, bad_token)?;
    let region = |name: &str| Region {
        region_name: Some(name.to_owned()),
        region_opt_status: Some(STATUS.to_owned()),
    };
    Ok(ListRegionsResponse { next_token, regions: Some(page.into_iter().map(region).collect()) })
}

fn get_region_opt_status(
    cx: &mut Context,
    input: GetRegionOptStatusRequest,
) -> Result<GetRegionOptStatusResponse, ApiError> {
    check_account(cx, input.account_id.as_deref())?;
    if !REGIONS.contains(&input.region_name.as_str()) {
        return Err(invalid(format!("The Region {} is not one of this account's.", input.region_name)));
    }
    Ok(GetRegionOptStatusResponse {
        region_name: Some(input.region_name),
        region_opt_status: Some(STATUS.to_owned()),
    })
}
