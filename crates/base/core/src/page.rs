//! Pagination. A token names the key of the last item handed out, so a page stays right while items come and go.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ApiError;

/// Cuts the page that follows `token` out of `items`, which are ordered by `key`.
///
/// Returns the page and the token of the next one, if there is one.
///
/// # Errors
/// A token that Pileus did not issue gives `invalid_token`.
pub fn paginate<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    limit: usize,
    invalid_token: impl FnOnce() -> ApiError,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let after = match token {
        None => None,
        Some(token) => {
            let bytes = URL_SAFE_NO_PAD.decode(token).ok();
            match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(after) => Some(after),
                None => return Err(invalid_token()),
            }
        }
    };
    let mut rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let page: Vec<T> = rest.by_ref().take(limit.max(1)).collect();
    let next = rest.next().and(page.last().map(|last| URL_SAFE_NO_PAD.encode(key(last))));
    Ok((page, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(token: Option<&str>) -> (Vec<u32>, Option<String>) {
        let bad = || ApiError::client("InvalidNextToken", "bad token");
        paginate((10..15).collect(), u32::to_string, token, 2, bad).expect("a good token")
    }

    #[test]
    fn walks_every_item_once() {
        let (first, token) = page(None);
        let (second, token) = page(token.as_deref());
        let (third, end) = page(token.as_deref());
        assert_eq!([first, second, third].concat(), [10, 11, 12, 13, 14]);
        assert_eq!(end, None);
    }

    #[test]
    fn refuses_a_foreign_token() {
        let bad = || ApiError::client("InvalidNextToken", "bad token");
        assert!(paginate(vec![1], i32::to_string, Some("%%%"), 2, bad).is_err());
    }
}
