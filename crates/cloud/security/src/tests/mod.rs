//! Roles and sessions through the operations, as clients use them.

mod identities;

use std::time::Duration;

use pileus_aws::iam::{self, ops as iam_ops};
use pileus_aws::sts::{self, ops as sts_ops};
use pileus_kit::Cloud;
use pileus_service::Caller;
use pileus_state::Tx;

use crate::policy::ContextKeys;
use crate::{AuthFailure, Mint, authenticate, authorize, end_task_credentials, task_credentials};

const EXECUTION_POLICY: &str = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
const TASKS: &str = r#"{"Service": "ecs-tasks.amazonaws.com"}"#;
const ACCOUNT: &str = r#"{"AWS": "arn:aws:iam::000000000000:root"}"#;

fn cloud() -> Cloud {
    Cloud::new(crate::tables, crate::operations)
}

fn trust(principal: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": {principal}, "Action": "sts:AssumeRole"}}]}}"#
    )
}

fn role_input(name: &str, principal: &str) -> iam::CreateRoleRequest {
    iam::CreateRoleRequest {
        role_name: name.into(),
        assume_role_policy_document: trust(principal),
        ..Default::default()
    }
}

fn create_role(cloud: &mut Cloud, name: &str, principal: &str) -> iam::Role {
    cloud.ok::<iam_ops::CreateRole>(role_input(name, principal)).role.unwrap()
}

fn attach(role: &str, policy: &str) -> iam::AttachRolePolicyRequest {
    iam::AttachRolePolicyRequest { role_name: role.into(), policy_arn: policy.into() }
}

fn put_policy(cloud: &mut Cloud, role: &str, statement: &str) {
    cloud.ok::<iam_ops::PutRolePolicy>(iam::PutRolePolicyRequest {
        role_name: role.into(),
        policy_name: "inline".into(),
        policy_document: format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#),
    });
}

fn assume(arn: &str, session: &str) -> sts::AssumeRoleRequest {
    sts::AssumeRoleRequest { role_arn: arn.into(), role_session_name: session.into(), ..Default::default() }
}

/// Becomes a session of the role, by its credentials.
fn become_role(cloud: &mut Cloud, arn: &str) -> Caller {
    let output = cloud.ok::<sts_ops::AssumeRole>(assume(arn, "someone"));
    let key = output.credentials.unwrap().access_key_id.unwrap();
    authenticate(&cloud.state, &key, cloud.now).expect("fresh credentials").caller
}

fn may(cloud: &Cloud, caller: &Caller, action: &str, resource: &str) -> Result<(), String> {
    let tx = Tx::new(&cloud.state, cloud.scope.clone());
    authorize(&tx, caller, action, resource, ContextKeys::new()).map_err(|error| error.message)
}

#[test]
fn a_role_lives_and_is_the_same_in_every_region() {
    let mut cloud = cloud();
    let input = iam::CreateRoleRequest {
        path: Some("/service/".into()),
        tags: Some(vec![iam::Tag { key: "app".into(), value: "web".into() }]),
        ..role_input("execution", TASKS)
    };
    let role = cloud.ok::<iam_ops::CreateRole>(input.clone()).role.unwrap();
    assert_eq!(role.arn.as_deref(), Some("arn:aws:iam::000000000000:role/service/execution"));
    assert_eq!(role.max_session_duration, Some(3600));
    assert!(role.assume_role_policy_document.unwrap().starts_with("%7B%22Version%22"));
    assert_eq!(cloud.code::<iam_ops::CreateRole>(input), "EntityAlreadyExists");
    cloud.scope.region = "eu-west-1".into();
    let get = |name: &str| iam::GetRoleRequest { role_name: name.into() };
    assert_eq!(cloud.ok::<iam_ops::GetRole>(get("Execution")).role.unwrap().tags.unwrap().len(), 1);
    let roles = cloud.ok::<iam_ops::ListRoles>(Default::default());
    assert_eq!((roles.roles.unwrap().len(), roles.is_truncated), (1, Some(false)));
    cloud.ok::<iam_ops::DeleteRole>(iam::DeleteRoleRequest { role_name: "execution".into() });
    assert_eq!(cloud.code::<iam_ops::GetRole>(get("execution")), "NoSuchEntity");
}

#[test]
fn a_role_is_changed_and_tagged() {
    let mut cloud = cloud();
    let arn = create_role(&mut cloud, "app", TASKS).arn.unwrap();
    assert_eq!(cloud.code::<sts_ops::AssumeRole>(assume(&arn, "someone")), "AccessDenied");
    let trust_in = |document: String| iam::UpdateAssumeRolePolicyRequest {
        role_name: "app".into(),
        policy_document: document,
    };
    assert_eq!(
        cloud.code::<iam_ops::UpdateAssumeRolePolicy>(trust_in("{".into())),
        "MalformedPolicyDocument"
    );
    cloud.ok::<iam_ops::UpdateAssumeRolePolicy>(trust_in(trust(ACCOUNT)));
    cloud.ok::<sts_ops::AssumeRole>(assume(&arn, "someone"));
    cloud.ok::<iam_ops::UpdateRole>(iam::UpdateRoleRequest {
        role_name: "app".into(),
        description: Some("the app".into()),
        max_session_duration: Some(7200),
    });
    let tag = |key: &str| iam::Tag { key: key.into(), value: "1".into() };
    cloud.ok::<iam_ops::TagRole>(iam::TagRoleRequest {
        role_name: "app".into(),
        tags: vec![tag("a"), tag("b")],
    });
    let untag = iam::UntagRoleRequest { role_name: "app".into(), tag_keys: vec!["a".into(), "z".into()] };
    cloud.ok::<iam_ops::UntagRole>(untag);
    let input = iam::ListRoleTagsRequest { role_name: "app".into(), ..Default::default() };
    assert_eq!(cloud.ok::<iam_ops::ListRoleTags>(input).tags, Some(vec![tag("b")]));
    let role = cloud.ok::<iam_ops::GetRole>(iam::GetRoleRequest { role_name: "app".into() }).role.unwrap();
    assert_eq!((role.description.as_deref(), role.max_session_duration), (Some("the app"), Some(7200)));
}

#[test]
fn a_role_with_policies_cannot_be_deleted() {
    let mut cloud = cloud();
    create_role(&mut cloud, "app", TASKS);
    cloud.ok::<iam_ops::AttachRolePolicy>(attach("app", EXECUTION_POLICY));
    put_policy(&mut cloud, "app", r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}"#);
    let delete = iam::DeleteRoleRequest { role_name: "app".into() };
    assert_eq!(cloud.code::<iam_ops::DeleteRole>(delete.clone()), "DeleteConflict");
    let attached = iam::ListAttachedRolePoliciesRequest { role_name: "app".into(), ..Default::default() };
    let attached = cloud.ok::<iam_ops::ListAttachedRolePolicies>(attached).attached_policies.unwrap();
    assert_eq!(attached[0].policy_name.as_deref(), Some("AmazonECSTaskExecutionRolePolicy"));
    let detach =
        iam::DetachRolePolicyRequest { role_name: "app".into(), policy_arn: EXECUTION_POLICY.into() };
    cloud.ok::<iam_ops::DetachRolePolicy>(detach.clone());
    assert_eq!(cloud.code::<iam_ops::DetachRolePolicy>(detach), "NoSuchEntity");
    assert_eq!(cloud.code::<iam_ops::DeleteRole>(delete.clone()), "DeleteConflict");
    let inline = iam::ListRolePoliciesRequest { role_name: "app".into(), ..Default::default() };
    assert_eq!(cloud.ok::<iam_ops::ListRolePolicies>(inline).policy_names.unwrap(), ["inline"]);
    let named = iam::GetRolePolicyRequest { role_name: "app".into(), policy_name: "inline".into() };
    let document = cloud.ok::<iam_ops::GetRolePolicy>(named).policy_document.unwrap();
    assert!(document.contains("s3%3A%2A"), "{document}");
    let drop = iam::DeleteRolePolicyRequest { role_name: "app".into(), policy_name: "inline".into() };
    cloud.ok::<iam_ops::DeleteRolePolicy>(drop.clone());
    assert_eq!(cloud.code::<iam_ops::DeleteRolePolicy>(drop), "NoSuchEntity");
    let profiles = iam::ListInstanceProfilesForRoleRequest { role_name: "app".into(), ..Default::default() };
    assert!(cloud.ok::<iam_ops::ListInstanceProfilesForRole>(profiles).instance_profiles.unwrap().is_empty());
    cloud.ok::<iam_ops::DeleteRole>(delete);
}

#[test]
fn managed_policies_are_shown_with_their_versions() {
    let mut cloud = cloud();
    create_role(&mut cloud, "app", TASKS);
    cloud.ok::<iam_ops::AttachRolePolicy>(attach("app", EXECUTION_POLICY));
    let get = iam::GetPolicyRequest { policy_arn: EXECUTION_POLICY.into() };
    let policy = cloud.ok::<iam_ops::GetPolicy>(get).policy.unwrap();
    assert_eq!((policy.attachment_count, policy.path.as_deref()), (Some(1), Some("/service-role/")));
    let version = |version: &str| iam::GetPolicyVersionRequest {
        policy_arn: EXECUTION_POLICY.into(),
        version_id: version.into(),
    };
    let shown = cloud.ok::<iam_ops::GetPolicyVersion>(version("v1")).policy_version.unwrap();
    assert!(shown.document.unwrap().contains("ecr%3AGetAuthorizationToken"));
    assert_eq!(cloud.code::<iam_ops::GetPolicyVersion>(version("v9")), "NoSuchEntity");
    let list = iam::ListPolicyVersionsRequest { policy_arn: EXECUTION_POLICY.into(), ..Default::default() };
    assert_eq!(cloud.ok::<iam_ops::ListPolicyVersions>(list).versions.unwrap().len(), 1);
    let unknown = "arn:aws:iam::aws:policy/Unknown";
    assert_eq!(cloud.code::<iam_ops::AttachRolePolicy>(attach("app", unknown)), "NoSuchEntity");
}

#[test]
fn bad_documents_are_refused() {
    let mut cloud = cloud();
    for document in ["{", "{}", r#"{"Version": "2012-10-17", "Statement": []}"#] {
        let input = iam::CreateRoleRequest {
            assume_role_policy_document: document.into(),
            ..role_input("bad", TASKS)
        };
        assert_eq!(cloud.code::<iam_ops::CreateRole>(input), "MalformedPolicyDocument", "{document}");
    }
    create_role(&mut cloud, "app", TASKS);
    let big = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Action": "s3:{}", "Resource": "*"}}}}"#,
        "x".repeat(10_240)
    );
    let input = iam::PutRolePolicyRequest {
        role_name: "app".into(),
        policy_name: "big".into(),
        policy_document: big,
    };
    assert_eq!(cloud.code::<iam_ops::PutRolePolicy>(input), "LimitExceeded");
}

#[test]
fn administrators_are_known_by_their_keys() {
    let cloud = cloud();
    for (key, arn) in
        [("test", "arn:aws:iam::000000000000:root"), ("123456789012", "arn:aws:iam::123456789012:root")]
    {
        let credential = authenticate(&cloud.state, key, cloud.now).expect("an administrator");
        assert_eq!((credential.caller.arn.as_str(), credential.secret.reveal()), (arn, "test"));
        assert_eq!(credential.session_token, None);
        assert_eq!(may(&cloud, &credential.caller, "ecs:DeleteCluster", "*"), Ok(()));
    }
    for key in ["", "AKIAIOSFODNN7EXAMPLE", "ASIAAAAAAAAAAAAAAAAA", "12345678901x"] {
        assert_eq!(authenticate(&cloud.state, key, cloud.now), Err(AuthFailure::Unknown), "{key}");
    }
}

#[test]
fn a_session_acts_as_its_role_until_it_expires() {
    let mut cloud = cloud();
    let arn = create_role(&mut cloud, "deployer", ACCOUNT).arn.unwrap();
    put_policy(
        &mut cloud,
        "deployer",
        r#"{"Effect": "Allow", "Action": "ecs:*", "Resource": "*"},
           {"Effect": "Deny", "Action": "ecs:DeleteCluster", "Resource": "*"}"#,
    );
    let output = cloud.ok::<sts_ops::AssumeRole>(assume(&arn, "ci"));
    let credentials = output.credentials.unwrap();
    let key = credentials.access_key_id.unwrap();
    let credential = authenticate(&cloud.state, &key, cloud.now).expect("fresh credentials");
    assert_eq!(Some(credential.secret.reveal().to_owned()), credentials.secret_access_key);
    assert_eq!(credential.session_token.map(|token| token.reveal().to_owned()), credentials.session_token);
    let caller = credential.caller;
    assert_eq!(caller.arn, "arn:aws:sts::000000000000:assumed-role/deployer/ci");
    assert_eq!(may(&cloud, &caller, "ecs:UpdateService", "*"), Ok(()));
    let arn_of = "arn:aws:sts::000000000000:assumed-role/deployer/ci";
    assert_eq!(
        may(&cloud, &caller, "ec2:DeleteVpc", "*"),
        Err(format!(
            "You are not authorized to perform this operation. User: {arn_of} is not authorized to perform: \
             ec2:DeleteVpc on resource: * because no identity-based policy allows the ec2:DeleteVpc action"
        ))
    );
    assert_eq!(
        may(&cloud, &caller, "ecs:DeleteCluster", "*"),
        Err(format!(
            "User: {arn_of} is not authorized to perform: ecs:DeleteCluster on resource: * with an explicit deny in \
             an identity-based policy"
        ))
    );
    cloud.caller = caller;
    let identity = cloud.ok::<sts_ops::GetCallerIdentity>(Default::default());
    assert_eq!(identity.arn.as_deref(), Some(arn_of));
    cloud.advance(Duration::from_secs(3600));
    assert_eq!(authenticate(&cloud.state, &key, cloud.now), Err(AuthFailure::Expired));
}

#[test]
fn a_new_role_of_the_same_name_does_not_revive_sessions() {
    let mut cloud = cloud();
    let arn = create_role(&mut cloud, "app", ACCOUNT).arn.unwrap();
    let key =
        cloud.ok::<sts_ops::AssumeRole>(assume(&arn, "one")).credentials.unwrap().access_key_id.unwrap();
    cloud.ok::<iam_ops::DeleteRole>(iam::DeleteRoleRequest { role_name: "app".into() });
    assert_eq!(authenticate(&cloud.state, &key, cloud.now), Err(AuthFailure::Unknown));
    create_role(&mut cloud, "app", ACCOUNT);
    assert_eq!(authenticate(&cloud.state, &key, cloud.now), Err(AuthFailure::Unknown));
}

#[test]
fn only_those_whom_a_role_trusts_may_assume_it() {
    let mut cloud = cloud();
    let tasks_only = create_role(&mut cloud, "task", TASKS).arn.unwrap();
    assert_eq!(cloud.code::<sts_ops::AssumeRole>(assume(&tasks_only, "me")), "AccessDenied");
    let unknown = "arn:aws:iam::000000000000:role/unknown";
    assert_eq!(cloud.code::<sts_ops::AssumeRole>(assume(unknown, "me")), "AccessDenied");
    let first = create_role(&mut cloud, "first", ACCOUNT).arn.unwrap();
    let by_account = create_role(&mut cloud, "by-account", ACCOUNT).arn.unwrap();
    let by_name = create_role(&mut cloud, "by-name", &format!(r#"{{"AWS": "{first}"}}"#)).arn.unwrap();
    cloud.caller = become_role(&mut cloud, &first);
    cloud.ok::<sts_ops::AssumeRole>(assume(&by_name, "me"));
    assert_eq!(cloud.code::<sts_ops::AssumeRole>(assume(&by_account, "me")), "AccessDenied");
    put_policy(&mut cloud, "first", r#"{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}"#);
    cloud.ok::<sts_ops::AssumeRole>(assume(&by_account, "me"));
    let long = sts::AssumeRoleRequest { duration_seconds: Some(7200), ..assume(&by_name, "me") };
    assert_eq!(cloud.code::<sts_ops::AssumeRole>(long), "ValidationError");
}

#[test]
fn an_external_id_can_be_demanded() {
    let mut cloud = cloud();
    let arn = "arn:aws:iam::000000000000:role/guarded";
    let document = r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "000000000000"},
        "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": "42"}}}}"#;
    let input = iam::CreateRoleRequest {
        assume_role_policy_document: document.into(),
        ..role_input("guarded", TASKS)
    };
    cloud.ok::<iam_ops::CreateRole>(input);
    assert_eq!(cloud.code::<sts_ops::AssumeRole>(assume(arn, "me")), "AccessDenied");
    let with_id = sts::AssumeRoleRequest { external_id: Some("42".into()), ..assume(arn, "me") };
    cloud.ok::<sts_ops::AssumeRole>(with_id);
}

#[test]
fn tasks_get_credentials_of_roles_that_trust_them() {
    let mut cloud = cloud();
    let task_role = create_role(&mut cloud, "task", TASKS).arn.unwrap();
    let other = create_role(&mut cloud, "other", ACCOUNT).arn.unwrap();
    let task = "0123456789abcdef0123456789abcdef";
    let get = |cloud: &mut Cloud, role: &str| {
        cloud.write(|cx| {
            let mut mint = Mint { ids: cx.ids, entropy: cx.entropy };
            task_credentials(cx.tx, &mut mint, role, task, cx.now)
        })
    };
    assert_eq!(get(&mut cloud, &other).unwrap_err().code, "ClientException");
    assert_eq!(get(&mut cloud, "arn:aws:iam::000000000000:role/gone").unwrap_err().code, "ClientException");
    let credentials = get(&mut cloud, &task_role).unwrap();
    assert!(!format!("{credentials:?}").contains("AccessKeyId"), "secrets do not print");
    let document: serde_json::Value = serde_json::from_str(credentials.document.reveal()).unwrap();
    let key = document["AccessKeyId"].as_str().unwrap().to_owned();
    let caller = authenticate(&cloud.state, &key, cloud.now).unwrap().caller;
    assert_eq!(caller.arn, format!("arn:aws:sts::000000000000:assumed-role/task/{task}"));
    assert_eq!(document["RoleArn"], task_role);
    cloud.write(|cx| end_task_credentials(cx.tx, task));
    assert_eq!(authenticate(&cloud.state, &key, cloud.now), Err(AuthFailure::Unknown));
}
