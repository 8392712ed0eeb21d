//! Which services a VPC endpoint can lead to.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcEndpointServices.html>

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::Context;

use super::names;
use crate::endpoints::{Kind, SERVICES, Service};
use crate::select::{matches_any, page, parts, unknown};
use crate::zone;

pub(super) fn describe_vpc_endpoint_services(
    cx: &mut Context,
    input: ec2::DescribeVpcEndpointServicesRequest,
) -> Result<ec2::DescribeVpcEndpointServicesResult, ApiError> {
    let region = &cx.scope().region;
    let mut chosen: Vec<&Service> = SERVICES.iter().filter(|it| it.endpoint != Kind::None).collect();
    let regions = input.service_regions.unwrap_or_default();
    chosen.retain(|_| regions.is_empty() || regions.contains(region));
    if let Some(wanted) = input.service_names.filter(|names| !names.is_empty()) {
        let unknown = wanted.iter().find(|name| Service::of_endpoint_name(name, region).is_none());
        if let Some(name) = unknown {
            let message = format!("The Vpc Endpoint Service '{name}' does not exist");
            return Err(ApiError::client("InvalidServiceName", message));
        }
        chosen.retain(|service| wanted.contains(&service.endpoint_name(region)));
    }
    for filter in input.filters.iter().flatten() {
        let (name, patterns) = parts(filter)?;
        chosen.retain(|_| !name.starts_with("tag"));
        let value: fn(&Service, &str) -> String = match name {
            "owner" => |_, _| "amazon".to_owned(),
            "service-name" => |service, region| service.endpoint_name(region),
            "service-region" => |_, region| region.to_owned(),
            "service-type" => |service, _| kind(service).to_owned(),
            "supported-ip-address-types" => |_, _| "ipv4".to_owned(),
            tag if tag == "tag-key" || tag.starts_with("tag:") => |_, _| String::new(),
            _ => return Err(unknown(name)),
        };
        chosen.retain(|service| matches_any(patterns, &value(service, region)));
    }
    chosen.sort_by_key(|service| service.name);
    let (chosen, next_token) =
        page(chosen, |service| service.name.to_owned(), &input.next_token, input.max_results)?;
    Ok(ec2::DescribeVpcEndpointServicesResult {
        service_names: Some(chosen.iter().map(|service| service.endpoint_name(region)).collect()),
        service_details: Some(chosen.iter().map(|service| detail(service, region)).collect()),
        next_token,
    })
}

fn kind(service: &Service) -> &'static str {
    if service.endpoint == Kind::Gateway { "Gateway" } else { "Interface" }
}

fn detail(service: &Service, region: &str) -> ec2::ServiceDetail {
    let zones = zone::zones(region);
    let private = (service.endpoint == Kind::Interface).then(|| names::private(service, region));
    let base = match service.endpoint {
        Kind::Gateway => service.host(region),
        _ => names::base(service, region),
    };
    ec2::ServiceDetail {
        service_name: Some(service.endpoint_name(region)),
        service_id: Some(format!("vpce-svc-{}", service.number(region))),
        service_type: Some(vec![ec2::ServiceTypeDetail { service_type: Some(kind(service).into()) }]),
        service_region: Some(region.to_owned()),
        availability_zone_ids: Some(zones.iter().map(|zone| zone.id.clone()).collect()),
        availability_zones: Some(zones.into_iter().map(|zone| zone.name).collect()),
        owner: Some("amazon".into()),
        base_endpoint_dns_names: Some(vec![base]),
        private_dns_names: private
            .clone()
            .map(|name| vec![ec2::PrivateDnsDetails { private_dns_name: Some(name) }]),
        private_dns_name_verification_state: private.as_ref().map(|_| "verified".to_owned()),
        private_dns_name: private,
        vpc_endpoint_policy_supported: Some(true),
        acceptance_required: Some(false),
        manages_vpc_endpoints: Some(false),
        tags: Some(Vec::new()),
        supported_ip_address_types: Some(vec!["ipv4".into()]),
        ..Default::default()
    }
}
