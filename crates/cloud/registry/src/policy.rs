//! Repository policies: who, also of other accounts, may do what with a repository.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html>
//!
//! They are kept here and enforced where requests come in, which asks [`repository_policy`].

use std::sync::Arc;

use pileus_aws::ecr;
use pileus_core::{ApiError, Arn, Scope};
use pileus_service::{Context, Described, Router};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::repository::{Repository, find, invalid};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RepositoryPolicy {
    repository: String,
    text: String,
}

impl Record for RepositoryPolicy {
    const KIND: &'static str = "ecr/repository-policy";

    fn key(&self) -> String {
        self.repository.clone()
    }
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ecr::ops::SetRepositoryPolicy>(set_repository_policy)
        .on::<ecr::ops::GetRepositoryPolicy>(get_repository_policy)
        .on::<ecr::ops::DeleteRepositoryPolicy>(delete_repository_policy)
        .resources("ecr", described);
}

/// A repository as policies see it, whoever's it is.
fn described(tx: &Tx, arn: &str) -> Option<Described> {
    let parsed = Arn::parse(arn)?;
    let name = parsed.resource.strip_prefix("repository/")?;
    let registry = Scope::new(parsed.account, parsed.region);
    let repository = tx.base().get::<Repository>(&registry, name)?;
    let policy = repository_policy(tx.base(), &registry, name);
    Some(Described { arn: arn.to_owned(), tags: repository.tags.clone(), policy })
}

/// The policy document of a repository, if it has one.
pub fn repository_policy(state: &State, registry: &Scope, repository: &str) -> Option<String> {
    state.get::<RepositoryPolicy>(registry, repository).map(|policy| policy.text.clone())
}

/// Forgets the policy of a repository.
pub(crate) fn forget_repository(tx: &mut Tx, repository: &str) {
    tx.delete::<RepositoryPolicy>(repository);
}

/// What every statement of a repository policy has; what is left is for whoever evaluates it.
fn check(text: &str) -> Result<(), ApiError> {
    let bad = |problem: &str| {
        invalid(format!(
            "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided: \
             {problem}'"
        ))
    };
    let document: Value = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
    let statements = match &document["Statement"] {
        Value::Array(statements) => statements.as_slice(),
        statement @ Value::Object(_) => std::slice::from_ref(statement),
        _ => return Err(bad("it has no Statement")),
    };
    for statement in statements {
        let has = |name: &str| statement.get(name).is_some() || statement.get(format!("Not{name}")).is_some();
        if !matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")) {
            return Err(bad("the Effect of a statement is Allow or Deny"));
        }
        if !has("Principal") || !has("Action") {
            return Err(bad("a statement has a Principal and an Action"));
        }
        if has("Resource") {
            return Err(bad("a statement has no Resource: it is about the repository"));
        }
    }
    if statements.is_empty() { Err(bad("it has no Statement")) } else { Ok(()) }
}

fn set_repository_policy(
    cx: &mut Context,
    input: ecr::SetRepositoryPolicyRequest,
) -> Result<ecr::SetRepositoryPolicyResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    check(&input.policy_text)?;
    cx.tx.put(RepositoryPolicy { repository: name.clone(), text: input.policy_text.clone() });
    Ok(ecr::SetRepositoryPolicyResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        policy_text: Some(input.policy_text),
    })
}

fn policy(cx: &Context, repository: &str) -> Result<Arc<RepositoryPolicy>, ApiError> {
    cx.tx.get::<RepositoryPolicy>(repository).ok_or_else(|| {
        let message = format!(
            "Repository policy does not exist for the repository with name '{repository}' in the registry with id '{}'",
            cx.scope().account
        );
        ApiError::client("RepositoryPolicyNotFoundException", message)
    })
}

fn get_repository_policy(
    cx: &mut Context,
    input: ecr::GetRepositoryPolicyRequest,
) -> Result<ecr::GetRepositoryPolicyResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let policy = policy(cx, &name)?;
    Ok(ecr::GetRepositoryPolicyResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        policy_text: Some(policy.text.clone()),
    })
}

fn delete_repository_policy(
    cx: &mut Context,
    input: ecr::DeleteRepositoryPolicyRequest,
) -> Result<ecr::DeleteRepositoryPolicyResponse, ApiError> {
    let name = find(cx.tx, input.registry_id.as_deref(), &input.repository_name)?.name.clone();
    let policy = policy(cx, &name)?;
    forget_repository(cx.tx, &name);
    Ok(ecr::DeleteRepositoryPolicyResponse {
        registry_id: Some(cx.scope().account.clone()),
        repository_name: Some(name),
        policy_text: Some(policy.text.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cloud, repository};

    const PULL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":["ecr:BatchGetImage"]}]}"#;

    #[test]
    fn a_policy_is_set_got_and_deleted() {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let set = |text: &str| ecr::SetRepositoryPolicyRequest {
            repository_name: "web".into(),
            policy_text: text.into(),
            ..Default::default()
        };
        let get = || ecr::GetRepositoryPolicyRequest { registry_id: None, repository_name: "web".into() };
        assert_eq!(cloud.code::<ecr::ops::GetRepositoryPolicy>(get()), "RepositoryPolicyNotFoundException");
        for bad in [
            "{",
            "{}",
            r#"{"Statement":[]}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"*"}}"#,
            &PULL.replace("Allow", "Let"),
            &PULL.replace(r#""Action""#, r#""Resource":"*","Action""#),
        ] {
            let code = cloud.code::<ecr::ops::SetRepositoryPolicy>(set(bad));
            assert_eq!(code, "InvalidParameterException", "{bad}");
        }
        cloud.ok::<ecr::ops::SetRepositoryPolicy>(set(PULL));
        let got = cloud.ok::<ecr::ops::GetRepositoryPolicy>(get());
        assert_eq!(got.policy_text.as_deref(), Some(PULL));
        assert_eq!(repository_policy(&cloud.state, &cloud.scope, "web").as_deref(), Some(PULL));
        let delete = ecr::DeleteRepositoryPolicyRequest { registry_id: None, repository_name: "web".into() };
        cloud.ok::<ecr::ops::DeleteRepositoryPolicy>(delete.clone());
        assert_eq!(
            cloud.code::<ecr::ops::DeleteRepositoryPolicy>(delete),
            "RepositoryPolicyNotFoundException"
        );
    }
}
