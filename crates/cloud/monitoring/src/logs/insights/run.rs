//! Answering a query: reading the events of its groups, filtering, counting, sorting.

use std::collections::BTreeMap;

use pileus_contract::LogEvent;
use pileus_core::{ApiError, Timestamp};
use pileus_service::Context;
use serde_json::Value;

use super::Query;
use super::parse::{By, Condition, Figure, Operator, Plan, Stats};
use crate::logs::store_failed;
use crate::logs::stream::LogStream;

/// Events that a query looks at, at most, and how many are read in one go.
const MAX_SCANNED: u64 = 1_000_000;
const BATCH: usize = 10_000;
/// Groups of `by` at most, and matching events that are kept for sorting.
const MAX_KEPT: usize = 100_000;

#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Vec<(String, String)>>,
    pub(super) scanned: u64,
    pub(super) matched: u64,
    pub(super) bytes: u64,
    /// Whether everything was looked at.
    pub(super) whole: bool,
}

/// An event as a query sees it.
struct Row<'a> {
    event: &'a LogEvent,
    document: Option<Value>,
    stream: &'a str,
    log: &'a str,
    pointer: String,
}

impl Row<'_> {
    fn get(&self, field: &str) -> Option<String> {
        match field {
            "@timestamp" => Some(time(self.event.timestamp)),
            "@ingestionTime" => Some(time(self.event.ingested)),
            "@message" => Some(self.event.message.clone()),
            "@logStream" => Some(self.stream.to_owned()),
            "@log" => Some(self.log.to_owned()),
            "@ptr" => Some(self.pointer.clone()),
            _ => text(find(self.document.as_ref()?, field)?),
        }
    }

    fn number(&self, field: &str) -> Option<f64> {
        if field == "@timestamp" {
            return Some(self.event.timestamp.millis() as f64);
        }
        self.get(field)?.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.3f")
}

/// A member by its path: `user.tags.0`; a member whose name has dots goes first.
fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(member) = value.get(path) {
        return Some(member);
    }
    let (first, rest) = path.split_once('.')?;
    let inner = match value {
        Value::Array(items) => items.get(first.parse::<usize>().ok()?)?,
        other => other.get(first)?,
    };
    find(inner, rest).or_else(|| rest.parse::<usize>().ok().and_then(|index| inner.get(index)))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Something that can be sorted and shown.
type Shown = Vec<(String, String)>;

pub(super) fn run(cx: &Context, query: &Query, plan: &Plan) -> Result<Found, ApiError> {
    let mut found = Found { whole: true, ..Found::default() };
    let mut groups: BTreeMap<Vec<String>, Vec<Tally>> = BTreeMap::new();
    let mut kept: Vec<(Option<String>, i64, Shown)> = Vec::new();
    scan(cx, query, &mut found, |row| {
        if !plan.filters.iter().all(|condition| holds(condition, row)) {
            return false;
        }
        match &plan.stats {
            Some(stats) => tally(&mut groups, stats, row),
            None if kept.len() < MAX_KEPT => {
                let sort = plan.sort.as_ref().and_then(|(field, _)| row.get(field));
                kept.push((sort, row.event.timestamp.millis(), shown(plan, row)));
            }
            None => {}
        }
        true
    })?;
    let mut rows = match &plan.stats {
        Some(stats) => figures(stats, plan, groups),
        None => {
            // The newest first, where nothing else is asked for.
            kept.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
            kept.into_iter().map(|(sort, _, row)| (sort, row)).collect()
        }
    };
    if let Some((_, descends)) = &plan.sort {
        rows.sort_by(|(a, _), (b, _)| if *descends { compare(b, a) } else { compare(a, b) });
    }
    let limit = plan.limit.unwrap_or(query.limit).min(query.limit);
    found.rows = rows.into_iter().map(|(_, row)| row).take(limit).collect();
    Ok(found)
}

/// Shows every event of the query's groups and time to `visit`, which tells whether it matched.
fn scan(
    cx: &Context,
    query: &Query,
    found: &mut Found,
    mut visit: impl FnMut(&Row) -> bool,
) -> Result<(), ApiError> {
    for stream in cx.tx.list::<LogStream>() {
        if !query.groups.contains(&stream.group) {
            continue;
        }
        let (id, log) = (stream.id(cx.scope()), format!("{}:{}", cx.scope().account, stream.group));
        let mut from = cx.bulk.logs.seek(&id, query.from).map_err(store_failed)?;
        loop {
            let events = cx.bulk.logs.read(&id, from, BATCH).map_err(store_failed)?;
            if events.is_empty() {
                break;
            }
            for (position, event) in events {
                from = position + 1;
                if event.timestamp < query.from || event.timestamp >= query.to {
                    continue;
                }
                if found.scanned >= MAX_SCANNED {
                    found.whole = false;
                    return Ok(());
                }
                found.scanned += 1;
                found.bytes += event.message.len() as u64;
                let document = if event.message.starts_with('{') {
                    serde_json::from_str(&event.message).ok()
                } else {
                    None
                };
                let pointer = format!("{}/{}/{position}", stream.group, stream.name);
                let row = Row { event: &event, document, stream: &stream.name, log: &log, pointer };
                found.matched += u64::from(visit(&row));
            }
        }
    }
    Ok(())
}

fn shown(plan: &Plan, row: &Row) -> Shown {
    let default =
        [("@timestamp".to_owned(), "@timestamp".to_owned()), ("@message".to_owned(), "@message".to_owned())];
    let fields = if plan.fields.is_empty() { &default[..] } else { &plan.fields };
    let mut shown: Shown =
        fields.iter().filter_map(|(field, name)| Some((name.clone(), row.get(field)?))).collect();
    shown.push(("@ptr".into(), row.pointer.clone()));
    shown
}

fn holds(condition: &Condition, row: &Row) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().all(|part| holds(part, row)),
        Condition::Any(parts) => parts.iter().any(|part| holds(part, row)),
        Condition::Not(part) => !holds(part, row),
        Condition::Present(field) => row.get(field).is_some(),
        Condition::Matches(field, regex) => row.get(field).is_some_and(|value| regex.is_match(&value)),
        Condition::Contains(field, part) => row.get(field).is_some_and(|value| value.contains(part.as_str())),
        Condition::In(field, values) => row.get(field).is_some_and(|value| values.contains(&value)),
        Condition::Compare(field, operator, wanted) => row.get(field).is_some_and(|value| {
            let order = compare(&Some(value), &Some(wanted.clone()));
            match operator {
                Operator::Equal => order.is_eq(),
                Operator::NotEqual => order.is_ne(),
                Operator::Less => order.is_lt(),
                Operator::LessOrEqual => order.is_le(),
                Operator::Greater => order.is_gt(),
                Operator::GreaterOrEqual => order.is_ge(),
            }
        }),
    }
}

/// As numbers where both are, else as texts; what is missing comes first.
fn compare(a: &Option<String>, b: &Option<String>) -> std::cmp::Ordering {
    let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

/// What has been seen of one figure.
#[derive(Default)]
struct Tally {
    count: u64,
    values: Vec<f64>,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
}

fn tally(groups: &mut BTreeMap<Vec<String>, Vec<Tally>>, stats: &Stats, row: &Row) {
    let key = stats.by.iter().map(|by| match by {
        By::Field(field) => row.get(field).unwrap_or_default(),
        By::Bin(period, _) => time(row.event.timestamp.truncate(*period)),
    });
    let key: Vec<String> = key.collect();
    if groups.len() >= MAX_KEPT && !groups.contains_key(&key) {
        return;
    }
    let tallies =
        groups.entry(key).or_insert_with(|| stats.figures.iter().map(|_| Tally::default()).collect());
    for ((figure, _), tally) in stats.figures.iter().zip(tallies) {
        match figure {
            Figure::Count(None) => tally.count += 1,
            Figure::Count(Some(field)) => tally.count += u64::from(row.get(field).is_some()),
            Figure::Sum(field) | Figure::Average(field) | Figure::Minimum(field) | Figure::Maximum(field) => {
                let Some(value) = row.number(field) else { continue };
                tally.count += 1;
                tally.sum += value;
                tally.min = Some(tally.min.map_or(value, |min| min.min(value)));
                tally.max = Some(tally.max.map_or(value, |max| max.max(value)));
            }
            Figure::Percentile(field, _) => tally.values.extend(row.number(field)),
        }
    }
}

fn figures(
    stats: &Stats,
    plan: &Plan,
    groups: BTreeMap<Vec<String>, Vec<Tally>>,
) -> Vec<(Option<String>, Shown)> {
    let row = |(key, tallies): (Vec<String>, Vec<Tally>)| {
        let names = stats.by.iter().map(|by| match by {
            By::Field(name) | By::Bin(_, name) => name.clone(),
        });
        let mut shown: Shown = names.zip(key).filter(|(_, value)| !value.is_empty()).collect();
        for ((figure, name), tally) in stats.figures.iter().zip(tallies) {
            shown.extend(figure_of(figure, tally).map(|value| (name.clone(), value.to_string())));
        }
        let sort = plan.sort.as_ref();
        let sort = sort.and_then(|(field, _)| shown.iter().find(|(name, _)| name == field));
        (sort.map(|(_, value)| value.clone()), shown)
    };
    groups.into_iter().map(row).collect()
}

fn figure_of(figure: &Figure, mut tally: Tally) -> Option<f64> {
    match figure {
        Figure::Count(_) => Some(tally.count as f64),
        Figure::Sum(_) => Some(tally.sum),
        Figure::Average(_) => (tally.count > 0).then(|| tally.sum / tally.count as f64),
        Figure::Minimum(_) => tally.min,
        Figure::Maximum(_) => tally.max,
        Figure::Percentile(_, percent) => {
            tally.values.sort_by(f64::total_cmp);
            let rank = (tally.values.len() as f64 * percent / 100.0).ceil() as usize;
            tally.values.get(rank.max(1) - 1).copied()
        }
    }
}
