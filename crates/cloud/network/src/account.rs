//! What an account may have of the network.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAccountAttributes.html>

use pileus_aws::ec2;
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use crate::default_vpc;
use crate::resource::invalid;

/// Names and values, besides the default VPC.
const ATTRIBUTES: [(&str, &str); 5] = [
    ("max-elastic-ips", "252"),
    ("max-instances", "0"),
    ("supported-platforms", "VPC"),
    ("vpc-max-elastic-ips", "252"),
    ("vpc-max-security-groups-per-interface", "5"),
];

pub(crate) fn operations(router: &mut Router) {
    router.on::<ec2::ops::DescribeAccountAttributes>(describe_account_attributes);
}

fn describe_account_attributes(
    cx: &mut Context,
    input: ec2::DescribeAccountAttributesRequest,
) -> Result<ec2::DescribeAccountAttributesResult, ApiError> {
    let wanted = input.attribute_names.unwrap_or_default();
    let default = default_vpc::of_region(cx.tx).map_or_else(|| "none".to_owned(), |vpc| vpc.id.clone());
    let all: Vec<(&str, &str)> = ATTRIBUTES.into_iter().chain([("default-vpc", default.as_str())]).collect();
    if let Some(name) = wanted.iter().find(|name| !all.iter().any(|(known, _)| known == name)) {
        return Err(invalid(format!("Value ({name}) for parameter attributeName is invalid.")));
    }
    let chosen = all.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|it| it == name));
    let shape = |(name, value): &(&str, &str)| ec2::AccountAttribute {
        attribute_name: Some((*name).into()),
        attribute_values: Some(vec![ec2::AccountAttributeValue { attribute_value: Some((*value).into()) }]),
    };
    Ok(ec2::DescribeAccountAttributesResult { account_attributes: Some(chosen.map(shape).collect()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cloud;

    #[test]
    fn attributes_are_chosen_by_name() {
        let mut cloud = cloud();
        type Describe = ec2::ops::DescribeAccountAttributes;
        let named =
            |name: &str| ec2::DescribeAccountAttributesRequest { attribute_names: Some(vec![name.into()]) };
        assert_eq!(cloud.ok::<Describe>(Default::default()).account_attributes.unwrap().len(), 6);
        let one = cloud.ok::<Describe>(named("supported-platforms")).account_attributes.unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!(cloud.code::<Describe>(named("colour")), "InvalidParameterValue");
    }
}
