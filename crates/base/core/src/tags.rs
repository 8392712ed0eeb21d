//! Tags: the key and value pairs that users put on resources.
//! <https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html>

use std::collections::BTreeMap;

use crate::ApiError;

/// Tags of one resource, ordered by key.
pub type Tags = BTreeMap<String, String>;

/// Most tags that one resource can carry.
pub const MAX_TAGS: usize = 50;

/// Checks AWS's general tag rules; `code` is the service's error code for a bad tag.
pub fn check(tags: &Tags, code: &'static str) -> Result<(), ApiError> {
    if tags.len() > MAX_TAGS {
        return Err(ApiError::client(code, format!("A resource can have at most {MAX_TAGS} tags.")));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(ApiError::client(code, "Tag keys must be between 1 and 128 characters in length."));
        }
        if value.chars().count() > 256 {
            return Err(ApiError::client(code, "Tag values must be at most 256 characters in length."));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::client(
                code,
                format!("Tag keys starting with 'aws:' are reserved for internal use: {key}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_oversized_tags_are_refused() {
        let tags = |key: &str, value: &str| Tags::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(check(&tags("Name", "web"), "Bad"), Ok(()));
        assert!(check(&tags("aws:name", "web"), "Bad").is_err());
        assert!(check(&tags("", "web"), "Bad").is_err());
        assert!(check(&tags("k", &"v".repeat(257)), "Bad").is_err());
        let many = (0..51).map(|n| (n.to_string(), String::new())).collect();
        assert!(check(&many, "Bad").is_err());
    }
}
