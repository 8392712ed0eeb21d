//! How the `Describe…` operations choose: by ids, by filters, page by page.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>

use std::sync::Arc;

use pileus_aws::ec2;
use pileus_core::filter::wildcard;
use pileus_core::{ApiError, Tags, paginate};
use pileus_state::Tx;

use crate::resource::{Resource, find, invalid, missing};
use crate::tags;

/// What a `Describe…` request says of the resources that it wants.
pub(crate) struct Selection<'a> {
    pub(crate) ids: &'a Option<Vec<String>>,
    pub(crate) filters: &'a Option<Vec<ec2::Filter>>,
    pub(crate) next_token: &'a Option<String>,
    pub(crate) max_results: Option<i64>,
}

/// The filters of a resource by name, each with the values that it compares. `tag:…` and `tag-key` go without saying.
pub(crate) type Filters<R> = &'static [(&'static str, fn(&Tx, &R) -> Vec<String>)];

/// AWS's limit on the values of one filter.
const MAX_FILTER_VALUES: usize = 200;

/// The resources that a request selects, ordered by id, and the token of the next page.
pub(crate) fn select<R: Resource>(
    tx: &Tx,
    selection: Selection,
    known: Filters<R>,
) -> Result<(Vec<Arc<R>>, Option<String>), ApiError> {
    let ids = selection.ids.as_deref().unwrap_or_default();
    if !ids.is_empty() && selection.max_results.is_some() {
        return Err(ApiError::client(
            "InvalidParameterCombination",
            "The parameter MaxResults cannot be used with a parameter that lists ids",
        ));
    }
    let filters = selection.filters.as_deref().unwrap_or_default();
    let filters = filters.iter().map(|filter| Test::new(filter, known)).collect::<Result<Vec<_>, _>>()?;
    let mut items = if ids.is_empty() {
        tx.list::<R>()
    } else {
        let mut named = ids.iter().map(|id| find::<R>(tx, id)).collect::<Result<Vec<_>, _>>()?;
        named.sort_by_key(|item| item.key());
        named.dedup_by_key(|item| item.key());
        named
    };
    items.retain(|item| {
        let tags = if filters.is_empty() { Tags::new() } else { tags::of(tx, &item.key()) };
        filters.iter().all(|filter| filter.passes(tx, item, &tags))
    });
    page(items, |item| item.key(), selection.next_token, selection.max_results)
}

/// Cuts a page out of items that are ordered by `key`.
pub(crate) fn page<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    token: &Option<String>,
    max: Option<i64>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let limit = max.and_then(|max| usize::try_from(max).ok()).unwrap_or(1000);
    paginate(items, key, token.as_deref(), limit, || {
        ApiError::client("InvalidNextToken", "The specified NextToken is not valid.")
    })
}

/// One filter of a request.
struct Test<'a, R> {
    subject: Subject<'a, R>,
    patterns: &'a [String],
}

enum Subject<'a, R> {
    Field(fn(&Tx, &R) -> Vec<String>),
    /// The value of the tag with this key.
    Tag(&'a str),
    TagKey,
}

impl<'a, R> Test<'a, R> {
    fn new(filter: &'a ec2::Filter, known: Filters<R>) -> Result<Self, ApiError> {
        let (name, patterns) = parts(filter)?;
        let subject = match (name.strip_prefix("tag:"), known.iter().find(|(known, _)| *known == name)) {
            (Some(key), _) => Subject::Tag(key),
            (None, Some((_, field))) => Subject::Field(*field),
            (None, None) if name == "tag-key" => Subject::TagKey,
            (None, None) => return Err(unknown(name)),
        };
        Ok(Self { subject, patterns })
    }

    fn passes(&self, tx: &Tx, item: &R, tags: &Tags) -> bool {
        match self.subject {
            Subject::Field(field) => field(tx, item).iter().any(|value| matches_any(self.patterns, value)),
            Subject::Tag(key) => tags.get(key).is_some_and(|value| matches_any(self.patterns, value)),
            Subject::TagKey => tags.keys().any(|key| matches_any(self.patterns, key)),
        }
    }
}

/// A filter's name and patterns.
pub(crate) fn parts(filter: &ec2::Filter) -> Result<(&str, &[String]), ApiError> {
    let name = filter.name.as_deref().ok_or_else(|| missing("Filter.Name"))?;
    let patterns = filter.values.as_deref().unwrap_or_default();
    if patterns.len() > MAX_FILTER_VALUES {
        let message = format!("The filter '{name}' has more than {MAX_FILTER_VALUES} values");
        return Err(ApiError::client("FilterLimitExceeded", message));
    }
    Ok((name, patterns))
}

pub(crate) fn unknown(name: &str) -> ApiError {
    invalid(format!("The filter '{name}' is invalid"))
}

pub(crate) fn matches_any(patterns: &[String], value: &str) -> bool {
    patterns.iter().any(|pattern| wildcard(pattern, value))
}

/// A filter's single value.
pub(crate) fn one(value: impl ToString) -> Vec<String> {
    vec![value.to_string()]
}
