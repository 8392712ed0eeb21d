//! AWS managed policies: those that ECS roles use, in the version that is the default at AWS.
//! <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/>

use pileus_aws::iam::{
    GetPolicyRequest, GetPolicyResponse, GetPolicyVersionRequest, GetPolicyVersionResponse,
    ListPolicyVersionsRequest, ListPolicyVersionsResponse, Policy, PolicyVersion, ops,
};
use pileus_core::{ApiError, Timestamp};
use pileus_service::{Context, Router};
use pileus_state::Tx;

use crate::global::globally;
use crate::role::Role;
use crate::text::{no_such_entity, url_encoded};

pub(crate) struct ManagedPolicy {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    id: &'static str,
    /// When the policy, and the version of it that is shown, were made.
    created: &'static str,
    updated: &'static str,
    version: &'static str,
    description: &'static str,
    pub(crate) document: &'static str,
}

static POLICIES: [ManagedPolicy; 3] = [
    ManagedPolicy {
        path: "/service-role/",
        name: "AmazonECSTaskExecutionRolePolicy",
        id: "ANPAJG4T4G4PV56DE72PY",
        created: "2017-11-16T18:48:22Z",
        updated: "2017-11-16T18:48:22Z",
        version: "v1",
        description: "Provides access to other AWS service resources that are required to run Amazon ECS tasks",
        document: r#"{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "ecr:GetAuthorizationToken",
                "ecr:BatchCheckLayerAvailability",
                "ecr:GetDownloadUrlForLayer",
                "ecr:BatchGetImage",
                "logs:CreateLogStream",
                "logs:PutLogEvents"
            ],
            "Resource": "*"
        }
    ]
}"#,
    },
    ManagedPolicy {
        path: "/",
        name: "AmazonEC2ContainerRegistryReadOnly",
        id: "ANPAIFYZPA37OOHVIH7KQ",
        created: "2015-12-21T17:04:15Z",
        updated: "2019-12-10T20:56:22Z",
        version: "v3",
        description: "Provides read-only access to Amazon EC2 Container Registry repositories.",
        document: r#"{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "ecr:GetAuthorizationToken",
                "ecr:BatchCheckLayerAvailability",
                "ecr:GetDownloadUrlForLayer",
                "ecr:GetRepositoryPolicy",
                "ecr:DescribeRepositories",
                "ecr:ListImages",
                "ecr:DescribeImages",
                "ecr:BatchGetImage",
                "ecr:GetLifecyclePolicy",
                "ecr:GetLifecyclePolicyPreview",
                "ecr:ListTagsForResource",
                "ecr:DescribeImageScanFindings"
            ],
            "Resource": "*"
        }
    ]
}"#,
    },
    ManagedPolicy {
        path: "/",
        name: "AdministratorAccess",
        id: "ANPAIWMBCKSKIEE64ZLYK",
        created: "2015-02-06T18:39:46Z",
        updated: "2015-02-06T18:39:46Z",
        version: "v1",
        description: "Provides full access to AWS services and resources.",
        document: r#"{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "*",
            "Resource": "*"
        }
    ]
}"#,
    },
];

impl ManagedPolicy {
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:iam::aws:policy{}{}", self.path, self.name)
    }
}

/// The policy that `arn` names.
pub(crate) fn find(arn: &str) -> Option<&'static ManagedPolicy> {
    POLICIES.iter().find(|policy| policy.arn() == arn)
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::GetPolicy>(|cx, input| globally(cx, |cx| get_policy(cx, &input)))
        .on::<ops::GetPolicyVersion>(|_, input| get_policy_version(&input))
        .on::<ops::ListPolicyVersions>(|_, input| list_policy_versions(&input));
}

fn existing(arn: &str) -> Result<&'static ManagedPolicy, ApiError> {
    find(arn).ok_or_else(|| no_such_entity(format!("Policy {arn} was not found.")))
}

fn get_policy(cx: &mut Context, input: &GetPolicyRequest) -> Result<GetPolicyResponse, ApiError> {
    let policy = existing(&input.policy_arn)?;
    Ok(GetPolicyResponse { policy: Some(shape(cx.tx, policy)) })
}

fn get_policy_version(input: &GetPolicyVersionRequest) -> Result<GetPolicyVersionResponse, ApiError> {
    let (arn, version) = (&input.policy_arn, &input.version_id);
    let policy = existing(arn)?;
    if policy.version != version {
        let message = format!("Policy {arn} version {version} does not exist or is not attachable.");
        return Err(no_such_entity(message));
    }
    let version = PolicyVersion { document: Some(url_encoded(policy.document)), ..version_shape(policy) };
    Ok(GetPolicyVersionResponse { policy_version: Some(version) })
}

fn list_policy_versions(input: &ListPolicyVersionsRequest) -> Result<ListPolicyVersionsResponse, ApiError> {
    let versions = vec![version_shape(existing(&input.policy_arn)?)];
    Ok(ListPolicyVersionsResponse { versions: Some(versions), is_truncated: Some(false), marker: None })
}

fn version_shape(policy: &ManagedPolicy) -> PolicyVersion {
    PolicyVersion {
        document: None,
        version_id: Some(policy.version.into()),
        is_default_version: Some(true),
        create_date: Timestamp::parse(policy.updated),
    }
}

fn shape(tx: &Tx, policy: &ManagedPolicy) -> Policy {
    let arn = policy.arn();
    let attached = tx.list::<Role>().iter().filter(|role| role.attached.contains(&arn)).count();
    Policy {
        policy_name: Some(policy.name.into()),
        policy_id: Some(policy.id.into()),
        arn: Some(arn),
        path: Some(policy.path.into()),
        default_version_id: Some(policy.version.into()),
        attachment_count: i64::try_from(attached).ok(),
        permissions_boundary_usage_count: Some(0),
        is_attachable: Some(true),
        description: Some(policy.description.into()),
        create_date: Timestamp::parse(policy.created),
        update_date: Timestamp::parse(policy.updated),
        tags: Some(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Kind, parse};

    #[test]
    fn the_documents_are_policies_and_the_dates_are_dates() {
        for policy in &POLICIES {
            parse(Kind::Identity, policy.document).expect("AWS's own policies are valid");
            assert!(Timestamp::parse(policy.created).is_some() && Timestamp::parse(policy.updated).is_some());
            assert!(policy.id.starts_with("ANPA") && policy.id.len() == 21, "{}", policy.name);
        }
    }
}
