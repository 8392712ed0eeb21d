//! What a parameter may be called.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>

use pileus_core::ApiError;

use super::invalid;

/// Without the ARN's part before the name, which AWS counts into 2048.
const MAX_LENGTH: usize = 1011;
const MAX_LEVELS: usize = 15;

/// # Errors
/// No parameter can have this name.
pub(super) fn check(name: &str) -> Result<(), ApiError> {
    let path = name.trim_start_matches('/').to_ascii_lowercase();
    if name.starts_with("/aws/") || name.starts_with("/ssm/") {
        let message = format!("No access to reserved parameter name: {name}.");
        return Err(ApiError::client("AccessDeniedException", message));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    if path.starts_with("aws") || path.starts_with("ssm") || !name.chars().all(allowed) {
        return Err(invalid(if name.contains('/') {
            "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist \
             of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the \
             following 3 symbols .-_"
        } else {
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive), and can be formed of \
             letters, numbers and the following 3 symbols .-_"
        }));
    }
    if name.contains('/') && !name.starts_with('/') {
        return Err(invalid("Parameter name must be a fully qualified name."));
    }
    if name.ends_with('/') || name.contains("//") || path.is_empty() {
        return Err(invalid("Parameter name must not end with a slash or have an empty sub-path."));
    }
    if name.len() > MAX_LENGTH {
        return Err(invalid(format!("Parameter name must be at most {MAX_LENGTH} characters long.")));
    }
    if path.split('/').count() > MAX_LEVELS {
        let message = format!("A hierarchy can have a maximum of {MAX_LEVELS} levels.");
        return Err(ApiError::client("HierarchyLevelLimitExceededException", message));
    }
    Ok(())
}

/// # Errors
/// It is no path of a hierarchy.
pub(super) fn check_path(path: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    if path.starts_with('/') && !path.contains("//") && path.chars().all(allowed) {
        return Ok(());
    }
    Err(invalid(
        "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward \
         slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). It must use only letters, \
         numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not \
         allowed. All sub-paths, if specified, must use the forward slash symbol \"/\". Valid example: \
         /get/parameters2-/by1./path0_.",
    ))
}

/// Whether a name is below a path: directly, or on any level.
pub(super) fn is_below(name: &str, path: &str, recursive: bool) -> bool {
    let path = path.trim_end_matches('/');
    // A name without slash stands at the root.
    let rest = match name.strip_prefix('/') {
        None => path.is_empty().then_some(name),
        Some(name) => match path.strip_prefix('/') {
            None => Some(name),
            Some(path) => name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/')),
        },
    };
    rest.is_some_and(|rest| recursive || !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "/a", "/a/b-c_d.e", "/cdk-bootstrap/hnb659fds/version", "Awkward"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let code = |name: &str| check(name).unwrap_err().code.into_owned();
        for bad in ["a/b", "/a/", "/a//b", "/", "ssm-x", "AWSome", "a b", "a:1", "/ssmx/y", &"x".repeat(1012)]
        {
            assert_eq!(code(bad), "ValidationException", "{bad}");
        }
        assert_eq!(code("/aws/service/x"), "AccessDeniedException");
        assert_eq!(code(&"/a".repeat(16)), "HierarchyLevelLimitExceededException");
    }

    #[test]
    fn paths() {
        assert!(is_below("/a/b", "/a", false) && is_below("/a/b", "/a/", false));
        assert!(!is_below("/a/b/c", "/a", false) && is_below("/a/b/c", "/a", true));
        assert!(!is_below("/ab/c", "/a", true) && !is_below("/a", "/a", true));
        assert!(is_below("x", "/", false) && is_below("/x", "/", false) && !is_below("/x/y", "/", false));
    }
}
