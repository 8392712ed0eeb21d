//! Policies and what follows from them for requests.

use proptest::prelude::*;

use super::*;

const ALICE: &str = "arn:aws:iam::000000000001:user/alice";

fn policy(statements: &str) -> Policy {
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    parse(Kind::Identity, &document).expect("a valid policy")
}

fn of_resource(statements: &str) -> Policy {
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    parse(Kind::Resource, &document).expect("a valid policy")
}

const NOTHING: Applying = Applying {
    identity: &[],
    boundary: None,
    session: None,
    resource: None,
    relation: Relation::SameAccount,
};

fn alice() -> Principal<'static> {
    Principal::Aws { account: "000000000001", arn: ALICE, issuer: None }
}

fn ask(policies: &[Policy], action: &str, resource: &str) -> Verdict {
    let keys = ContextKeys::from([("aws:username".into(), vec!["alice".into()])]);
    let request = Request { action, resource, keys: &keys };
    evaluate(&Applying { identity: policies, ..NOTHING }, &alice(), &request)
}

#[test]
fn decisions() {
    const ALLOW: Verdict = Verdict::Allow;
    const DENY: Verdict = Verdict::ExplicitDeny(Source::Identity);
    const NONE: Verdict = Verdict::ImplicitDeny(Source::Identity);
    let read = r#"{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"arn:aws:s3:::b/*"}"#;
    let no_secret = r#"{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::b/secret*"}"#;
    let all_but_iam = r#"{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}"#;
    let elsewhere = r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::b/*"}"#;
    let home = r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/*"}"#;
    let lost = r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:userid}/*"}"#;
    for (statements, action, resource, expected) in [
        (vec![read], "s3:GetObject", "arn:aws:s3:::b/x", ALLOW),
        (vec![read], "S3:getobject", "arn:aws:s3:::b/x", ALLOW),
        (vec![read], "s3:PutObject", "arn:aws:s3:::b/x", NONE),
        (vec![read], "s3:GetObject", "arn:aws:s3:::B/x", NONE),
        (vec![read, no_secret], "s3:GetObject", "arn:aws:s3:::b/secret1", DENY),
        (vec![no_secret, read], "s3:GetObject", "arn:aws:s3:::b/secret1", DENY),
        (vec![read], "s3:GetObject", "*", NONE),
        (vec![all_but_iam], "iam:GetRole", "*", NONE),
        (vec![all_but_iam], "ecs:ListTasks", "*", ALLOW),
        (vec![elsewhere], "s3:GetObject", "arn:aws:s3:::b/x", NONE),
        (vec![elsewhere], "s3:GetObject", "arn:aws:s3:::c/x", ALLOW),
        (vec![home], "s3:GetObject", "arn:aws:s3:::b/alice/x", ALLOW),
        (vec![home], "s3:GetObject", "arn:aws:s3:::b/bob/x", NONE),
        (vec![lost], "s3:GetObject", "arn:aws:s3:::b//x", NONE),
        (vec![], "s3:GetObject", "*", NONE),
    ] {
        let policies: Vec<Policy> = statements.iter().map(|statement| policy(statement)).collect();
        assert_eq!(ask(&policies, action, resource), expected, "{statements:?} {action} {resource}");
    }
}

/// The example of the guide: a boundary that allows S3, CloudWatch and EC2, and a policy that allows IAM.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html>
#[test]
fn a_boundary_limits_and_grants_nothing() {
    let boundary = [policy(r#"{"Effect":"Allow","Action":["s3:*","cloudwatch:*","ec2:*"],"Resource":"*"}"#)];
    let identity = [policy(r#"{"Effect":"Allow","Action":["iam:CreateUser","s3:Get*"],"Resource":"*"}"#)];
    let keys = ContextKeys::new();
    let of = |action: &str| {
        let request = Request { action, resource: "*", keys: &keys };
        let applying = Applying { identity: &identity, boundary: Some(&boundary), ..NOTHING };
        evaluate(&applying, &alice(), &request)
    };
    assert_eq!(of("iam:CreateUser"), Verdict::ImplicitDeny(Source::Boundary));
    assert_eq!(of("ec2:RunInstances"), Verdict::ImplicitDeny(Source::Identity));
    assert_eq!(of("s3:GetObject"), Verdict::Allow);
}

/// The rows of the guide's table of how resources' policies meet the others.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-single-account.html>
/// Identity, boundary, session, the resource's policy, the relation, and what follows.
type Case<'a> = (&'a [Policy], Option<&'a [Policy]>, Option<&'a [Policy]>, &'a str, Relation, Verdict);

#[test]
fn resources_policies_meet_the_others() {
    const SESSION: &str = "arn:aws:sts::000000000001:assumed-role/app/s";
    const ROLE: &str = "arn:aws:iam::000000000001:role/app";
    let session = Principal::Aws { account: "000000000001", arn: SESSION, issuer: Some(ROLE) };
    let allow = [policy(r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#)];
    let other = [policy(r#"{"Effect":"Allow","Action":"ec2:*","Resource":"*"}"#)];
    let deny = [policy(r#"{"Effect":"Deny","Action":"s3:*","Resource":"*"}"#)];
    let to = |who: &str| {
        of_resource(&format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":"{who}"}},"Action":"s3:GetObject","Resource":"*"}}"#
        ))
    };
    let keys = ContextKeys::new();
    let request = Request { action: "s3:GetObject", resource: "arn:aws:s3:::b/x", keys: &keys };
    let by = |source| Verdict::ImplicitDeny(source);
    let (same, foreign) = (Relation::SameAccount, Relation::OtherAccount);
    let account = "000000000001";
    let cases: [Case; 13] = [
        (&[], None, None, SESSION, same, Verdict::Allow),
        (&[], Some(&other), Some(&other), SESSION, same, Verdict::Allow),
        (&[], None, None, ROLE, same, Verdict::Allow),
        (&[], Some(&other), None, ROLE, same, by(Source::Boundary)),
        (&[], None, Some(&other), ROLE, same, by(Source::Session)),
        (&[], None, None, "*", same, Verdict::Allow),
        (&[], None, None, account, same, by(Source::Identity)),
        (&allow, None, None, account, same, Verdict::Allow),
        (&deny, None, None, SESSION, same, Verdict::ExplicitDeny(Source::Identity)),
        (&allow, None, None, "000000000002", foreign, by(Source::Resource)),
        (&[], None, None, SESSION, foreign, by(Source::Identity)),
        (&allow, None, None, account, foreign, Verdict::Allow),
        (&allow, None, Some(&deny), SESSION, foreign, Verdict::ExplicitDeny(Source::Session)),
    ];
    for (identity, boundary, limits, named, relation, expected) in cases {
        let resource = to(named);
        let applying = Applying { identity, boundary, session: limits, resource: Some(&resource), relation };
        assert_eq!(evaluate(&applying, &session, &request), expected, "{named} {relation:?}");
    }
}

#[test]
fn a_resources_deny_counts_for_whom_it_means() {
    let keys = ContextKeys::new();
    let request = Request { action: "s3:GetObject", resource: "arn:aws:s3:::b/x", keys: &keys };
    let allow = [policy(r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#)];
    for (principal, expected) in [
        (r#""Principal":"*""#, Verdict::ExplicitDeny(Source::Resource)),
        (r#""Principal":{"AWS":"arn:aws:iam::000000000001:user/bob"}"#, Verdict::Allow),
        (
            r#""NotPrincipal":{"AWS":"arn:aws:iam::000000000001:user/bob"}"#,
            Verdict::ExplicitDeny(Source::Resource),
        ),
        (r#""NotPrincipal":{"AWS":"arn:aws:iam::000000000001:user/alice"}"#, Verdict::Allow),
    ] {
        let resource = of_resource(&format!(r#"{{"Effect":"Deny",{principal},"Action":"s3:*"}}"#));
        let applying = Applying { identity: &allow, resource: Some(&resource), ..NOTHING };
        assert_eq!(evaluate(&applying, &alice(), &request), expected, "{principal}");
    }
}

/// <https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html>
#[test]
fn an_endpoint_lets_pass_and_grants_nothing() {
    let endpoint = of_resource(
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:Get*","Resource":"*"},
           {"Effect":"Deny","Principal":"*","Action":"*","Resource":"arn:aws:s3:::secret/*"}"#,
    );
    let keys = ContextKeys::new();
    for (action, resource, expected) in [
        ("s3:GetObject", "arn:aws:s3:::b/x", Verdict::Allow),
        ("s3:PutObject", "arn:aws:s3:::b/x", Verdict::ImplicitDeny(Source::Endpoint)),
        ("s3:GetObject", "arn:aws:s3:::secret/x", Verdict::ExplicitDeny(Source::Endpoint)),
    ] {
        let request = Request { action, resource, keys: &keys };
        assert_eq!(through_endpoint(&endpoint, &alice(), &request), expected, "{action} {resource}");
    }
}

#[test]
fn trust_names_principals_services_or_accounts() {
    let trust = |principal: &str| {
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}}}"#
        );
        parse(Kind::Trust, &document).expect("a valid trust policy")
    };
    let caller = Principal::Aws {
        account: "000000000001",
        arn: "arn:aws:sts::000000000001:assumed-role/ci/s",
        issuer: Some("arn:aws:iam::000000000001:role/ci"),
    };
    let tasks = Principal::Service("ecs-tasks.amazonaws.com");
    let keys = ContextKeys::new();
    let request =
        Request { action: "sts:AssumeRole", resource: "arn:aws:iam::000000000001:role/app", keys: &keys };
    let (account, stranger) =
        (Verdict::ImplicitDeny(Source::Identity), Verdict::ImplicitDeny(Source::Resource));
    for (policy, principal, expected) in [
        (r#"{"AWS":"000000000001"}"#, &caller, account),
        (r#"{"AWS":"arn:aws:iam::000000000001:root"}"#, &caller, account),
        (r#"{"AWS":"arn:aws:iam::000000000001:role/ci"}"#, &caller, Verdict::Allow),
        (r#"{"AWS":"000000000002"}"#, &caller, stranger),
        (r#"{"Service":"ecs-tasks.amazonaws.com"}"#, &caller, stranger),
        (r#"{"Service":"ecs-tasks.amazonaws.com"}"#, &tasks, Verdict::Allow),
        (r#""*""#, &caller, Verdict::Allow),
        (r#""*""#, &tasks, stranger),
    ] {
        let trust = trust(policy);
        let applying = Applying { resource: Some(&trust), relation: Relation::Trust, ..NOTHING };
        assert_eq!(evaluate(&applying, principal, &request), expected, "{policy} {principal:?}");
    }
}

#[test]
fn a_policy_tells_which_keys_it_asks_for() {
    let policy = policy(
        r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/${*}",
            "Condition":{"StringLike":{"s3:prefix":["${aws:PrincipalTag/team, 'none'}/*"]}}}"#,
    );
    let keys: Vec<String> = policy.context_keys().into_iter().collect();
    assert_eq!(keys, ["aws:PrincipalTag/team", "aws:username", "s3:prefix"]);
}

fn statements() -> impl Strategy<Value = Vec<(bool, String, String)>> {
    let action = prop_oneof![Just("*"), Just("s3:*"), Just("s3:GetObject"), Just("ecs:*")];
    let resource = prop_oneof![Just("*"), Just("arn:aws:s3:::a/*"), Just("arn:aws:s3:::b/x")];
    let one = (any::<bool>(), action.prop_map(Into::into), resource.prop_map(Into::into));
    proptest::collection::vec(one, 0..6)
}

fn render((allow, action, resource): &(bool, String, String)) -> Policy {
    let effect = if *allow { "Allow" } else { "Deny" };
    policy(&format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"}}"#))
}

proptest! {
    #[test]
    fn a_deny_always_wins_and_order_does_not_matter(statements in statements()) {
        let mut policies: Vec<Policy> = statements.iter().map(render).collect();
        let of = |policies: &[Policy]| ask(policies, "s3:GetObject", "arn:aws:s3:::b/x");
        let each: Vec<Verdict> = policies.iter().map(|policy| of(std::slice::from_ref(policy))).collect();
        let expected = [Verdict::ExplicitDeny(Source::Identity), Verdict::Allow]
            .into_iter()
            .find(|verdict| each.contains(verdict))
            .unwrap_or(Verdict::ImplicitDeny(Source::Identity));
        prop_assert_eq!(of(&policies), expected);
        policies.reverse();
        prop_assert_eq!(of(&policies), expected);
    }

    /// Boundaries and session policies only ever take away.
    #[test]
    fn limits_never_grant(identity in statements(), boundary in statements(), session in statements()) {
        let read = |list: &[(bool, String, String)]| list.iter().map(render).collect::<Vec<Policy>>();
        let (identity, boundary, session) = (read(&identity), read(&boundary), read(&session));
        let keys = ContextKeys::new();
        let request = Request { action: "s3:GetObject", resource: "arn:aws:s3:::b/x", keys: &keys };
        let free = Applying { identity: &identity, ..NOTHING };
        let limited = Applying { boundary: Some(&boundary), session: Some(&session), ..free };
        if evaluate(&limited, &alice(), &request) == Verdict::Allow {
            prop_assert_eq!(evaluate(&free, &alice(), &request), Verdict::Allow);
        }
    }

    /// No document makes the parser panic, and what it reads it can evaluate.
    #[test]
    fn any_text_is_survived(document in "[\\[\\]{}\":,*a-zA-Z0-9 $]{0,200}") {
        if let Ok(policy) = parse(Kind::Identity, &document) {
            ask(&[policy], "s3:GetObject", "*");
        }
    }
}
