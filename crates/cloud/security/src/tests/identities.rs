//! Users, groups, managed policies and boundaries through the operations, and what follows for those who have them.

use std::time::Duration;

use pileus_aws::iam::{self, ops};
use pileus_aws::sts::{self, ops as sts_ops};
use pileus_kit::Cloud;
use pileus_service::Caller;
use proptest::prelude::*;

use super::{ACCOUNT, EXECUTION_POLICY, TASKS, attach, cloud, create_role, may, role_input};
use crate::{AuthFailure, Mint, authenticate, note_use, root_key, set_strict, use_is_news};

fn document(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

fn allow(action: &str, resource: &str) -> String {
    document(&format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}"#))
}

fn create_user(cloud: &mut Cloud, name: &str) -> iam::User {
    let input = iam::CreateUserRequest { user_name: name.into(), ..Default::default() };
    cloud.ok::<ops::CreateUser>(input).user.unwrap()
}

fn create_key(cloud: &mut Cloud, user: &str) -> iam::AccessKey {
    let input = iam::CreateAccessKeyRequest { user_name: Some(user.into()) };
    cloud.ok::<ops::CreateAccessKey>(input).access_key.unwrap()
}

fn become_user(cloud: &mut Cloud, name: &str) -> Caller {
    let key = create_key(cloud, name).access_key_id.unwrap();
    authenticate(&cloud.state, &key, cloud.now).expect("a fresh key").caller
}

fn create_policy(cloud: &mut Cloud, name: &str, document: String) -> String {
    let input = iam::CreatePolicyRequest {
        policy_name: name.into(),
        policy_document: document,
        ..Default::default()
    };
    cloud.ok::<ops::CreatePolicy>(input).policy.unwrap().arn.unwrap()
}

fn put_user_policy(cloud: &mut Cloud, user: &str, document: String) {
    cloud.ok::<ops::PutUserPolicy>(iam::PutUserPolicyRequest {
        user_name: user.into(),
        policy_name: "inline".into(),
        policy_document: document,
    });
}

#[test]
fn a_users_keys_are_made_switched_off_and_deleted() {
    let mut cloud = cloud();
    create_user(&mut cloud, "alice");
    let key = create_key(&mut cloud, "alice");
    let id = key.access_key_id.unwrap();
    assert!(id.starts_with("AKIA") && id.len() == 20, "{id}");
    let credential = authenticate(&cloud.state, &id, cloud.now).unwrap();
    assert_eq!(credential.secret.reveal(), key.secret_access_key.unwrap());
    assert_eq!(credential.caller.arn, "arn:aws:iam::000000000000:user/alice");
    create_key(&mut cloud, "alice");
    let third = iam::CreateAccessKeyRequest { user_name: Some("alice".into()) };
    assert_eq!(cloud.code::<ops::CreateAccessKey>(third), "LimitExceeded");
    let update = |status: &str| iam::UpdateAccessKeyRequest {
        user_name: Some("alice".into()),
        access_key_id: id.clone(),
        status: status.into(),
    };
    cloud.ok::<ops::UpdateAccessKey>(update("Inactive"));
    assert_eq!(authenticate(&cloud.state, &id, cloud.now), Err(AuthFailure::Unknown));
    cloud.ok::<ops::UpdateAccessKey>(update("Active"));
    assert!(use_is_news(&cloud.state, &id, cloud.now));
    cloud.write(|cx| note_use(cx.tx, &id, "ecs", "eu-west-1", cx.now));
    assert!(!use_is_news(&cloud.state, &id, cloud.now));
    let used =
        cloud.ok::<ops::GetAccessKeyLastUsed>(iam::GetAccessKeyLastUsedRequest { access_key_id: id.clone() });
    assert_eq!(used.access_key_last_used.unwrap().service_name.as_deref(), Some("ecs"));
    let delete = iam::DeleteUserRequest { user_name: "alice".into() };
    assert_eq!(cloud.code::<ops::DeleteUser>(delete.clone()), "DeleteConflict");
    let list = iam::ListAccessKeysRequest { user_name: Some("alice".into()), ..Default::default() };
    for key in cloud.ok::<ops::ListAccessKeys>(list).access_key_metadata.unwrap() {
        let access_key_id = key.access_key_id.unwrap();
        let input = iam::DeleteAccessKeyRequest { user_name: Some("alice".into()), access_key_id };
        cloud.ok::<ops::DeleteAccessKey>(input);
    }
    assert_eq!(authenticate(&cloud.state, &id, cloud.now), Err(AuthFailure::Unknown));
    cloud.ok::<ops::DeleteUser>(delete);
}

#[test]
fn a_user_may_do_what_it_and_its_groups_may() {
    let mut cloud = cloud();
    create_user(&mut cloud, "alice");
    let alice = become_user(&mut cloud, "alice");
    put_user_policy(&mut cloud, "alice", allow("ecs:List*", "*"));
    assert_eq!(may(&cloud, &alice, "ecs:ListTasks", "*"), Ok(()));
    assert!(may(&cloud, &alice, "logs:PutLogEvents", "*").is_err());
    let group = iam::CreateGroupRequest { group_name: "devs".into(), path: None };
    cloud.ok::<ops::CreateGroup>(group);
    let policy = create_policy(&mut cloud, "logs", allow("logs:*", "*"));
    cloud.ok::<ops::AttachGroupPolicy>(iam::AttachGroupPolicyRequest {
        group_name: "devs".into(),
        policy_arn: policy.clone(),
    });
    let membership = iam::AddUserToGroupRequest { group_name: "devs".into(), user_name: "alice".into() };
    cloud.ok::<ops::AddUserToGroup>(membership);
    assert_eq!(may(&cloud, &alice, "logs:PutLogEvents", "*"), Ok(()));
    // A new version counts from when it is the default.
    let version = |default: bool| iam::CreatePolicyVersionRequest {
        policy_arn: policy.clone(),
        policy_document: allow("logs:Get*", "*"),
        set_as_default: Some(default),
    };
    cloud.ok::<ops::CreatePolicyVersion>(version(false));
    assert_eq!(may(&cloud, &alice, "logs:PutLogEvents", "*"), Ok(()));
    cloud.ok::<ops::SetDefaultPolicyVersion>(iam::SetDefaultPolicyVersionRequest {
        policy_arn: policy.clone(),
        version_id: "v2".into(),
    });
    assert!(may(&cloud, &alice, "logs:PutLogEvents", "*").is_err());
    for _ in 0..3 {
        cloud.ok::<ops::CreatePolicyVersion>(version(false));
    }
    assert_eq!(cloud.code::<ops::CreatePolicyVersion>(version(false)), "LimitExceeded");
    let default = iam::DeletePolicyVersionRequest { policy_arn: policy.clone(), version_id: "v2".into() };
    assert_eq!(cloud.code::<ops::DeletePolicyVersion>(default), "DeleteConflict");
    assert_eq!(
        cloud.code::<ops::DeletePolicy>(iam::DeletePolicyRequest { policy_arn: policy.clone() }),
        "DeleteConflict"
    );
    let entities = iam::ListEntitiesForPolicyRequest { policy_arn: policy, ..Default::default() };
    let entities = cloud.ok::<ops::ListEntitiesForPolicy>(entities);
    assert_eq!(entities.policy_groups.unwrap()[0].group_name.as_deref(), Some("devs"));
    let group = iam::DeleteGroupRequest { group_name: "devs".into() };
    assert_eq!(cloud.code::<ops::DeleteGroup>(group), "DeleteConflict");
}

#[test]
fn a_boundary_limits_users_and_roles() {
    let mut cloud = cloud();
    let boundary = create_policy(&mut cloud, "edge", allow("ecs:*", "*"));
    let input = iam::CreateUserRequest {
        user_name: "bob".into(),
        permissions_boundary: Some(boundary.clone()),
        ..Default::default()
    };
    let user = cloud.ok::<ops::CreateUser>(input).user.unwrap();
    assert_eq!(user.permissions_boundary.unwrap().permissions_boundary_arn, Some(boundary.clone()));
    let bob = become_user(&mut cloud, "bob");
    put_user_policy(&mut cloud, "bob", allow("*", "*"));
    assert_eq!(may(&cloud, &bob, "ecs:ListTasks", "*"), Ok(()));
    assert_eq!(
        may(&cloud, &bob, "iam:ListUsers", "*"),
        Err("User: arn:aws:iam::000000000000:user/bob is not authorized to perform: iam:ListUsers on resource: * because \
             no permissions boundary allows the iam:ListUsers action"
            .to_owned())
    );
    let delete = iam::DeletePolicyRequest { policy_arn: boundary };
    assert_eq!(cloud.code::<ops::DeletePolicy>(delete), "DeleteConflict");
    let user = || iam::DeleteUserPermissionsBoundaryRequest { user_name: "bob".into() };
    cloud.ok::<ops::DeleteUserPermissionsBoundary>(user());
    assert_eq!(cloud.code::<ops::DeleteUserPermissionsBoundary>(user()), "NoSuchEntity");
    assert_eq!(may(&cloud, &bob, "iam:ListUsers", "*"), Ok(()));
    let role = iam::CreateRoleRequest {
        permissions_boundary: Some("arn:aws:iam::000000000000:policy/none".into()),
        ..role_input("r", TASKS)
    };
    assert_eq!(cloud.code::<ops::CreateRole>(role), "NoSuchEntity");
}

#[test]
fn a_session_has_no_more_than_its_own_policies() {
    let mut cloud = cloud();
    let role = create_role(&mut cloud, "deployer", ACCOUNT).arn.unwrap();
    cloud.ok::<ops::AttachRolePolicy>(attach("deployer", "arn:aws:iam::aws:policy/AdministratorAccess"));
    let input = sts::AssumeRoleRequest {
        role_arn: role,
        role_session_name: "narrow".into(),
        policy: Some(allow("ecs:*", "*")),
        source_identity: Some("alice".into()),
        tags: Some(vec![sts::Tag { key: "team".into(), value: "a".into() }]),
        ..Default::default()
    };
    // Tags and a source identity must be allowed by the trust policy itself.
    assert_eq!(cloud.code::<sts_ops::AssumeRole>(input.clone()), "AccessDenied");
    let trust = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"000000000000"},
        "Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}}"#;
    cloud.ok::<ops::UpdateAssumeRolePolicy>(iam::UpdateAssumeRolePolicyRequest {
        role_name: "deployer".into(),
        policy_document: trust.into(),
    });
    let output = cloud.ok::<sts_ops::AssumeRole>(input);
    assert_eq!(output.source_identity.as_deref(), Some("alice"));
    let key = output.credentials.unwrap().access_key_id.unwrap();
    let caller = authenticate(&cloud.state, &key, cloud.now).unwrap().caller;
    assert_eq!(may(&cloud, &caller, "ecs:ListTasks", "*"), Ok(()));
    let denial = may(&cloud, &caller, "ec2:DescribeVpcs", "*").unwrap_err();
    assert!(denial.contains("because no session policy allows the ec2:DescribeVpcs action"), "{denial}");
    cloud.advance(Duration::from_secs(3600));
    assert_eq!(authenticate(&cloud.state, &key, cloud.now), Err(AuthFailure::Expired));
}

#[test]
fn the_limits_of_a_session_are_not_forgotten_before_what_it_was_given() {
    let mut cloud = cloud();
    let role = create_role(&mut cloud, "app", ACCOUNT).arn.unwrap();
    cloud.ok::<ops::AttachRolePolicy>(attach("app", "arn:aws:iam::aws:policy/AdministratorAccess"));
    let start = |cloud: &mut Cloud| {
        let output = cloud.ok::<sts_ops::AssumeRole>(sts::AssumeRoleRequest {
            role_arn: role.clone(),
            role_session_name: "narrow".into(),
            policy: Some(allow("ecr:*", "*")),
            ..Default::default()
        });
        let key = output.credentials.unwrap().access_key_id.unwrap();
        authenticate(&cloud.state, &key, cloud.now).unwrap().caller
    };
    let caller = start(&mut cloud);
    for (hours, pulls) in [(2, true), (12, false)] {
        cloud.advance(Duration::from_secs(hours * 3600));
        start(&mut cloud);
        assert_eq!(may(&cloud, &caller, "ecr:BatchGetImage", "*").is_ok(), pulls);
        assert!(may(&cloud, &caller, "iam:CreateUser", "*").is_err());
    }
}

#[test]
fn users_get_temporary_credentials_for_themselves_and_for_others() {
    let mut cloud = cloud();
    create_user(&mut cloud, "alice");
    put_user_policy(&mut cloud, "alice", allow("ecs:*", "*"));
    cloud.caller = become_user(&mut cloud, "alice");
    let own = cloud.ok::<sts_ops::GetSessionToken>(Default::default()).credentials.unwrap();
    let credential = authenticate(&cloud.state, &own.access_key_id.unwrap(), cloud.now).unwrap();
    assert_eq!(credential.caller.arn, "arn:aws:iam::000000000000:user/alice");
    assert_eq!(may(&cloud, &credential.caller, "ecs:ListTasks", "*"), Ok(()));
    let federate = |policy: Option<String>| sts::GetFederationTokenRequest {
        name: "guest".into(),
        policy,
        ..Default::default()
    };
    for (policy, allowed) in [(None, false), (Some(allow("*", "*")), true)] {
        let output = cloud.ok::<sts_ops::GetFederationToken>(federate(policy));
        let key = output.credentials.unwrap().access_key_id.unwrap();
        let caller = authenticate(&cloud.state, &key, cloud.now).unwrap().caller;
        assert_eq!(caller.arn, "arn:aws:sts::000000000000:federated-user/guest");
        assert_eq!(may(&cloud, &caller, "ecs:ListTasks", "*").is_ok(), allowed);
        assert!(may(&cloud, &caller, "ec2:DescribeVpcs", "*").is_err());
    }
    cloud.caller = credential.caller;
    assert_eq!(cloud.code::<sts_ops::GetSessionToken>(Default::default()), "AccessDenied");
}

#[test]
fn strict_means_issued_credentials_only() {
    let mut cloud = cloud();
    cloud.write(|cx| set_strict(cx.tx, true));
    for key in ["test", "123456789012"] {
        assert_eq!(authenticate(&cloud.state, key, cloud.now), Err(AuthFailure::Unknown));
    }
    let make = |cloud: &mut Cloud| {
        cloud.write(|cx| {
            let mut mint = Mint { ids: cx.ids, entropy: cx.entropy };
            root_key(cx.tx, &mut mint, cx.now)
        })
    };
    let (id, secret) = make(&mut cloud);
    assert_eq!(make(&mut cloud).0, id, "it is made once");
    let root = authenticate(&cloud.state, &id, cloud.now).unwrap();
    assert_eq!((root.caller.arn.as_str(), root.secret), ("arn:aws:iam::000000000000:root", secret));
    assert_eq!(may(&cloud, &root.caller, "iam:CreateUser", "*"), Ok(()));
    cloud.write(|cx| set_strict(cx.tx, false));
    assert!(authenticate(&cloud.state, "test", cloud.now).is_ok());
}

#[test]
fn an_instance_profile_holds_one_role() {
    let mut cloud = cloud();
    create_role(&mut cloud, "app", TASKS);
    let create =
        iam::CreateInstanceProfileRequest { instance_profile_name: "web".into(), ..Default::default() };
    cloud.ok::<ops::CreateInstanceProfile>(create.clone());
    assert_eq!(cloud.code::<ops::CreateInstanceProfile>(create), "EntityAlreadyExists");
    let add =
        iam::AddRoleToInstanceProfileRequest { instance_profile_name: "web".into(), role_name: "app".into() };
    cloud.ok::<ops::AddRoleToInstanceProfile>(add.clone());
    assert_eq!(cloud.code::<ops::AddRoleToInstanceProfile>(add), "LimitExceeded");
    let list = iam::ListInstanceProfilesForRoleRequest { role_name: "app".into(), ..Default::default() };
    let listed = cloud.ok::<ops::ListInstanceProfilesForRole>(list).instance_profiles.unwrap();
    assert_eq!(listed[0].roles.as_ref().unwrap()[0].role_name.as_deref(), Some("app"));
    assert_eq!(
        cloud.code::<ops::DeleteRole>(iam::DeleteRoleRequest { role_name: "app".into() }),
        "DeleteConflict"
    );
    let profile = iam::DeleteInstanceProfileRequest { instance_profile_name: "web".into() };
    assert_eq!(cloud.code::<ops::DeleteInstanceProfile>(profile.clone()), "DeleteConflict");
    cloud.ok::<ops::RemoveRoleFromInstanceProfile>(iam::RemoveRoleFromInstanceProfileRequest {
        instance_profile_name: "web".into(),
        role_name: "app".into(),
    });
    cloud.ok::<ops::DeleteInstanceProfile>(profile);
}

#[test]
fn services_have_roles_of_their_own() {
    let mut cloud = cloud();
    let make = |cloud: &mut Cloud| {
        cloud.write(|cx| crate::service_linked_role(cx.tx, cx.ids, cx.now, "ecs.amazonaws.com").unwrap())
    };
    let arn = make(&mut cloud);
    assert_eq!(arn, "arn:aws:iam::000000000000:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS");
    assert_eq!(make(&mut cloud), arn);
    let create = |service: &str| iam::CreateServiceLinkedRoleRequest {
        aws_service_name: service.into(),
        ..Default::default()
    };
    assert_eq!(cloud.code::<ops::CreateServiceLinkedRole>(create("ecs.amazonaws.com")), "InvalidInput");
    assert_eq!(cloud.code::<ops::CreateServiceLinkedRole>(create("x.amazonaws.com")), "UnsupportedOperation");
    let name = "AWSServiceRoleForECS";
    assert_eq!(cloud.code::<ops::AttachRolePolicy>(attach(name, EXECUTION_POLICY)), "UnmodifiableEntity");
    let delete = iam::DeleteRoleRequest { role_name: name.into() };
    assert_eq!(cloud.code::<ops::DeleteRole>(delete), "UnmodifiableEntity");
    let delete = iam::DeleteServiceLinkedRoleRequest { role_name: name.into() };
    let task = cloud.ok::<ops::DeleteServiceLinkedRole>(delete).deletion_task_id.unwrap();
    let status = iam::GetServiceLinkedRoleDeletionStatusRequest { deletion_task_id: task };
    let status = cloud.ok::<ops::GetServiceLinkedRoleDeletionStatus>(status);
    assert_eq!(status.status.as_deref(), Some("SUCCEEDED"));
}

#[test]
fn the_account_is_told_as_a_whole() {
    let mut cloud = cloud();
    create_user(&mut cloud, "alice");
    create_role(&mut cloud, "app", TASKS);
    cloud.ok::<ops::AttachRolePolicy>(attach("app", EXECUTION_POLICY));
    let summary = cloud.ok::<ops::GetAccountSummary>(Default::default()).summary_map.unwrap();
    assert_eq!((summary["Users"], summary["Roles"], summary["Groups"]), (1, 1, 0));
    let details = cloud.ok::<ops::GetAccountAuthorizationDetails>(Default::default());
    assert_eq!(details.user_detail_list.unwrap().len(), 1);
    assert_eq!(details.policies.unwrap()[0].arn.as_deref(), Some(EXECUTION_POLICY));
    let alias = |alias: &str| iam::CreateAccountAliasRequest { account_alias: alias.into() };
    cloud.ok::<ops::CreateAccountAlias>(alias("mine"));
    assert_eq!(cloud.code::<ops::CreateAccountAlias>(alias("mine")), "EntityAlreadyExists");
    let aliases = cloud.ok::<ops::ListAccountAliases>(Default::default()).account_aliases;
    assert_eq!(aliases, Some(vec!["mine".to_owned()]));
    let all = iam::ListPoliciesRequest { only_attached: Some(true), ..Default::default() };
    assert_eq!(cloud.ok::<ops::ListPolicies>(all).policies.unwrap().len(), 1);
    let local = iam::ListPoliciesRequest { scope: Some("Local".into()), ..Default::default() };
    assert!(cloud.ok::<ops::ListPolicies>(local).policies.unwrap().is_empty());
}

fn statements() -> impl Strategy<Value = String> {
    let effect = prop_oneof![Just("Allow"), Just("Allow"), Just("Deny")];
    let action = prop_oneof![Just("*"), Just("ecs:*"), Just("ecs:List*"), Just("s3:GetObject")];
    let resource = prop_oneof![
        Just("*"),
        Just("arn:aws:ecs:us-east-1:000000000000:cluster/web"),
        Just("arn:aws:s3:::${aws:username}/*"),
    ];
    let one = (effect, action, resource).prop_map(|(effect, action, resource)| {
        format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"}}"#)
    });
    proptest::collection::vec(one, 1..5).prop_map(|list| document(&list.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// What `simulate-principal-policy` tells is what is enforced.
    #[test]
    fn simulation_agrees_with_enforcement(own in statements(), edge in proptest::option::of(statements())) {
        let mut cloud = cloud();
        create_user(&mut cloud, "alice");
        let alice = become_user(&mut cloud, "alice");
        put_user_policy(&mut cloud, "alice", own);
        if let Some(edge) = edge {
            let arn = create_policy(&mut cloud, "edge", edge);
            cloud.ok::<ops::PutUserPermissionsBoundary>(iam::PutUserPermissionsBoundaryRequest {
                user_name: "alice".into(),
                permissions_boundary: arn,
            });
        }
        let actions = ["ecs:ListTasks", "ecs:DeleteCluster", "s3:GetObject"].map(str::to_owned);
        let resources =
            ["*", "arn:aws:ecs:us-east-1:000000000000:cluster/web", "arn:aws:s3:::alice/x"].map(str::to_owned);
        let results = cloud.ok::<ops::SimulatePrincipalPolicy>(iam::SimulatePrincipalPolicyRequest {
            policy_source_arn: alice.arn.clone(),
            action_names: actions.to_vec(),
            resource_arns: Some(resources.to_vec()),
            ..Default::default()
        });
        let results = results.evaluation_results.unwrap();
        prop_assert_eq!(results.len(), 9);
        for result in results {
            let (action, resource) = (result.eval_action_name.unwrap(), result.eval_resource_name.unwrap());
            let enforced = match may(&cloud, &alice, &action, &resource) {
                Ok(()) => "allowed",
                Err(denial) if denial.contains("explicit deny") => "explicitDeny",
                Err(_) => "implicitDeny",
            };
            prop_assert_eq!(result.eval_decision.as_deref(), Some(enforced), "{} {}", action, resource);
        }
    }
}
