//! What the balancer counts, by CloudWatch's names, without locks: each worker counts in cells of its own and hands
//! the sums over about every second.
//!
//! Everything is counted in exactly one row. Rows *with* a target group hold what concerns a request to a target
//! (`RequestCount`, `HTTPCode_Target_*`, `TargetConnectionErrorCount`, `TargetResponseTime`); rows *without* hold the
//! rest, so a load balancer's value is the sum over all its rows. `ActiveConnectionCount` is a gauge: the number of
//! open client connections at the time of the report, to be averaged, not added up over time.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use pileus_contract::proxy::ProxyStats;

macro_rules! metrics {
    ($($name:ident = $text:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Metric { $($name),* }

        const NAMES: &[&str] = &[$($text),*];
    };
}

metrics! {
    RequestCount = "RequestCount",
    NewConnectionCount = "NewConnectionCount",
    RejectedConnectionCount = "RejectedConnectionCount",
    ClientTlsNegotiationErrorCount = "ClientTLSNegotiationErrorCount",
    ProcessedBytes = "ProcessedBytes",
    Elb3xx = "HTTPCode_ELB_3XX_Count",
    Elb4xx = "HTTPCode_ELB_4XX_Count",
    Elb5xx = "HTTPCode_ELB_5XX_Count",
    Elb500 = "HTTPCode_ELB_500_Count",
    Elb502 = "HTTPCode_ELB_502_Count",
    Elb503 = "HTTPCode_ELB_503_Count",
    Elb504 = "HTTPCode_ELB_504_Count",
    Target2xx = "HTTPCode_Target_2XX_Count",
    Target3xx = "HTTPCode_Target_3XX_Count",
    Target4xx = "HTTPCode_Target_4XX_Count",
    Target5xx = "HTTPCode_Target_5XX_Count",
    TargetConnectionErrorCount = "TargetConnectionErrorCount",
    RuleEvaluations = "RuleEvaluations",
    Redirect = "HTTP_Redirect_Count",
    FixedResponse = "HTTP_Fixed_Response_Count",
}

pub(crate) const ACTIVE_CONNECTIONS: &str = "ActiveConnectionCount";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowKey {
    pub(crate) load_balancer: String,
    pub(crate) target_group: Option<String>,
    pub(crate) zone: String,
}

/// The cells of one row in one worker.
#[derive(Debug)]
pub(crate) struct Row {
    key: RowKey,
    counts: Vec<Cell<u64>>,
    active: Cell<u64>,
    /// Made with the first sample.
    times: RefCell<Vec<u32>>,
}

impl Row {
    fn new(key: RowKey) -> Self {
        let counts = vec![Cell::new(0); NAMES.len()];
        Self { key, counts, active: Cell::new(0), times: RefCell::default() }
    }

    pub(crate) fn add(&self, metric: Metric, count: u64) {
        let cell = &self.counts[metric as usize];
        cell.set(cell.get() + count);
    }

    pub(crate) fn connection_opened(&self) {
        self.active.set(self.active.get() + 1);
    }

    pub(crate) fn connection_closed(&self) {
        self.active.set(self.active.get().saturating_sub(1));
    }

    /// A status that a target gave.
    pub(crate) fn target_status(&self, status: u16) {
        match status / 100 {
            2 => self.add(Metric::Target2xx, 1),
            3 => self.add(Metric::Target3xx, 1),
            4 => self.add(Metric::Target4xx, 1),
            5 => self.add(Metric::Target5xx, 1),
            _ => {}
        }
    }

    /// An error that the balancer gave itself.
    pub(crate) fn elb_status(&self, status: u16) {
        match status {
            400..500 => self.add(Metric::Elb4xx, 1),
            500..600 => self.add(Metric::Elb5xx, 1),
            _ => {}
        }
        match status {
            500 => self.add(Metric::Elb500, 1),
            502 => self.add(Metric::Elb502, 1),
            503 => self.add(Metric::Elb503, 1),
            504 => self.add(Metric::Elb504, 1),
            _ => {}
        }
    }

    pub(crate) fn response_time(&self, micros: u64) {
        let mut times = self.times.borrow_mut();
        if times.is_empty() {
            times.resize(BUCKETS, 0);
        }
        times[bucket(micros)] += 1;
    }

    /// What was counted since the last call; `None` if nothing.
    fn take(&self) -> Option<ProxyStats> {
        let taken = self.counts.iter().map(Cell::take).zip(NAMES).filter(|(count, _)| *count > 0);
        let mut counts: BTreeMap<String, u64> =
            taken.map(|(count, name)| ((*name).to_owned(), count)).collect();
        if self.active.get() > 0 {
            counts.insert(ACTIVE_CONNECTIONS.to_owned(), self.active.get());
        }
        let mut times = self.times.borrow_mut();
        let filled = times.iter_mut().enumerate().filter(|(_, count)| **count > 0);
        let response_times: Vec<(u64, u64)> =
            filled.map(|(index, count)| (lower_bound(index), u64::from(std::mem::take(count)))).collect();
        (!counts.is_empty() || !response_times.is_empty()).then(|| ProxyStats {
            load_balancer: self.key.load_balancer.clone(),
            target_group: self.key.target_group.clone(),
            zone: self.key.zone.clone(),
            counts,
            response_times,
        })
    }
}

/// One worker's rows.
#[derive(Debug, Default)]
pub(crate) struct Book {
    rows: RefCell<BTreeMap<RowKey, Rc<Row>>>,
}

impl Book {
    pub(crate) fn row(&self, key: RowKey) -> Rc<Row> {
        Rc::clone(self.rows.borrow_mut().entry(key).or_insert_with_key(|key| Rc::new(Row::new(key.clone()))))
    }

    /// Everything counted since the last call. Rows that nobody uses any more go with it.
    pub(crate) fn take(&self) -> Vec<ProxyStats> {
        let mut rows = self.rows.borrow_mut();
        let taken = rows.values().filter_map(|row| row.take()).collect();
        rows.retain(|_, row| Rc::strong_count(row) > 1);
        taken
    }
}

/// Buckets of [`Row::response_time`]: exact below 64 µs, then 32 to a power of two (3.1 % wide), up to 2^36 µs.
const BUCKETS: usize = 64 + 30 * 32;

fn bucket(micros: u64) -> usize {
    if micros < 64 {
        return micros as usize;
    }
    let exponent = micros.ilog2();
    let index = 64 + (exponent as usize - 6) * 32 + ((micros >> (exponent - 5)) as usize & 31);
    index.min(BUCKETS - 1)
}

fn lower_bound(index: usize) -> u64 {
    if index < 64 {
        return index as u64;
    }
    let (power, part) = ((index - 64) / 32, (index - 64) % 32);
    (32 + part as u64) << (power + 1)
}

/// Adds `more` to `sums` row by row; `ActiveConnectionCount` of one worker replaces what it said before.
pub(crate) fn merge(sums: &mut BTreeMap<RowKey, Merged>, worker: usize, more: Vec<ProxyStats>) {
    for merged in sums.values_mut() {
        merged.active.remove(&worker);
    }
    for stats in more {
        let key =
            RowKey { load_balancer: stats.load_balancer, target_group: stats.target_group, zone: stats.zone };
        let merged = sums.entry(key).or_default();
        for (name, count) in stats.counts {
            if name == ACTIVE_CONNECTIONS {
                merged.active.insert(worker, count);
            } else {
                *merged.counts.entry(name).or_default() += count;
            }
        }
        for (micros, count) in stats.response_times {
            *merged.times.entry(micros).or_default() += count;
        }
    }
}

/// A row over all workers.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    counts: BTreeMap<String, u64>,
    active: BTreeMap<usize, u64>,
    times: BTreeMap<u64, u64>,
}

impl Merged {
    fn into_stats(self, key: RowKey) -> ProxyStats {
        let mut counts = self.counts;
        let active: u64 = self.active.values().sum();
        if active > 0 {
            counts.insert(ACTIVE_CONNECTIONS.to_owned(), active);
        }
        let RowKey { load_balancer, target_group, zone } = key;
        ProxyStats {
            load_balancer,
            target_group,
            zone,
            counts,
            response_times: self.times.into_iter().collect(),
        }
    }
}

/// The rows as the engine gets them.
pub(crate) fn report(sums: BTreeMap<RowKey, Merged>) -> Vec<ProxyStats> {
    let stats = sums.into_iter().map(|(key, merged)| merged.into_stats(key));
    stats.filter(|stats| !stats.counts.is_empty() || !stats.response_times.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(group: Option<&str>) -> RowKey {
        RowKey { load_balancer: "app/a/1".into(), target_group: group.map(str::to_owned), zone: "z".into() }
    }

    #[test]
    fn workers_add_up_and_gauges_are_replaced() {
        let (one, two) = (Book::default(), Book::default());
        let rows = [one.row(key(None)), two.row(key(None))];
        let mut sums = BTreeMap::new();
        for round in 1..=2 {
            for (worker, (book, row)) in [&one, &two].into_iter().zip(&rows).enumerate() {
                row.add(Metric::NewConnectionCount, 1);
                row.connection_opened();
                row.response_time(100 * round);
                merge(&mut sums, worker, book.take());
            }
        }
        let report = report(sums);
        assert_eq!(report.len(), 1);
        let counts: Vec<_> = report[0].counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counts, [("ActiveConnectionCount", 4), ("NewConnectionCount", 4)]);
        assert_eq!(report[0].response_times, [(100, 2), (200, 2)]);
        rows[0].connection_closed();
        rows[0].connection_closed();
        assert!(one.take().is_empty(), "nothing new, nothing open");
    }

    proptest! {
        #[test]
        fn buckets_are_narrow(micros in 0u64..(1 << 36)) {
            let low = lower_bound(bucket(micros));
            prop_assert!(low <= micros);
            prop_assert!((micros - low) as f64 <= micros as f64 * 0.05);
        }
    }
}
