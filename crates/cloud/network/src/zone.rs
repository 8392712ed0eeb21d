//! Regions and availability zones. Every region has the zones `a`, `b` and `c`; a zone is a property of subnets.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-regions-availability-zones.html>

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use crate::resource::invalid;
use crate::select::{matches_any, parts, unknown};

/// An availability zone: its name in the region (`us-east-1a`) and the id that is the same for every account
/// (`use1-az1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    pub name: String,
    pub id: String,
}

/// The zones of a region.
pub fn zones(region: &str) -> Vec<Zone> {
    let short = short_name(region);
    let zones = ["a", "b", "c"].iter().zip(1..);
    zones
        .map(|(letter, n)| Zone { name: format!("{region}{letter}"), id: format!("{short}-az{n}") })
        .collect()
}

/// The id of a zone that is known by name.
pub fn id_of(region: &str, name: &str) -> Option<String> {
    zones(region).into_iter().find(|zone| zone.name == name).map(|zone| zone.id)
}

/// `us-east-1` is `use1`, `ap-northeast-1` is `apne1`.
fn short_name(region: &str) -> String {
    let mut short = String::new();
    for (index, part) in region.split('-').enumerate() {
        match part {
            _ if index == 0 => short.push_str(part),
            "northeast" => short.push_str("ne"),
            "northwest" => short.push_str("nw"),
            "southeast" => short.push_str("se"),
            "southwest" => short.push_str("sw"),
            _ if part.starts_with(|first: char| first.is_ascii_digit()) => short.push_str(part),
            _ => short.extend(part.chars().next()),
        }
    }
    short
}

/// The regions that every AWS account has without opting in.
pub const REGIONS: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

const NO_OPT_IN: &str = "opt-in-not-required";

pub fn operations(router: &mut Router) {
    router
        .on::<ec2::ops::DescribeAvailabilityZones>(describe_availability_zones)
        .on::<ec2::ops::DescribeRegions>(describe_regions);
}

fn describe_availability_zones(
    cx: &mut Context,
    input: ec2::DescribeAvailabilityZonesRequest,
) -> Result<ec2::DescribeAvailabilityZonesResult, ApiError> {
    let region = &cx.scope().region;
    let mut chosen = zones(region);
    choose(&mut chosen, input.zone_names.as_deref(), "availability zone", |zone| &zone.name)?;
    choose(&mut chosen, input.zone_ids.as_deref(), "availability zone id", |zone| &zone.id)?;
    for filter in input.filters.iter().flatten() {
        let (name, patterns) = parts(filter)?;
        let value: fn(&Zone, &str) -> String = match name {
            "zone-name" => |zone, _| zone.name.clone(),
            "zone-id" => |zone, _| zone.id.clone(),
            "region-name" | "group-name" => |_, region| region.to_owned(),
            "state" => |_, _| "available".to_owned(),
            "zone-type" => |_, _| "availability-zone".to_owned(),
            "opt-in-status" => |_, _| NO_OPT_IN.to_owned(),
            _ => return Err(unknown(name)),
        };
        chosen.retain(|zone| matches_any(patterns, &value(zone, region)));
    }
    let availability_zones = Some(chosen.into_iter().map(|zone| shape(zone, region)).collect());
    Ok(ec2::DescribeAvailabilityZonesResult { availability_zones })
}

fn shape(zone: Zone, region: &str) -> ec2::AvailabilityZone {
    ec2::AvailabilityZone {
        opt_in_status: Some(NO_OPT_IN.into()),
        messages: Some(Vec::new()),
        region_name: Some(region.into()),
        zone_name: Some(zone.name),
        zone_id: Some(zone.id),
        group_name: Some(format!("{region}-zg-1")),
        network_border_group: Some(region.into()),
        zone_type: Some("availability-zone".into()),
        state: Some("available".into()),
        ..Default::default()
    }
}

fn describe_regions(
    _: &mut Context,
    input: ec2::DescribeRegionsRequest,
) -> Result<ec2::DescribeRegionsResult, ApiError> {
    let endpoint = |region: &str| format!("ec2.{region}.amazonaws.com");
    let mut chosen = REGIONS.map(str::to_owned).to_vec();
    choose(&mut chosen, input.region_names.as_deref(), "region", |region| region)?;
    for filter in input.filters.iter().flatten() {
        let (name, patterns) = parts(filter)?;
        match name {
            "region-name" => chosen.retain(|region| matches_any(patterns, region)),
            "endpoint" => chosen.retain(|region| matches_any(patterns, &endpoint(region))),
            "opt-in-status" => chosen.retain(|_| matches_any(patterns, NO_OPT_IN)),
            _ => return Err(unknown(name)),
        }
    }
    let regions = chosen.into_iter().map(|region| ec2::Region {
        opt_in_status: Some(NO_OPT_IN.into()),
        geography: None,
        endpoint: Some(endpoint(&region)),
        region_name: Some(region),
    });
    Ok(ec2::DescribeRegionsResult { regions: Some(regions.collect()) })
}

/// Keeps what is named, if anything is; every name must be known.
fn choose<T>(
    items: &mut Vec<T>,
    names: Option<&[String]>,
    what: &str,
    name_of: impl Fn(&T) -> &String,
) -> Result<(), ApiError> {
    let Some(names) = names.filter(|names| !names.is_empty()) else { return Ok(()) };
    if let Some(bad) = names.iter().find(|name| !items.iter().any(|item| name_of(item) == *name)) {
        return Err(invalid(format!("Invalid {what}: [{bad}]")));
    }
    items.retain(|item| names.contains(name_of(item)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, filter};

    #[test]
    fn zone_ids_are_those_of_aws() {
        for (region, first) in [
            ("us-east-1", "use1-az1"),
            ("eu-central-1", "euc1-az1"),
            ("ap-northeast-1", "apne1-az1"),
            ("ap-southeast-2", "apse2-az1"),
            ("us-gov-west-1", "usgw1-az1"),
        ] {
            assert_eq!(zones(region)[0].id, first);
        }
    }

    #[test]
    fn zones_are_chosen_by_name_id_and_filter() {
        let mut cloud = cloud();
        let mut names = |input| -> Result<Vec<String>, String> {
            let output = cloud.call::<ec2::ops::DescribeAvailabilityZones>(input);
            let zones = output.map_err(|error| error.code.into_owned())?.availability_zones;
            Ok(zones.into_iter().flatten().filter_map(|zone| zone.zone_name).collect())
        };
        let all = ec2::DescribeAvailabilityZonesRequest::default;
        assert_eq!(names(all()).map(|names| names.len()), Ok(3));
        let by_id =
            ec2::DescribeAvailabilityZonesRequest { zone_ids: Some(vec!["use1-az2".into()]), ..all() };
        assert_eq!(names(by_id), Ok(vec!["us-east-1b".into()]));
        let filtered =
            |name, value| ec2::DescribeAvailabilityZonesRequest { filters: filter(name, value), ..all() };
        assert_eq!(names(filtered("state", "available")).map(|names| names.len()), Ok(3));
        assert_eq!(names(filtered("zone-name", "*c")), Ok(vec!["us-east-1c".into()]));
        assert_eq!(names(filtered("colour", "red")), Err("InvalidParameterValue".into()));
        let bad =
            ec2::DescribeAvailabilityZonesRequest { zone_names: Some(vec!["us-east-1z".into()]), ..all() };
        assert_eq!(names(bad), Err("InvalidParameterValue".into()));
    }

    #[test]
    fn regions_are_listed_with_their_endpoints() {
        let mut cloud = cloud();
        let input = ec2::DescribeRegionsRequest {
            region_names: Some(vec!["eu-west-1".into()]),
            ..Default::default()
        };
        let regions = cloud.ok::<ec2::ops::DescribeRegions>(input).regions.unwrap();
        assert_eq!(regions.len(), 1);
        assert_eq!(regions[0].endpoint.as_deref(), Some("ec2.eu-west-1.amazonaws.com"));
    }
}
