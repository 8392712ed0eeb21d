//! Secrets through their API.

use std::time::Duration;

use pileus_aws::secretsmanager::*;
use pileus_kit::Cloud;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn cloud() -> Cloud {
    Cloud::new(crate::tables, crate::operations)
}

fn create(cloud: &mut Cloud, name: &str, value: &str) -> CreateSecretResponse {
    let input = CreateSecretRequest {
        name: name.into(),
        secret_string: Some(value.into()),
        client_request_token: Some(token(name)),
        ..Default::default()
    };
    cloud.ok::<ops::CreateSecret>(input)
}

fn token(text: &str) -> String {
    format!("{text:0>32}")
}

fn put(cloud: &mut Cloud, name: &str, version: &str, value: &str, stages: &[&str]) -> PutSecretValueResponse {
    cloud.ok::<ops::PutSecretValue>(putting(name, version, value, stages))
}

fn putting(name: &str, version: &str, value: &str, stages: &[&str]) -> PutSecretValueRequest {
    PutSecretValueRequest {
        secret_id: name.into(),
        client_request_token: Some(token(version)),
        secret_string: Some(value.into()),
        version_stages: (!stages.is_empty()).then(|| stages.iter().map(|&stage| stage.into()).collect()),
        ..Default::default()
    }
}

fn getting(id: &str, stage: Option<&str>) -> GetSecretValueRequest {
    GetSecretValueRequest { secret_id: id.into(), version_stage: stage.map(Into::into), ..Default::default() }
}

fn value(cloud: &mut Cloud, id: &str, stage: &str) -> String {
    cloud.ok::<ops::GetSecretValue>(getting(id, Some(stage))).secret_string.unwrap()
}

fn deleting(id: &str) -> DeleteSecretRequest {
    DeleteSecretRequest { secret_id: id.into(), ..Default::default() }
}

#[test]
fn a_secret_is_found_by_name_arn_and_partial_arn() {
    let mut cloud = cloud();
    let made = create(&mut cloud, "db/main", "hunter2");
    let arn = made.arn.unwrap();
    assert_eq!(made.version_id, Some(token("db/main")));
    let partial = arn.strip_prefix("arn:").unwrap().rsplit_once('-').unwrap().0;
    for id in ["db/main", &arn, &format!("arn:{partial}")] {
        assert_eq!(value(&mut cloud, id, "AWSCURRENT"), "hunter2", "{id}");
    }
    assert_eq!(cloud.code::<ops::GetSecretValue>(getting("db", None)), "ResourceNotFoundException");
    let elsewhere = arn.replace("us-east-1", "eu-west-1");
    assert_eq!(cloud.code::<ops::GetSecretValue>(getting(&elsewhere, None)), "ResourceNotFoundException");
    assert!(!format!("{:?}", cloud.call::<ops::GetSecretValue>(getting(&arn, None))).contains("hunter2"));
}

#[test]
fn creating_again_is_the_same_or_refused() {
    let mut cloud = cloud();
    let first = create(&mut cloud, "a", "1");
    assert_eq!(create(&mut cloud, "a", "1").arn, first.arn);
    let other =
        CreateSecretRequest { name: "a".into(), secret_string: Some("2".into()), ..Default::default() };
    assert_eq!(cloud.code::<ops::CreateSecret>(other), "ResourceExistsException");
    let bad = CreateSecretRequest { name: "a b".into(), ..Default::default() };
    assert_eq!(cloud.code::<ops::CreateSecret>(bad), "InvalidParameterException");
    let both = CreateSecretRequest {
        name: "b".into(),
        secret_string: Some("x".into()),
        secret_binary: Some(b"x".to_vec()),
        ..Default::default()
    };
    assert_eq!(cloud.code::<ops::CreateSecret>(both), "InvalidParameterException");
    let key =
        CreateSecretRequest { name: "b".into(), kms_key_id: Some("alias/x".into()), ..Default::default() };
    assert_eq!(cloud.code::<ops::CreateSecret>(key), "EncryptionFailure");
}

#[test]
fn labels_follow_the_current_version() {
    let mut cloud = cloud();
    create(&mut cloud, "s", "1");
    put(&mut cloud, "s", "v2", "2", &[]);
    assert_eq!(value(&mut cloud, "s", "AWSPREVIOUS"), "1");
    let third = put(&mut cloud, "s", "v3", "3", &["AWSPENDING"]);
    assert_eq!(third.version_stages.unwrap(), ["AWSPENDING"]);
    assert_eq!(value(&mut cloud, "s", "AWSCURRENT"), "2");
    let step = |from: Option<&str>, to: Option<&str>, stage: &str| UpdateSecretVersionStageRequest {
        secret_id: "s".into(),
        version_stage: stage.into(),
        remove_from_version_id: from.map(token),
        move_to_version_id: to.map(token),
    };
    for wrong in [
        step(None, Some("v3"), "AWSCURRENT"),
        step(Some("v2"), None, "AWSCURRENT"),
        step(Some("v3"), Some("v2"), "AWSCURRENT"),
        step(None, None, "x"),
    ] {
        assert_eq!(cloud.code::<ops::UpdateSecretVersionStage>(wrong), "InvalidParameterException");
    }
    cloud.ok::<ops::UpdateSecretVersionStage>(step(Some("v2"), Some("v3"), "AWSCURRENT"));
    assert_eq!(value(&mut cloud, "s", "AWSCURRENT"), "3");
    assert_eq!(value(&mut cloud, "s", "AWSPREVIOUS"), "2");
    let list = ListSecretVersionIdsRequest { secret_id: "s".into(), ..Default::default() };
    assert_eq!(cloud.ok::<ops::ListSecretVersionIds>(list.clone()).versions.unwrap().len(), 2);
    let all = ListSecretVersionIdsRequest { include_deprecated: Some(true), ..list };
    assert_eq!(cloud.ok::<ops::ListSecretVersionIds>(all).versions.unwrap().len(), 3);
}

#[test]
fn a_token_stands_for_one_value() {
    let mut cloud = cloud();
    create(&mut cloud, "s", "1");
    put(&mut cloud, "s", "v2", "2", &[]);
    assert_eq!(put(&mut cloud, "s", "v2", "2", &[]).version_id, Some(token("v2")));
    assert_eq!(cloud.code::<ops::PutSecretValue>(putting("s", "v2", "3", &[])), "ResourceExistsException");
    let nothing = PutSecretValueRequest { secret_string: None, ..putting("s", "v3", "", &[]) };
    assert_eq!(cloud.code::<ops::PutSecretValue>(nothing), "InvalidRequestException");
}

#[test]
fn old_versions_without_labels_go() {
    let mut cloud = cloud();
    create(&mut cloud, "s", "1");
    for n in 0..120 {
        put(&mut cloud, "s", &format!("v{n}"), "x", &[]);
    }
    let all = || ListSecretVersionIdsRequest {
        secret_id: "s".into(),
        include_deprecated: Some(true),
        ..Default::default()
    };
    let first = cloud.ok::<ops::ListSecretVersionIds>(all());
    let next = ListSecretVersionIdsRequest { next_token: first.next_token, ..all() };
    let rest = cloud.ok::<ops::ListSecretVersionIds>(next).versions.unwrap();
    assert_eq!((first.versions.unwrap().len(), rest.len()), (100, 21), "all of a day are kept");
    cloud.advance(DAY);
    put(&mut cloud, "s", "last", "x", &[]);
    let listed = cloud.ok::<ops::ListSecretVersionIds>(all());
    assert_eq!((listed.versions.unwrap().len(), listed.next_token), (100, None));
}

#[test]
fn a_deleted_secret_can_be_restored_until_its_window_ends() {
    let mut cloud = cloud();
    let arn = create(&mut cloud, "s", "1").arn;
    let window = |days| DeleteSecretRequest { recovery_window_in_days: Some(days), ..deleting("s") };
    assert_eq!(cloud.code::<ops::DeleteSecret>(window(6)), "InvalidParameterException");
    assert_eq!(cloud.code::<ops::DeleteSecret>(window(31)), "InvalidParameterException");
    cloud.ok::<ops::DeleteSecret>(window(7));
    assert_eq!(cloud.code::<ops::GetSecretValue>(getting("s", None)), "InvalidRequestException");
    let again = CreateSecretRequest { name: "s".into(), ..Default::default() };
    assert_eq!(cloud.code::<ops::CreateSecret>(again), "InvalidRequestException");
    assert_eq!(cloud.ok::<ops::ListSecrets>(Default::default()).secret_list.unwrap().len(), 0);
    cloud.advance(6 * DAY);
    cloud.ok::<ops::RestoreSecret>(RestoreSecretRequest { secret_id: "s".into() });
    assert_eq!(value(&mut cloud, "s", "AWSCURRENT"), "1");
    cloud.ok::<ops::DeleteSecret>(deleting("s"));
    cloud.advance(30 * DAY);
    let restore = RestoreSecretRequest { secret_id: "s".into() };
    assert_eq!(cloud.code::<ops::RestoreSecret>(restore), "ResourceNotFoundException");
    assert_ne!(create(&mut cloud, "s", "2").arn, arn);
    assert_eq!(value(&mut cloud, "s", "AWSCURRENT"), "2");
}

#[test]
fn a_forced_deletion_is_at_once_and_may_be_repeated() {
    let mut cloud = cloud();
    create(&mut cloud, "s", "1");
    let force = DeleteSecretRequest { force_delete_without_recovery: Some(true), ..deleting("s") };
    let both = DeleteSecretRequest { recovery_window_in_days: Some(7), ..force.clone() };
    assert_eq!(cloud.code::<ops::DeleteSecret>(both), "InvalidParameterException");
    cloud.ok::<ops::DeleteSecret>(deleting("s"));
    assert_eq!(cloud.code::<ops::DeleteSecret>(deleting("s")), "InvalidRequestException");
    cloud.ok::<ops::DeleteSecret>(force.clone());
    cloud.ok::<ops::DeleteSecret>(force);
    assert_eq!(cloud.code::<ops::DeleteSecret>(deleting("s")), "ResourceNotFoundException");
    create(&mut cloud, "s", "2");
}

#[test]
fn the_hourly_purge_removes_what_is_over() {
    let mut cloud = cloud();
    create(&mut cloud, "s", "1");
    cloud.ok::<ops::DeleteSecret>(deleting("s"));
    cloud.advance(30 * DAY);
    let now = cloud.now;
    cloud.write(|cx| crate::purge(cx.tx, now));
    let left = cloud.state.all::<super::record::ManagedSecret>().count();
    assert_eq!((left, cloud.state.all::<super::record::VersionValue>().count()), (0, 0));
}

#[test]
fn secrets_are_listed_by_filter_and_order() {
    let mut cloud = cloud();
    for name in ["web/a", "web/b", "db/c"] {
        create(&mut cloud, name, "1");
        cloud.advance(DAY);
    }
    let tag = Tag { key: Some("team".into()), value: Some("blue".into()) };
    cloud.ok::<ops::TagResource>(TagResourceRequest { secret_id: "db/c".into(), tags: vec![tag] });
    let list = |cloud: &mut Cloud, key: &str, value: &str| -> Vec<String> {
        let filter = Filter { key: Some(key.into()), values: Some(vec![value.into()]) };
        let input = ListSecretsRequest {
            filters: Some(vec![filter]),
            sort_by: Some("name".into()),
            ..Default::default()
        };
        let found = cloud.ok::<ops::ListSecrets>(input).secret_list.unwrap();
        found.into_iter().map(|entry| entry.name.unwrap()).collect()
    };
    assert_eq!(list(&mut cloud, "name", "web/"), ["web/b", "web/a"]);
    assert_eq!(list(&mut cloud, "name", "!web/"), ["db/c"]);
    assert_eq!(list(&mut cloud, "tag-key", "te"), ["db/c"]);
    assert_eq!(list(&mut cloud, "all", "BLUE"), ["db/c"]);
    assert!(list(&mut cloud, "owning-service", "rds").is_empty());
    let input = ListSecretsRequest { max_results: Some(2), ..Default::default() };
    let first = cloud.ok::<ops::ListSecrets>(input.clone());
    let next = ListSecretsRequest { next_token: first.next_token, ..input };
    let second = cloud.ok::<ops::ListSecrets>(next);
    let names = [first.secret_list, second.secret_list].into_iter().flatten().flatten();
    assert_eq!(names.map(|entry| entry.name.unwrap()).collect::<Vec<_>>(), ["db/c", "web/b", "web/a"]);
}

#[test]
fn several_values_come_at_once() {
    let mut cloud = cloud();
    create(&mut cloud, "a", "1");
    let input = BatchGetSecretValueRequest {
        secret_id_list: Some(vec!["a".into(), "b".into()]),
        ..Default::default()
    };
    let answer = cloud.ok::<ops::BatchGetSecretValue>(input);
    assert_eq!(answer.secret_values.unwrap()[0].secret_string.as_deref(), Some("1"));
    assert_eq!(answer.errors.unwrap()[0].error_code.as_deref(), Some("ResourceNotFoundException"));
    assert_eq!(cloud.code::<ops::BatchGetSecretValue>(Default::default()), "InvalidParameterException");
}

#[test]
fn passwords_have_what_is_asked_for() {
    let mut cloud = cloud();
    let password =
        |cloud: &mut Cloud, input| cloud.ok::<ops::GetRandomPassword>(input).random_password.unwrap();
    let plain = password(&mut cloud, Default::default());
    assert_eq!(plain.len(), 32);
    for kind in [char::is_lowercase as fn(char) -> bool, char::is_uppercase, |c| c.is_ascii_digit()] {
        assert!(plain.contains(kind), "{plain}");
    }
    assert_ne!(password(&mut cloud, Default::default()), plain);
    let digits = GetRandomPasswordRequest {
        password_length: Some(200),
        exclude_lowercase: Some(true),
        exclude_uppercase: Some(true),
        exclude_punctuation: Some(true),
        exclude_characters: Some("0123".into()),
        ..Default::default()
    };
    assert!(password(&mut cloud, digits).chars().all(|c| ('4'..='9').contains(&c)));
    let short = GetRandomPasswordRequest { password_length: Some(3), ..Default::default() };
    assert_eq!(cloud.code::<ops::GetRandomPassword>(short), "InvalidParameterException");
}

#[test]
fn a_policy_is_checked_and_kept() {
    let mut cloud = cloud();
    create(&mut cloud, "s", "1");
    let document = |principal: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},
               "Action":"secretsmanager:GetSecretValue","Resource":"*"}}]}}"#
        )
    };
    let put = |policy: String| PutResourcePolicyRequest {
        secret_id: "s".into(),
        resource_policy: policy,
        block_public_policy: Some(true),
    };
    let own = document(r#"{"AWS":"arn:aws:iam::000000000000:root"}"#);
    cloud.ok::<ops::PutResourcePolicy>(put(own.clone()));
    let get = || GetResourcePolicyRequest { secret_id: "s".into() };
    assert_eq!(cloud.ok::<ops::GetResourcePolicy>(get()).resource_policy, Some(own));
    assert_eq!(cloud.code::<ops::PutResourcePolicy>(put(document("\"*\""))), "PublicPolicyException");
    assert_eq!(cloud.code::<ops::PutResourcePolicy>(put("{}".into())), "MalformedPolicyDocumentException");
    cloud.ok::<ops::DeleteResourcePolicy>(DeleteResourcePolicyRequest { secret_id: "s".into() });
    assert_eq!(cloud.ok::<ops::GetResourcePolicy>(get()).resource_policy, None);
}

#[test]
fn a_policy_that_denies_is_obeyed_within_a_batch() {
    let mut cloud = cloud();
    create(&mut cloud, "s", "1");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",
        "Action":"secretsmanager:GetSecretValue","Resource":"*"}]}"#;
    cloud.ok::<ops::PutResourcePolicy>(PutResourcePolicyRequest {
        secret_id: "s".into(),
        resource_policy: policy.into(),
        block_public_policy: None,
    });
    let input = BatchGetSecretValueRequest { secret_id_list: Some(vec!["s".into()]), ..Default::default() };
    let errors = cloud.ok::<ops::BatchGetSecretValue>(input).errors.unwrap();
    assert_eq!(errors[0].error_code.as_deref(), Some("AccessDeniedException"));
}
