//! The words in which each family of services refuses input, on real schemas.

use pileus_aws::{ec2, ecr, ecs, elbv2, iam};
use pileus_core::ApiError;
use pileus_model::{Operation, Value, validate};

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn structure(members: &[(&'static str, Value)]) -> Value {
    Value::Structure(members.to_vec())
}

fn refusal<O: Operation>(members: &[(&'static str, Value)]) -> (String, String) {
    let ApiError { code, status, message } =
        validate(O::SCHEMA, &structure(members)).expect_err("the input is wrong");
    assert_eq!(status, 400);
    (code.into_owned(), message)
}

#[test]
fn valid_input_passes() {
    let input = structure(&[("RoleName", text("ecs-task")), ("AssumeRolePolicyDocument", text("{\n}"))]);
    assert_eq!(validate(iam::ops::CreateRole::SCHEMA, &input), Ok(()));
}

#[test]
fn all_failures_are_told_at_once() {
    let long = "x".repeat(65);
    let (code, message) = refusal::<iam::ops::CreateRole>(&[("RoleName", text(&long))]);
    assert_eq!(code, "ValidationError");
    assert_eq!(
        message,
        format!(
            "2 validation errors detected: Value '{long}' at 'roleName' failed to satisfy constraint: Member must \
             have length less than or equal to 64; Value null at 'assumeRolePolicyDocument' failed to satisfy \
             constraint: Member must not be null"
        )
    );
}

#[test]
fn nested_values_are_told_by_their_path() {
    let tags = Value::List(vec![
        structure(&[("Key", text("a")), ("Value", text("b"))]),
        structure(&[("Key", text("a"))]),
    ]);
    let members = [("RoleName", text("r ole")), ("AssumeRolePolicyDocument", text("{}")), ("Tags", tags)];
    let (_, message) = refusal::<iam::ops::CreateRole>(&members);
    assert!(message.starts_with("2 validation errors detected: Value 'r ole' at 'roleName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+; "), "{message}");
    assert!(
        message.ends_with(
            "Value null at 'tags.2.member.value' failed to satisfy constraint: Member must not be null"
        ),
        "{message}"
    );
}

#[test]
fn enums_and_ranges() {
    let (code, message) =
        refusal::<ecs::ops::RunTask>(&[("taskDefinition", text("t")), ("launchType", text("MOON"))]);
    assert_eq!(code, "InvalidParameterException");
    assert_eq!(
        message,
        "1 validation error detected: Value 'MOON' at 'launchType' failed to satisfy constraint: Member must \
         satisfy enum value set: [EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]"
    );
    let port =
        refusal::<elbv2::ops::CreateTargetGroup>(&[("Name", text("a")), ("Port", Value::Integer(70_000))]);
    assert!(port.1.contains("Value '70000' at 'port' failed to satisfy constraint: Member must have value less than or equal to 65535"), "{}", port.1);
}

#[test]
fn ecr_and_ec2_have_their_own_words() {
    let (code, message) = refusal::<ecr::ops::CreateRepository>(&[("repositoryName", text("UPPER"))]);
    assert_eq!(code, "InvalidParameterException");
    assert!(message.starts_with("Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '"), "{message}");
    assert_eq!(
        refusal::<ec2::ops::DeleteVpc>(&[]),
        ("MissingParameter".to_owned(), "The request must contain the parameter VpcId".to_owned())
    );
    let limit = refusal::<ec2::ops::DescribeVpcs>(&[("MaxResults", Value::Integer(2))]);
    assert_eq!(limit.0, "InvalidParameterValue");
    assert_eq!(limit.1, "Value (2) for parameter MaxResults is invalid. Expecting a value of at least 5.");
}

#[test]
fn an_unsupported_member_is_named_before_anything_else() {
    let pair = structure(&[("PeeringStatus", Value::Bool(true))]);
    let pairs = structure(&[("UserIdGroupPairs", Value::List(vec![pair]))]);
    let (code, message) =
        refusal::<ec2::ops::AuthorizeSecurityGroupEgress>(&[("IpPermissions", Value::List(vec![pairs]))]);
    assert_eq!(code, "UnsupportedOperation");
    assert_eq!(
        message,
        "Pileus does not implement the parameter IpPermissions.UserIdGroupPairs.PeeringStatus of ec2:AuthorizeSecurityGroupEgress."
    );
}
