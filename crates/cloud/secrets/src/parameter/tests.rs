//! Parameters through their API.

use pileus_aws::ssm::*;
use pileus_kit::Cloud;

fn cloud() -> Cloud {
    Cloud::new(crate::tables, crate::operations)
}

fn put(name: &str, kind: &str, value: &str) -> PutParameterRequest {
    PutParameterRequest {
        name: name.into(),
        r#type: Some(kind.into()),
        value: value.into(),
        ..Default::default()
    }
}

fn over(name: &str, value: &str) -> PutParameterRequest {
    PutParameterRequest {
        name: name.into(),
        value: value.into(),
        overwrite: Some(true),
        ..Default::default()
    }
}

fn get(cloud: &mut Cloud, name: &str) -> Parameter {
    let input = GetParameterRequest { name: name.into(), with_decryption: Some(true) };
    cloud.ok::<ops::GetParameter>(input).parameter.unwrap()
}

#[test]
fn versions_and_labels_choose_a_value() {
    let mut cloud = cloud();
    cloud.ok::<ops::PutParameter>(put("/app/port", "String", "1"));
    assert_eq!(cloud.ok::<ops::PutParameter>(over("/app/port", "2")).version, Some(2));
    assert_eq!(cloud.code::<ops::PutParameter>(put("/app/port", "String", "3")), "ParameterAlreadyExists");
    let label = LabelParameterVersionRequest {
        name: "/app/port".into(),
        parameter_version: Some(1),
        labels: vec!["prod".into(), "1st".into()],
    };
    let labelled = cloud.ok::<ops::LabelParameterVersion>(label);
    assert_eq!(labelled.invalid_labels.unwrap(), ["1st"]);
    assert_eq!(get(&mut cloud, "/app/port").value.unwrap(), "2");
    let old = get(&mut cloud, "/app/port:prod");
    assert_eq!((old.value.as_deref(), old.selector.as_deref()), (Some("1"), Some(":prod")));
    let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/app/port";
    assert_eq!(get(&mut cloud, &format!("{arn}:1")).arn.unwrap(), arn);
    let missing = GetParameterRequest { name: "/app/port:9".into(), with_decryption: None };
    assert_eq!(cloud.code::<ops::GetParameter>(missing), "ParameterVersionNotFound");
    let history = GetParameterHistoryRequest { name: "/app/port".into(), ..Default::default() };
    let history = cloud.ok::<ops::GetParameterHistory>(history).parameters.unwrap();
    assert_eq!(history.iter().map(|old| old.labels.clone().unwrap().len()).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn a_secure_string_is_shown_to_those_who_ask_for_it() {
    let mut cloud = cloud();
    cloud.ok::<ops::PutParameter>(put("token", "SecureString", "hunter2"));
    let input = GetParameterRequest { name: "token".into(), with_decryption: None };
    assert!(!cloud.ok::<ops::GetParameter>(input).parameter.unwrap().value.unwrap().contains("hunter2"));
    assert_eq!(get(&mut cloud, "token").value.unwrap(), "hunter2");
    let described = cloud.ok::<ops::DescribeParameters>(Default::default()).parameters.unwrap();
    assert_eq!(described[0].key_id.as_deref(), Some("alias/aws/ssm"));
    let foreign = PutParameterRequest { key_id: Some("alias/mine".into()), ..over("token", "x") };
    assert_eq!(cloud.code::<ops::PutParameter>(foreign), "InvalidKeyId");
}

#[test]
fn limits() {
    let mut cloud = cloud();
    let large = "x".repeat(4097);
    assert_eq!(cloud.code::<ops::PutParameter>(put("a", "String", &large)), "ValidationException");
    let tiered =
        PutParameterRequest { tier: Some("Intelligent-Tiering".into()), ..put("a", "String", &large) };
    assert_eq!(cloud.ok::<ops::PutParameter>(tiered).tier.unwrap(), "Advanced");
    assert_eq!(
        cloud.code::<ops::PutParameter>(PutParameterRequest {
            tier: Some("Standard".into()),
            ..over("a", "x")
        }),
        "ValidationException"
    );
    let typed = PutParameterRequest { r#type: Some("StringList".into()), ..over("a", "x") };
    assert_eq!(cloud.code::<ops::PutParameter>(typed), "HierarchyTypeMismatchException");
    let pattern = PutParameterRequest { allowed_pattern: Some("[0-9]+".into()), ..put("n", "String", "a1") };
    assert_eq!(cloud.code::<ops::PutParameter>(pattern), "ParameterPatternMismatchException");
    let pattern = PutParameterRequest { allowed_pattern: Some("(".into()), ..put("n", "String", "1") };
    assert_eq!(cloud.code::<ops::PutParameter>(pattern), "InvalidAllowedPatternException");
    assert_eq!(
        cloud.code::<ops::PutParameter>(PutParameterRequest { r#type: None, ..put("n", "String", "1") }),
        "ValidationException"
    );
}

#[test]
fn the_oldest_of_a_hundred_versions_goes_unless_it_is_labelled() {
    let mut cloud = cloud();
    cloud.ok::<ops::PutParameter>(put("v", "String", "1"));
    for _ in 0..100 {
        cloud.ok::<ops::PutParameter>(over("v", "x"));
    }
    let gone = GetParameterRequest { name: "v:1".into(), with_decryption: None };
    assert_eq!(cloud.code::<ops::GetParameter>(gone), "ParameterVersionNotFound");
    cloud.ok::<ops::LabelParameterVersion>(LabelParameterVersionRequest {
        name: "v".into(),
        parameter_version: Some(2),
        labels: vec!["keep".into()],
    });
    assert_eq!(cloud.code::<ops::PutParameter>(over("v", "x")), "ParameterMaxVersionLimitExceeded");
}

#[test]
fn hierarchies_are_walked_page_by_page() {
    let mut cloud = cloud();
    for name in ["/a/1", "/a/2", "/a/b/3", "/c/4"] {
        cloud.ok::<ops::PutParameter>(put(name, "String", name));
    }
    let mut input = GetParametersByPathRequest {
        path: "/a".into(),
        recursive: Some(true),
        max_results: Some(2),
        ..Default::default()
    };
    let first = cloud.ok::<ops::GetParametersByPath>(input.clone());
    input.next_token = first.next_token;
    let second = cloud.ok::<ops::GetParametersByPath>(input.clone());
    assert_eq!((first.parameters.unwrap().len(), second.parameters.unwrap().len()), (2, 1));
    assert_eq!(second.next_token, None);
    input.next_token = Some("%".into());
    assert_eq!(cloud.code::<ops::GetParametersByPath>(input.clone()), "InvalidNextToken");
    let filter = |key: &str, option: Option<&str>, value: &str| DescribeParametersRequest {
        parameter_filters: Some(vec![ParameterStringFilter {
            key: key.into(),
            option: option.map(Into::into),
            values: Some(vec![value.into()]),
        }]),
        ..Default::default()
    };
    let count =
        |cloud: &mut Cloud, input| cloud.ok::<ops::DescribeParameters>(input).parameters.unwrap().len();
    assert_eq!(count(&mut cloud, filter("Path", Some("OneLevel"), "/a")), 2);
    assert_eq!(count(&mut cloud, filter("Name", Some("BeginsWith"), "/a/")), 3);
    assert_eq!(count(&mut cloud, filter("Name", None, "/c/4")), 1);
    assert_eq!(cloud.code::<ops::DescribeParameters>(filter("Colour", None, "x")), "ValidationException");
    assert_eq!(
        cloud.code::<ops::DescribeParameters>(filter("Path", Some("Equals"), "/")),
        "InvalidFilterOption"
    );
}

#[test]
fn tags_and_deletion() {
    let mut cloud = cloud();
    let tags = Some(vec![Tag { key: "team".into(), value: "a".into() }]);
    cloud.ok::<ops::PutParameter>(PutParameterRequest { tags: tags.clone(), ..put("t", "String", "1") });
    let both = PutParameterRequest { tags, ..over("t", "2") };
    assert_eq!(cloud.code::<ops::PutParameter>(both), "ValidationException");
    let list = ListTagsForResourceRequest { resource_type: "Parameter".into(), resource_id: "t".into() };
    assert_eq!(cloud.ok::<ops::ListTagsForResource>(list.clone()).tag_list.unwrap().len(), 1);
    let deleted =
        cloud.ok::<ops::DeleteParameters>(DeleteParametersRequest { names: vec!["t".into(), "u".into()] });
    assert_eq!(deleted.invalid_parameters.unwrap(), ["u"]);
    assert_eq!(cloud.code::<ops::ListTagsForResource>(list), "InvalidResourceId");
    assert_eq!(
        cloud.code::<ops::DeleteParameter>(DeleteParameterRequest { name: "t".into() }),
        "ParameterNotFound"
    );
}

#[test]
fn a_secret_can_be_read_as_a_parameter() {
    use pileus_aws::secretsmanager;
    let mut cloud = cloud();
    cloud.ok::<secretsmanager::ops::CreateSecret>(secretsmanager::CreateSecretRequest {
        name: "db".into(),
        secret_string: Some("hunter2".into()),
        ..Default::default()
    });
    let name = "/aws/reference/secretsmanager/db";
    assert_eq!(get(&mut cloud, name).value.as_deref(), Some("hunter2"));
    assert_eq!(get(&mut cloud, &format!("{name}:AWSCURRENT")).version, Some(0));
    let plain = GetParameterRequest { name: name.into(), with_decryption: None };
    assert_eq!(cloud.code::<ops::GetParameter>(plain), "ValidationException");
    let missing = GetParameterRequest { name: format!("{name}x"), with_decryption: Some(true) };
    assert_eq!(cloud.code::<ops::GetParameter>(missing), "ParameterNotFound");
}
