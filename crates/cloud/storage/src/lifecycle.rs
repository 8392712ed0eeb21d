//! Lifecycle rules: what expires, moves to another storage class or is given up, and when.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>

use std::time::Duration;

use pileus_core::{ApiError, IdGen, Tags, Timestamp};
use pileus_state::{State, Tx};
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::error::{invalid_argument, invalid_request, malformed_xml};
use crate::object::{self, Content, Version, bucket_prefix};
use crate::upload::{self, Upload};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MAX_RULES: usize = 1000;
/// Objects smaller than this many bytes stay in their class, where the configuration does not say otherwise.
const MIN_TRANSITION: u64 = 128 << 10;
/// The configuration's value for that.
pub const ALL_CLASSES_128K: &str = "all_storage_classes_128K";
pub const VARIES: &str = "varies_by_storage_class";

/// A bucket's lifecycle configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    pub rules: Vec<Rule>,
    /// [`ALL_CLASSES_128K`] or [`VARIES`].
    pub minimum_size: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub id: String,
    pub enabled: bool,
    /// How the client wrote the filter, so that it reads back what it wrote.
    pub form: Form,
    pub prefix: Option<String>,
    pub tags: Tags,
    pub larger_than: Option<i64>,
    pub smaller_than: Option<i64>,
    pub expiration: Option<When>,
    /// Delete markers under which no version is left go.
    pub expired_marker: Option<bool>,
    pub transitions: Vec<(When, String)>,
    pub noncurrent_expiration: Option<Noncurrent>,
    pub noncurrent_transitions: Vec<(Noncurrent, String)>,
    /// Uploads that are not complete after this many days are given up.
    pub abort_after: Option<i32>,
}

/// The form of a rule's filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// `<Prefix>` in the rule itself.
    #[default]
    Prefix,
    /// `<Filter>` with one element, or none.
    Filter,
    /// `<Filter><And>`.
    And,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// After an object was made.
    Days(i32),
    /// At midnight UTC.
    Date(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noncurrent {
    /// After a newer version took its place.
    pub days: i32,
    /// How many newer noncurrent versions stay besides.
    pub keep: Option<i32>,
}

/// One thing that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Delete the object as its bucket keeps versions.
    Expire {
        bucket: String,
        key: String,
        id: String,
    },
    /// Delete a version for ever.
    Remove {
        bucket: String,
        key: String,
        id: String,
    },
    Transition {
        bucket: String,
        key: String,
        id: String,
        class: String,
    },
    Abort {
        bucket: String,
        key: String,
        id: String,
    },
}

/// # Errors
/// The rules break S3's form.
pub fn check(lifecycle: &Lifecycle) -> Result<(), ApiError> {
    let rules = &lifecycle.rules;
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(malformed_xml());
    }
    if ![ALL_CLASSES_128K, VARIES].contains(&lifecycle.minimum_size.as_str()) {
        return Err(invalid_request("The transition default minimum object size is not valid"));
    }
    for (index, rule) in rules.iter().enumerate() {
        if rule.id.len() > 255 {
            return Err(invalid_argument("ID length should not exceed allowed limit of 255"));
        }
        if rules[..index].iter().any(|other| other.id == rule.id) {
            return Err(invalid_argument("Rule ID must be unique. Found same ID for more than one rule"));
        }
        check_rule(rule)?;
    }
    Ok(())
}

fn check_rule(rule: &Rule) -> Result<(), ApiError> {
    let acts = rule.expiration.is_some()
        || rule.expired_marker.is_some()
        || rule.noncurrent_expiration.is_some()
        || rule.abort_after.is_some()
        || !rule.transitions.is_empty()
        || !rule.noncurrent_transitions.is_empty();
    if !acts {
        return Err(invalid_request("At least one action needs to be specified in a rule"));
    }
    let positive = |what: &str, days: i32| {
        if days > 0 { Ok(()) } else { Err(invalid_argument(format!("'{what}' must be a positive integer"))) }
    };
    if let Some(When::Days(days)) = rule.expiration {
        positive("Days' for Expiration action", days)?;
    }
    if let Some(noncurrent) = rule.noncurrent_expiration {
        positive("NoncurrentDays' for NoncurrentVersionExpiration action", noncurrent.days)?;
    }
    if let Some(days) = rule.abort_after {
        positive("DaysAfterInitiation' for AbortIncompleteMultipartUpload action", days)?;
    }
    let dates = rule.expiration.iter().chain(rule.transitions.iter().map(|(when, _)| when));
    if dates.into_iter().any(|when| matches!(when, When::Date(date) if date.truncate(DAY) != *date)) {
        return Err(invalid_argument("'Date' must be at midnight GMT"));
    }
    if rule.expired_marker == Some(true) && !rule.tags.is_empty() {
        return Err(invalid_request("ExpiredObjectDeleteMarker cannot be specified with Tag based filter"));
    }
    if rule.abort_after.is_some()
        && (!rule.tags.is_empty() || rule.larger_than.or(rule.smaller_than).is_some())
    {
        return Err(invalid_request("AbortIncompleteMultipartUpload cannot be specified with Tags"));
    }
    for (when, class) in &rule.transitions {
        check_transition(class, "Days", if let When::Days(days) = when { Some(*days) } else { None })?;
    }
    for (noncurrent, class) in &rule.noncurrent_transitions {
        check_transition(class, "NoncurrentDays", Some(noncurrent.days))?;
    }
    Ok(())
}

fn check_transition(class: &str, what: &str, days: Option<i32>) -> Result<(), ApiError> {
    let least = match class {
        "STANDARD_IA" | "ONEZONE_IA" => 30,
        "INTELLIGENT_TIERING" | "GLACIER_IR" | "GLACIER" | "DEEP_ARCHIVE" => 0,
        _ => return Err(malformed_xml()),
    };
    if days.is_some_and(|days| days < least) {
        let message = format!(
            "'{what}' in Transition action must be greater than or equal to {least} for storageClass '{class}'"
        );
        return Err(invalid_argument(message));
    }
    Ok(())
}

/// The midnight (UTC) that follows a time by some days, as S3 rounds.
fn due_at(from: Timestamp, days: i32) -> Timestamp {
    let passed = from + DAY * u32::try_from(days).unwrap_or(0);
    let midnight = passed.truncate(DAY);
    if midnight == passed { midnight } else { midnight + DAY }
}

impl When {
    fn is_due(self, from: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Days(days) => due_at(from, days) <= now,
            Self::Date(date) => date <= now,
        }
    }
}

impl Rule {
    fn concerns(&self, key: &str) -> bool {
        self.enabled && self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
    }

    fn concerns_content(&self, content: &Content) -> bool {
        let size = i64::try_from(content.size).unwrap_or(i64::MAX);
        let tags = &content.described.tags;
        self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
            && self.larger_than.is_none_or(|least| size > least)
            && self.smaller_than.is_none_or(|most| size < most)
    }

    /// Whether small objects stay in their class.
    fn may_move(&self, lifecycle: &Lifecycle, content: &Content) -> bool {
        let chosen = self.larger_than.or(self.smaller_than).is_some();
        chosen || lifecycle.minimum_size == VARIES || content.size >= MIN_TRANSITION
    }
}

/// All that the lifecycle rules of all buckets want done by now.
pub fn due(state: &State, now: Timestamp) -> Vec<Due> {
    let scope = crate::scope();
    let mut due = Vec::new();
    for bucket in state.list::<Bucket>(&scope) {
        let Some(lifecycle) = &bucket.lifecycle else { continue };
        let mut versions: Vec<_> = Vec::new();
        let mut cursor = bucket_prefix(&bucket.name);
        while let Some(first) = state.first_from::<Version>(&scope, &cursor) {
            if first.bucket != bucket.name {
                break;
            }
            if versions.first().is_some_and(|one: &std::sync::Arc<Version>| one.key != first.key) {
                due.extend(due_of_object(lifecycle, &versions, now));
                versions.clear();
            }
            cursor = format!("{}\0", pileus_state::Record::key(&*first));
            versions.push(first);
        }
        due.extend(due_of_object(lifecycle, &versions, now));
        due.extend(due_uploads(state, &bucket, lifecycle, now));
    }
    due
}

/// `versions` are those of one key, from the newest to the oldest.
fn due_of_object(lifecycle: &Lifecycle, versions: &[std::sync::Arc<Version>], now: Timestamp) -> Vec<Due> {
    let Some(newest) = versions.first() else { return Vec::new() };
    let rules: Vec<_> = lifecycle.rules.iter().filter(|rule| rule.concerns(&newest.key)).collect();
    let mut due = Vec::new();
    due.extend(due_of_current(lifecycle, &rules, newest, versions.len() == 1, now));
    for (age, pair) in versions.windows(2).enumerate() {
        due.extend(due_of_noncurrent(lifecycle, &rules, &pair[1], pair[0].modified, age, now));
    }
    due
}

fn due_of_current(
    lifecycle: &Lifecycle,
    rules: &[&Rule],
    newest: &Version,
    alone: bool,
    now: Timestamp,
) -> Option<Due> {
    let (bucket, key, id) = (newest.bucket.clone(), newest.key.clone(), newest.id.clone());
    let Some(content) = &newest.content else {
        // A marker under which nothing is left.
        let goes = |rule: &&&Rule| {
            rule.expired_marker == Some(true)
                || rule.expiration.is_some_and(|when| when.is_due(newest.modified, now))
        };
        return (alone && rules.iter().any(|rule| goes(&rule))).then_some(Due::Remove { bucket, key, id });
    };
    let rules = || rules.iter().filter(|rule| rule.concerns_content(content));
    if rules().any(|rule| rule.expiration.is_some_and(|when| when.is_due(newest.modified, now))) {
        return Some(Due::Expire { bucket, key, id });
    }
    let moves = rules().filter(|rule| rule.may_move(lifecycle, content)).flat_map(|rule| &rule.transitions);
    let due = moves.filter(|(when, _)| when.is_due(newest.modified, now)).map(|(_, class)| class.as_str());
    let class = coldest(due, content)?;
    Some(Due::Transition { bucket, key, id, class })
}

/// `since` is when a newer version took its place, `newer` how many noncurrent ones are newer.
fn due_of_noncurrent(
    lifecycle: &Lifecycle,
    rules: &[&Rule],
    version: &Version,
    since: Timestamp,
    newer: usize,
    now: Timestamp,
) -> Option<Due> {
    let (bucket, key, id) = (version.bucket.clone(), version.key.clone(), version.id.clone());
    let is_due = |noncurrent: &Noncurrent| {
        due_at(since, noncurrent.days) <= now
            && usize::try_from(noncurrent.keep.unwrap_or(0)).is_ok_and(|keep| newer >= keep)
    };
    let fits = |rule: &&&Rule| version.content.as_ref().is_none_or(|content| rule.concerns_content(content));
    let expires = |rule: &Rule| rule.noncurrent_expiration.as_ref().is_some_and(is_due);
    if rules.iter().filter(fits).any(|rule| expires(rule)) {
        return Some(Due::Remove { bucket, key, id });
    }
    let content = version.content.as_ref()?;
    let moves = rules.iter().filter(fits).filter(|rule| rule.may_move(lifecycle, content));
    let moves = moves.flat_map(|rule| &rule.noncurrent_transitions);
    let class = coldest(moves.filter(|(when, _)| is_due(when)).map(|(_, class)| class.as_str()), content)?;
    Some(Due::Transition { bucket, key, id, class })
}

/// The coldest of the classes, if it is colder than that of the content.
fn coldest<'a>(classes: impl Iterator<Item = &'a str>, content: &Content) -> Option<String> {
    const ORDER: [&str; 7] = [
        "STANDARD",
        "STANDARD_IA",
        "INTELLIGENT_TIERING",
        "ONEZONE_IA",
        "GLACIER_IR",
        "GLACIER",
        "DEEP_ARCHIVE",
    ];
    let rank = |class: &str| ORDER.iter().position(|known| *known == class).unwrap_or(0);
    let coldest = classes.max_by_key(|class| rank(class))?;
    (rank(coldest) > rank(&content.described.storage_class)).then(|| coldest.to_owned())
}

fn due_uploads(state: &State, bucket: &Bucket, lifecycle: &Lifecycle, now: Timestamp) -> Vec<Due> {
    let (scope, mut due, mut cursor) = (crate::scope(), Vec::new(), bucket_prefix(&bucket.name));
    while let Some(upload) = state.first_from::<Upload>(&scope, &cursor) {
        if upload.bucket != bucket.name {
            break;
        }
        cursor = format!("{}\0", pileus_state::Record::key(&*upload));
        let old = |rule: &Rule| rule.abort_after.is_some_and(|days| due_at(upload.begun, days) <= now);
        if lifecycle.rules.iter().any(|rule| rule.concerns(&upload.key) && old(rule)) {
            let Upload { bucket, key, id, .. } = Upload::clone(&upload);
            due.push(Due::Abort { bucket, key, id });
        }
    }
    due
}

/// Does one thing that was due, unless what it was due for has changed meanwhile.
pub fn apply(tx: &mut Tx, now: Timestamp, ids: &mut IdGen, due: &Due) {
    match due {
        Due::Expire { bucket, key, id } => {
            let still = object::newest(tx, bucket, key).is_some_and(|newest| newest.id == *id);
            if let Some(bucket) = tx.get::<Bucket>(bucket).filter(|_| still) {
                object::delete(tx, now, ids, &bucket, key, None);
            }
        }
        Due::Remove { bucket, key, id } => {
            if let Some(bucket) = tx.get::<Bucket>(bucket) {
                object::delete(tx, now, ids, &bucket, key, Some(id));
            }
        }
        Due::Transition { bucket, key, id, class } => {
            let set = |content: &mut Content| content.described.storage_class.clone_from(class);
            // What is gone need not move.
            let _ = object::change(tx, bucket, key, Some(id), set);
        }
        Due::Abort { bucket, key, id } => {
            if let Ok(upload) = upload::get(tx, bucket, key, id) {
                upload::end(tx, &upload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::{Versioning, configure};
    use crate::testing::{S3, bucket};

    fn with(rule: Rule, versioning: Versioning) -> S3 {
        let mut s3 = S3::new();
        bucket(&mut s3, "abc", versioning);
        let lifecycle = Lifecycle { rules: vec![rule], minimum_size: ALL_CLASSES_128K.into() };
        check(&lifecycle).unwrap();
        s3.write(|tx, _, _| configure(tx, "abc", |bucket| bucket.lifecycle = Some(lifecycle))).unwrap();
        s3
    }

    fn rule() -> Rule {
        Rule { id: "r".into(), enabled: true, ..Rule::default() }
    }

    fn run(s3: &mut S3) -> usize {
        let due = due(&s3.state, s3.now);
        s3.write(|tx, now, ids| {
            due.iter().for_each(|due| apply(tx, now, ids, due));
            Ok(())
        })
        .unwrap();
        due.len()
    }

    #[test]
    fn objects_expire_at_the_midnight_after_their_days() {
        let mut s3 = with(
            Rule { prefix: Some("logs/".into()), expiration: Some(When::Days(1)), ..rule() },
            Versioning::Never,
        );
        s3.put("abc", "logs/a", "a");
        s3.put("abc", "other", "b");
        s3.now = due_at(s3.now, 1) - Duration::from_millis(1);
        assert_eq!(run(&mut s3), 0);
        s3.now = s3.now + Duration::from_millis(1);
        assert_eq!(run(&mut s3), 1);
        assert_eq!(s3.state.all::<Version>().count(), 1);
        assert_eq!(run(&mut s3), 0);
    }

    #[test]
    fn noncurrent_versions_go_and_at_last_the_marker() {
        let noncurrent = Noncurrent { days: 1, keep: None };
        let mut s3 = with(
            Rule { noncurrent_expiration: Some(noncurrent), expired_marker: Some(true), ..rule() },
            Versioning::Enabled,
        );
        s3.put("abc", "a", "1");
        s3.put("abc", "a", "2");
        s3.delete("abc", "a", None);
        assert_eq!(run(&mut s3), 0);
        s3.now = s3.now + DAY * 3;
        assert_eq!(run(&mut s3), 2);
        assert_eq!(run(&mut s3), 1);
        assert_eq!(s3.state.all::<Version>().count(), 0);
    }

    #[test]
    fn newer_noncurrent_versions_are_kept() {
        let noncurrent = Noncurrent { days: 1, keep: Some(1) };
        let mut s3 = with(Rule { noncurrent_expiration: Some(noncurrent), ..rule() }, Versioning::Enabled);
        for text in ["1", "2", "3"] {
            s3.put("abc", "a", text);
        }
        s3.now = s3.now + DAY * 3;
        assert_eq!((run(&mut s3), run(&mut s3)), (1, 0));
        assert_eq!(s3.state.all::<Version>().count(), 2);
    }

    #[test]
    fn rules_have_a_form() {
        let bad = |rule: Rule| {
            let lifecycle = Lifecycle { rules: vec![rule], minimum_size: VARIES.into() };
            check(&lifecycle).unwrap_err().code.into_owned()
        };
        assert_eq!(bad(rule()), "InvalidRequest");
        assert_eq!(bad(Rule { expiration: Some(When::Days(0)), ..rule() }), "InvalidArgument");
        let soon = vec![(When::Days(29), "STANDARD_IA".to_owned())];
        assert_eq!(bad(Rule { transitions: soon, ..rule() }), "InvalidArgument");
        let nowhere = vec![(When::Days(30), "CELLAR".to_owned())];
        assert_eq!(bad(Rule { transitions: nowhere, ..rule() }), "MalformedXML");
    }
}
