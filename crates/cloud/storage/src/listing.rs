//! Listings of a bucket: its objects, their versions, its unfinished uploads; with prefix, delimiter and a place to go
//! on from. What lies under a delimiter is skipped as a whole.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-prefixes.html>

use std::sync::Arc;

use pileus_state::{Record, State};

use crate::object::{Version, bucket_prefix, versions_prefix};
use crate::upload::Upload;

/// The most entries of one answer.
pub const MAX_ENTRIES: usize = 1000;
/// After every key that goes on with other characters.
const LAST: char = '\u{10ffff}';

/// What is to be listed.
#[derive(Clone, Debug, Default)]
pub struct Query<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    /// Keys that go on behind the prefix with something and this are shown as one common prefix. Not empty.
    pub delimiter: Option<&'a str>,
    /// Only what comes after this key or common prefix is listed.
    pub after: &'a str,
    /// Of versions and uploads: of the key `after`, only what comes after this one is listed.
    pub after_id: Option<&'a str>,
    pub limit: usize,
}

/// A part of a listing.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub prefixes: Vec<String>,
    /// Where the next part begins, if there is one: the last key or common prefix, and the id of the last item.
    pub next: Option<(String, Option<String>)>,
}

/// A version in a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub version: Arc<Version>,
    pub latest: bool,
}

/// What can be listed.
trait Entry: Record {
    fn bucket(&self) -> &str;
    fn object_key(&self) -> &str;
    fn id(&self) -> &str;
}

impl Entry for Version {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    fn object_key(&self) -> &str {
        &self.key
    }

    fn id(&self) -> &str {
        &self.id
    }
}

impl Entry for Upload {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    fn object_key(&self) -> &str {
        &self.key
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// The present objects, by key.
pub fn objects(state: &State, query: &Query) -> Page<Arc<Version>> {
    let mut last: Option<String> = None;
    let newest = |version: &Version| {
        let newest = last.as_ref() != Some(&version.key);
        last = Some(version.key.clone());
        newest && !version.is_marker()
    };
    walk::<Version>(state, query, true, newest)
}

/// All versions and delete markers, by key and from the newest to the oldest.
pub fn versions(state: &State, query: &Query) -> Page<Listed> {
    let page = walk::<Version>(state, query, false, |_| true);
    let scope = crate::scope();
    let latest = |version: &Version| {
        let first = state.first_from::<Version>(&scope, &versions_prefix(&version.bucket, &version.key));
        first.is_some_and(|first| first.id == version.id)
    };
    let items = page.items.into_iter().map(|version| Listed { latest: latest(&version), version });
    Page { items: items.collect(), prefixes: page.prefixes, next: page.next }
}

/// The uploads that are not complete, by key.
pub fn uploads(state: &State, query: &Query) -> Page<Arc<Upload>> {
    walk::<Upload>(state, query, false, |_| true)
}

/// Goes through the entries of a bucket in order. With `one_each`, after an entry of a key the others of that key are
/// skipped.
fn walk<T: Entry>(
    state: &State,
    query: &Query,
    one_each: bool,
    mut shown: impl FnMut(&T) -> bool,
) -> Page<Arc<T>> {
    let (scope, base) = (crate::scope(), bucket_prefix(query.bucket));
    let mut page = Page { items: Vec::new(), prefixes: Vec::new(), next: None };
    let mut last: Option<(String, Option<String>)> = None;
    let mut cursor = start::<T>(state, query);
    while let Some(entry) = state.first_from::<T>(&scope, &cursor) {
        let key = entry.object_key();
        if entry.bucket() != query.bucket || !key.starts_with(query.prefix) {
            break;
        }
        cursor = if one_each { format!("{base}{key}\u{1}") } else { format!("{}\0", entry.key()) };
        if !shown(&entry) {
            continue;
        }
        let common = common_prefix(query, key);
        if let Some(common) = &common {
            cursor = format!("{base}{common}{LAST}");
            if common.as_str() <= query.after {
                continue;
            }
        }
        if page.items.len() + page.prefixes.len() == query.limit {
            page.next = last;
            break;
        }
        match common {
            Some(common) => {
                last = Some((common.clone(), None));
                page.prefixes.push(common);
            }
            None => {
                last = Some((key.to_owned(), Some(entry.id().to_owned())));
                page.items.push(entry);
            }
        }
    }
    page
}

/// The key of the record where a listing begins.
fn start<T: Entry>(state: &State, query: &Query) -> String {
    let base = bucket_prefix(query.bucket);
    if query.after.is_empty() || query.after < query.prefix {
        return format!("{base}{}", query.prefix);
    }
    let (scope, next_key) = (crate::scope(), format!("{base}{}\u{1}", query.after));
    let Some(id) = query.after_id else { return next_key };
    let mut cursor = versions_prefix(query.bucket, query.after);
    while let Some(entry) = state.first_from::<T>(&scope, &cursor) {
        if entry.bucket() != query.bucket || entry.object_key() != query.after {
            break;
        }
        cursor = format!("{}\0", entry.key());
        if entry.id() == id {
            return cursor;
        }
    }
    next_key
}

fn common_prefix(query: &Query, key: &str) -> Option<String> {
    let delimiter = query.delimiter?;
    let rest = key.get(query.prefix.len()..)?;
    let end = rest.find(delimiter)? + delimiter.len();
    Some(key[..query.prefix.len() + end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Versioning;
    use crate::testing::{S3, bucket};

    fn keys(page: &Page<Arc<Version>>) -> (Vec<&str>, Vec<&str>) {
        let keys = page.items.iter().map(|version| version.key.as_str()).collect();
        (keys, page.prefixes.iter().map(String::as_str).collect())
    }

    fn filled() -> S3 {
        let mut s3 = S3::new();
        bucket(&mut s3, "abc", Versioning::Enabled);
        bucket(&mut s3, "abcd", Versioning::Never);
        for key in ["a", "b/1", "b/2", "b/c/3", "c", "d/1", "ä"] {
            s3.put("abc", key, key);
            s3.put("abc", key, key);
        }
        s3.delete("abc", "d/1", None);
        s3.put("abcd", "zzz", "zzz");
        s3
    }

    #[test]
    fn prefix_and_delimiter_group() {
        let s3 = filled();
        let query = Query { bucket: "abc", limit: 1000, ..Query::default() };
        assert_eq!(keys(&objects(&s3.state, &query)).0, ["a", "b/1", "b/2", "b/c/3", "c", "ä"]);
        let grouped = Query { delimiter: Some("/"), ..query.clone() };
        assert_eq!(keys(&objects(&s3.state, &grouped)), (vec!["a", "c", "ä"], vec!["b/"]));
        let below = Query { prefix: "b/", delimiter: Some("/"), ..query.clone() };
        assert_eq!(keys(&objects(&s3.state, &below)), (vec!["b/1", "b/2"], vec!["b/c/"]));
        let after = Query { after: "b/2", ..query };
        assert_eq!(keys(&objects(&s3.state, &after)).0, ["b/c/3", "c", "ä"]);
    }

    #[test]
    fn pages_join_to_the_whole() {
        let s3 = filled();
        for (limit, delimiter) in [(1, None), (2, None), (1, Some("/")), (2, Some("/")), (3, Some("/"))] {
            let whole = Query { bucket: "abc", delimiter, limit: 1000, ..Query::default() };
            let (mut items, mut prefixes, mut after) = (Vec::new(), Vec::new(), String::new());
            loop {
                let page = objects(&s3.state, &Query { after: &after, limit, ..whole.clone() });
                items.extend(page.items.clone());
                prefixes.extend(page.prefixes.clone());
                match page.next {
                    Some((next, _)) => after = next,
                    None => break,
                }
            }
            let expected = objects(&s3.state, &whole);
            assert_eq!((items, prefixes), (expected.items, expected.prefixes), "{limit} {delimiter:?}");
        }
    }

    #[test]
    fn versions_are_paged_within_a_key() {
        let s3 = filled();
        let whole = Query { bucket: "abc", limit: 1000, ..Query::default() };
        let expected = versions(&s3.state, &whole).items;
        assert_eq!(expected.len(), 15);
        assert_eq!(expected.iter().filter(|listed| listed.latest).count(), 7);
        let (mut found, mut next) = (Vec::new(), (String::new(), None::<String>));
        loop {
            let query = Query { after: &next.0, after_id: next.1.as_deref(), limit: 2, ..whole.clone() };
            let page = versions(&s3.state, &query);
            found.extend(page.items);
            match page.next {
                Some(more) => next = more,
                None => break,
            }
        }
        assert_eq!(found, expected);
    }
}
