//! Whom a statement of a trust policy or a resource's policy means.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>

use pileus_core::Arn;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal<'a> {
    /// Anybody with credentials of an account.
    Aws {
        account: &'a str,
        /// The user, the role session, or the account's root.
        arn: &'a str,
        /// The role of a session, or the user of a federated one.
        issuer: Option<&'a str>,
    },
    /// An AWS service, as `ecs-tasks.amazonaws.com`.
    Service(&'a str),
}

/// How closely a statement's principal names the one who asks; the closest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// By the account: what it allows it leaves to the account's own policies.
    Account,
    /// By the role of the session, or with everybody: boundary and session policy still limit it.
    Issuer,
    /// Itself: nothing else needs to allow.
    Itself,
}

/// The `Principal` of a statement, or its `NotPrincipal`.
///
/// Federated principals are read and match nobody: no identity provider signs anybody in here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Principals {
    pub(super) aws: Vec<String>,
    pub(super) services: Vec<String>,
    pub(super) all_but: bool,
}

impl Principals {
    /// How closely the principal is meant, if it is.
    pub(super) fn reach(&self, principal: &Principal) -> Option<Reach> {
        let named = match principal {
            Principal::Aws { account, arn, issuer } => {
                self.aws.iter().filter_map(|named| reach(named, account, arn, *issuer)).max()
            }
            Principal::Service(service) => {
                self.services.iter().any(|named| named == service || named == "*").then_some(Reach::Itself)
            }
        };
        match (self.all_but, named) {
            (false, named) => named,
            (true, Some(Reach::Itself | Reach::Issuer)) => None,
            (true, None | Some(Reach::Account)) => Some(Reach::Issuer),
        }
    }
}

fn reach(named: &str, account: &str, arn: &str, issuer: Option<&str>) -> Option<Reach> {
    let of_account = || {
        Arn::parse(named).is_some_and(|named| {
            named.service == "iam" && named.resource == "root" && named.account == account
        })
    };
    if named == arn {
        Some(Reach::Itself)
    } else if named == "*" || issuer == Some(named) {
        Some(Reach::Issuer)
    } else if named == account || of_account() {
        Some(Reach::Account)
    } else {
        None
    }
}
