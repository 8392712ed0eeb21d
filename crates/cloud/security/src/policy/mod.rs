//! Policies: what they say, and what follows from them for a request.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

mod condition;
mod json;
mod parse;
mod pattern;

use std::collections::BTreeMap;

use self::condition::Condition;
pub use self::parse::{Kind, Malformed, parse};
use self::pattern::Pattern;

/// A parsed policy document.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Whether `${…}` stands for a value of the request: since version 2012-10-17.
    variables: bool,
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    sid: Option<String>,
    effect: Effect,
    /// Of trust policies only.
    principals: Principals,
    actions: Listed,
    resources: Listed,
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// `Action` and `Resource`, or `NotAction` and `NotResource`.
#[derive(Clone, Debug, PartialEq)]
enum Listed {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

/// Federated principals are read and match nobody: no identity provider exists here.
#[derive(Clone, Debug, Default, PartialEq)]
struct Principals {
    aws: Vec<String>,
    services: Vec<String>,
}

/// Condition keys in lower case, such as `aws:sourceip`, with their values.
pub type ContextKeys = BTreeMap<String, Vec<String>>;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `service:Operation`
    pub action: &'a str,
    /// An ARN, or `*` for operations that know no resource, and where it is not known which one is meant. Then an allow
    /// must be for all resources, and a deny for any of them counts.
    pub resource: &'a str,
    pub keys: &'a ContextKeys,
}

impl Request<'_> {
    fn values(&self, key: &str) -> Option<&[String]> {
        self.keys.get(&key.to_ascii_lowercase()).map(Vec::as_slice).filter(|values| !values.is_empty())
    }
}

/// Who asks to assume a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal<'a> {
    /// Anybody with credentials: the account, and the ARNs that stand for the caller (a session's and its role's).
    Aws { account: &'a str, arns: Vec<&'a str> },
    /// An AWS service, as `ecs-tasks.amazonaws.com`.
    Service(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Some statement denies: final.
    ExplicitDeny,
    Allow,
    /// No statement allows.
    ImplicitDeny,
}

/// What the policies of an identity together say: a deny anywhere decides, else one allow is enough.
pub fn evaluate(policies: &[Policy], request: &Request) -> Decision {
    decide(policies, request, |_| true)
}

/// What a role's trust policy says of a principal, and whether an allow names it itself rather than its whole account.
pub fn evaluate_trust(policy: &Policy, principal: &Principal, request: &Request) -> (Decision, bool) {
    let policies = std::slice::from_ref(policy);
    let decision = decide(policies, request, |statement| statement.principals.include(principal));
    let by_name = decide(policies, request, |statement| statement.principals.name(principal));
    (decision, by_name == Decision::Allow)
}

fn decide(policies: &[Policy], request: &Request, concerns: impl Fn(&Statement) -> bool) -> Decision {
    let mut decision = Decision::ImplicitDeny;
    for policy in policies {
        let variables = policy.variables.then_some(request);
        for statement in &policy.statements {
            if concerns(statement) && statement.applies(request, variables) {
                match statement.effect {
                    Effect::Deny => return Decision::ExplicitDeny,
                    Effect::Allow => decision = Decision::Allow,
                }
            }
        }
    }
    decision
}

impl Statement {
    fn applies(&self, request: &Request, variables: Option<&Request>) -> bool {
        let action = |pattern: &str| {
            Pattern::new(pattern, None).is_some_and(|pattern| pattern.matches_ignoring_case(request.action))
        };
        let resource = |pattern: &str| {
            Pattern::new(pattern, variables).is_some_and(|pattern| pattern.matches_arn(request.resource))
        };
        let resources = match (request.resource, self.effect, &self.resources) {
            ("*", Effect::Deny, _) => true,
            ("*", Effect::Allow, Listed::AllBut(_)) => false,
            _ => self.resources.includes(resource),
        };
        self.actions.includes(action)
            && resources
            && self.conditions.iter().all(|condition| condition.holds(request, variables))
    }
}

impl Listed {
    fn includes(&self, matches: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Only(patterns) => patterns.iter().any(|pattern| matches(pattern)),
            Self::AllBut(patterns) => !patterns.iter().any(|pattern| matches(pattern)),
        }
    }
}

impl Principals {
    /// Whether the principal is meant, by name or with its account.
    fn include(&self, principal: &Principal) -> bool {
        self.name(principal)
            || match principal {
                Principal::Aws { account, .. } => {
                    let root = format!(":iam::{account}:root");
                    self.aws.iter().any(|named| named == account || named.ends_with(&root))
                }
                Principal::Service(_) => false,
            }
    }

    fn name(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Aws { arns, .. } => {
                self.aws.iter().any(|named| named == "*" || arns.contains(&named.as_str()))
            }
            Principal::Service(service) => self.services.iter().any(|named| named == service),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(statements: &str) -> Policy {
        let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        parse(Kind::Identity, &document).expect("a valid policy")
    }

    fn ask(policies: &[Policy], action: &str, resource: &str) -> Decision {
        let keys = ContextKeys::from([("aws:username".into(), vec!["alice".into()])]);
        evaluate(policies, &Request { action, resource, keys: &keys })
    }

    #[test]
    fn decisions() {
        use Decision::{Allow, ExplicitDeny, ImplicitDeny};
        let read = r#"{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"arn:aws:s3:::b/*"}"#;
        let no_secret = r#"{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::b/secret*"}"#;
        let all_but_iam = r#"{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}"#;
        let elsewhere = r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::b/*"}"#;
        let home = r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/*"}"#;
        let lost = r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:userid}/*"}"#;
        for (statements, action, resource, expected) in [
            (vec![read], "s3:GetObject", "arn:aws:s3:::b/x", Allow),
            (vec![read], "S3:getobject", "arn:aws:s3:::b/x", Allow),
            (vec![read], "s3:PutObject", "arn:aws:s3:::b/x", ImplicitDeny),
            (vec![read], "s3:GetObject", "arn:aws:s3:::B/x", ImplicitDeny),
            (vec![read, no_secret], "s3:GetObject", "arn:aws:s3:::b/secret1", ExplicitDeny),
            (vec![no_secret, read], "s3:GetObject", "arn:aws:s3:::b/secret1", ExplicitDeny),
            (vec![read], "s3:GetObject", "*", ImplicitDeny),
            (vec![all_but_iam, no_secret], "s3:GetObject", "*", ExplicitDeny),
            (vec![all_but_iam], "iam:GetRole", "*", ImplicitDeny),
            (vec![all_but_iam], "ecs:ListTasks", "*", Allow),
            (vec![elsewhere], "s3:GetObject", "*", ImplicitDeny),
            (vec![elsewhere], "s3:GetObject", "arn:aws:s3:::b/x", ImplicitDeny),
            (vec![elsewhere], "s3:GetObject", "arn:aws:s3:::c/x", Allow),
            (vec![home], "s3:GetObject", "arn:aws:s3:::b/alice/x", Allow),
            (vec![home], "s3:GetObject", "arn:aws:s3:::b/bob/x", ImplicitDeny),
            (vec![lost], "s3:GetObject", "arn:aws:s3:::b//x", ImplicitDeny),
            (vec![], "s3:GetObject", "*", ImplicitDeny),
        ] {
            let policies: Vec<Policy> = statements.iter().map(|statement| policy(statement)).collect();
            assert_eq!(ask(&policies, action, resource), expected, "{statements:?} {action} {resource}");
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
        let role = "arn:aws:iam::000000000001:role/ci";
        let caller = Principal::Aws { account: "000000000001", arns: vec![role] };
        let tasks = Principal::Service("ecs-tasks.amazonaws.com");
        let keys = ContextKeys::new();
        let request =
            Request { action: "sts:AssumeRole", resource: "arn:aws:iam::000000000001:role/app", keys: &keys };
        for (policy, principal, expected) in [
            (r#"{"AWS":"000000000001"}"#, &caller, (Decision::Allow, false)),
            (r#"{"AWS":"arn:aws:iam::000000000001:root"}"#, &caller, (Decision::Allow, false)),
            (r#"{"AWS":"arn:aws:iam::000000000001:role/ci"}"#, &caller, (Decision::Allow, true)),
            (r#"{"AWS":"000000000002"}"#, &caller, (Decision::ImplicitDeny, false)),
            (r#"{"Service":"ecs-tasks.amazonaws.com"}"#, &caller, (Decision::ImplicitDeny, false)),
            (r#"{"Service":"ecs-tasks.amazonaws.com"}"#, &tasks, (Decision::Allow, true)),
            (r#""*""#, &caller, (Decision::Allow, true)),
            (r#""*""#, &tasks, (Decision::ImplicitDeny, false)),
        ] {
            assert_eq!(
                evaluate_trust(&trust(policy), principal, &request),
                expected,
                "{policy} {principal:?}"
            );
        }
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
            let decision = ask(&policies, "s3:GetObject", "arn:aws:s3:::b/x");
            let each: Vec<Decision> =
                policies.iter().map(|policy| ask(std::slice::from_ref(policy), "s3:GetObject", "arn:aws:s3:::b/x")).collect();
            let expected = if each.contains(&Decision::ExplicitDeny) {
                Decision::ExplicitDeny
            } else if each.contains(&Decision::Allow) {
                Decision::Allow
            } else {
                Decision::ImplicitDeny
            };
            prop_assert_eq!(decision, expected);
            policies.reverse();
            prop_assert_eq!(ask(&policies, "s3:GetObject", "arn:aws:s3:::b/x"), expected);
        }

        /// No document makes the parser panic, and what it reads it can evaluate.
        #[test]
        fn any_text_is_survived(document in "[\\[\\]{}\":,*a-zA-Z0-9 $]{0,200}") {
            if let Ok(policy) = parse(Kind::Identity, &document) {
                ask(&[policy], "s3:GetObject", "*");
            }
        }
    }
}
