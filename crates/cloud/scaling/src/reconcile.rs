//! One pass over every scalable target: what the schedule asks for, what alarms have triggered, what ECS has fulfilled.
//!
//! Alarms trigger through CloudWatch's pending actions, which are records: whatever is killed in between, a trigger is
//! carried out in the transaction that ends it, and so exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pileus_contract::MetricStore;
use pileus_core::{IdGen, Scope, Timestamp};
use pileus_monitoring::alarms::{self, Alarm, PendingAction, StateValue};
use pileus_state::Tx;

use crate::activity::{self, Cause, ScalingActivity};
use crate::decide::{Ask, Decision, Situation, decide};
use crate::policy::{self, Configuration, ScalingPolicy, Tracking, step};
use crate::progress::{self, Cooldown, Progress};
use crate::resource::Resource;
use crate::schedule::action::{self, ScheduledAction};
use crate::target::ScalableTarget;

/// Brings every target as far as it goes at `now`; returns when to look again though nothing changes.
pub fn reconcile(
    tx: &mut Tx,
    ids: &mut IdGen,
    metrics: &dyn MetricStore,
    now: Timestamp,
) -> Option<Timestamp> {
    let scopes: BTreeSet<Scope> = {
        let state = tx.base();
        let pending = state.all::<PendingAction>().filter(|(_, action)| action.is_scaling());
        let scheduled = state.all::<ScheduledAction>().map(|(scope, _)| scope);
        let open = state.all::<Progress>().map(|(scope, _)| scope);
        pending.map(|(scope, _)| scope).chain(scheduled).chain(open).cloned().collect()
    };
    let wakes = scopes.into_iter().filter_map(|scope| {
        tx.within(scope, |tx| {
            let scheduled = action::run_due(tx, ids, now);
            let open = advance(tx, now);
            trigger(tx, ids, metrics, now);
            [scheduled, open].into_iter().flatten().min()
        })
    });
    wakes.min()
}

/// Lets go of what nobody will ask for again.
pub fn expire(tx: &mut Tx, now: Timestamp) {
    let scopes: BTreeSet<Scope> =
        tx.base().all::<ScalingActivity>().map(|(scope, _)| scope.clone()).collect();
    for scope in scopes {
        tx.within(scope, |tx| activity::expire(tx, now));
    }
}

fn advance(tx: &mut Tx, now: Timestamp) -> Option<Timestamp> {
    for progress in tx.list::<Progress>() {
        if let Some(resource) = Resource::parse(&progress.resource) {
            progress::advance(tx, now, &resource);
        }
    }
    tx.list::<Progress>().iter().filter_map(|progress| progress.wake_at()).min()
}

/// One policy that an alarm has triggered.
struct Trigger {
    action: Arc<PendingAction>,
    alarm: Arc<Alarm>,
    policy: Arc<ScalingPolicy>,
}

/// Carries out the scaling actions of alarms, target by target.
fn trigger(tx: &mut Tx, ids: &mut IdGen, metrics: &dyn MetricStore, now: Timestamp) {
    let mut targets: BTreeMap<String, Vec<Trigger>> = BTreeMap::new();
    for action in tx.list::<PendingAction>().into_iter().filter(|action| action.is_scaling()) {
        let policy = tx.find::<ScalingPolicy>(|policy| policy.arn == action.action);
        match (alarms::get(tx, &action.alarm), policy) {
            (Some(alarm), Some(policy)) => {
                let triggers = targets.entry(policy.resource.clone()).or_default();
                triggers.push(Trigger { action, alarm, policy });
            }
            (None, _) => alarms::done(tx, &action, Ok(()), now),
            (_, None) => alarms::done(tx, &action, Err("The scaling policy does not exist."), now),
        }
    }
    for (resource, triggers) in targets {
        let results = scale(tx, ids, metrics, now, &resource, &triggers);
        for (trigger, result) in triggers.iter().zip(results) {
            alarms::done(tx, &trigger.action, result.as_ref().copied().map_err(String::as_str), now);
        }
    }
}

/// What a trigger asks for, and whom to name for it.
struct Wanted {
    ask: Ask,
    alarm: String,
    state: StateValue,
    policy: Arc<ScalingPolicy>,
}

/// Decides on the triggers of one target and acts; returns each trigger's result.
fn scale(
    tx: &mut Tx,
    ids: &mut IdGen,
    metrics: &dyn MetricStore,
    now: Timestamp,
    resource: &str,
    triggers: &[Trigger],
) -> Vec<Result<(), String>> {
    let (Some(target), Some(resource)) = (tx.get::<ScalableTarget>(resource), Resource::parse(resource))
    else {
        return triggers.iter().map(|_| Err("The scalable target is not registered.".into())).collect();
    };
    let Some(capacity) = pileus_compute::capacity(tx, resource.cluster, resource.service) else {
        return triggers.iter().map(|_| Err(format!("ECS service doesn't exist: {}", resource.id))).collect();
    };
    let (mut wanted, mut results) = (Vec::new(), Vec::new());
    for trigger in triggers {
        let asked = ask(tx, metrics, trigger).map(|ask| wanted.push(Wanted::new(trigger, ask)));
        results.push(asked);
    }
    let held = !join(tx, metrics, &resource, &mut wanted, triggers);
    let situation = situation(tx, now, &target, &capacity, held);
    let asks: Vec<Ask> = wanted.iter().map(|wanted| wanted.ask).collect();
    match decide(&situation, &asks) {
        Decision::Scale { to, by, base } => {
            let length = wanted[by].policy.cooldown(to > capacity.desired);
            let cooldown = Cooldown { base, to, length, until: None };
            progress::set(tx, ids, now, &resource, &wanted[by].cause(), to, Some(cooldown));
        }
        Decision::NotScaled { by, reason } => {
            activity::not_scaled(tx, ids, now, resource.id, &wanted[by].cause(), reason);
        }
        Decision::Nothing => {}
    }
    results
}

impl Wanted {
    fn new(trigger: &Trigger, ask: Ask) -> Self {
        let (alarm, policy) = (trigger.alarm.name.clone(), trigger.policy.clone());
        Self { ask, alarm, state: trigger.action.new, policy }
    }

    fn cause(&self) -> Cause {
        let (alarm, policy) = (self.alarm.clone(), self.policy.name.clone());
        Cause::Alarm { alarm, state: self.state, policy }
    }
}

fn situation(
    tx: &Tx,
    now: Timestamp,
    target: &ScalableTarget,
    capacity: &pileus_compute::Capacity,
    held: bool,
) -> Situation {
    Situation {
        current: capacity.desired,
        min: target.min,
        max: target.max,
        in_suspended: target.in_suspended,
        out_suspended: target.out_suspended,
        deploying: capacity.deploying,
        cooling: progress::of(tx, &target.resource).cooling_at(now),
        held,
    }
}

/// Where a tracking policy asks to scale in, adds what every other one that may scale in asks for; false where one of
/// them does not want to.
fn join(
    tx: &Tx,
    metrics: &dyn MetricStore,
    resource: &Resource,
    wanted: &mut Vec<Wanted>,
    triggers: &[Trigger],
) -> bool {
    let asking = wanted.iter().any(|wanted| matches!(wanted.ask, Ask::In { .. }));
    let Some(at) = triggers.iter().map(|trigger| trigger.action.at).max().filter(|_| asking) else {
        return true;
    };
    let mut all = true;
    for policy in policy::of_target(tx, resource.id) {
        let Configuration::Tracking(tracking) = &policy.configuration else { continue };
        let Some(low) = tracking.low.clone() else { continue };
        if wanted.iter().any(|wanted| wanted.alarm == low) {
            continue;
        }
        let alarm = alarms::get(tx, &low).filter(|alarm| alarm.state.value == StateValue::Alarm);
        let values = alarm.map(|alarm| values(tx, metrics, &alarm, None, at));
        match values.map(|values| track(tracking, &low, &values?)) {
            Some(Ok(ask)) => {
                let policy = policy.clone();
                wanted.push(Wanted { ask, alarm: low, state: StateValue::Alarm, policy });
            }
            None | Some(Err(_)) => all = false,
        }
    }
    all
}

/// The datapoints that an alarm's state rested on at `at`, oldest first; `newest` where none can be found any more.
fn values(
    tx: &Tx,
    metrics: &dyn MetricStore,
    alarm: &Alarm,
    newest: Option<f64>,
    at: Timestamp,
) -> Result<Vec<f64>, String> {
    let seen = alarms::datapoints(metrics, tx.scope(), alarm, at).map_err(|error| error.message)?;
    Ok(if seen.is_empty() { newest.into_iter().collect() } else { seen })
}

fn ask(tx: &Tx, metrics: &dyn MetricStore, trigger: &Trigger) -> Result<Ask, String> {
    let action = &trigger.action;
    let values = values(tx, metrics, &trigger.alarm, action.value, action.at)?;
    match &trigger.policy.configuration {
        Configuration::Step(step) => {
            let definition = trigger.alarm.metric();
            let threshold =
                definition.and_then(|metric| metric.threshold).ok_or("The alarm has no threshold.")?;
            let comparison = definition.and_then(|metric| metric.comparison_operator.as_deref());
            let rising = comparison.is_some_and(|comparison| comparison.starts_with("Greater"));
            let metric = aggregate(step.metric_aggregation_type.as_deref(), &values).ok_or(NO_DATA)?;
            let delta = metric - threshold;
            let adjustment = step::adjustment(step, delta, rising);
            adjustment.map(Ask::Step).ok_or_else(|| {
                format!("No step adjustment found for metric value {values:?} and breach delta {delta:?}")
            })
        }
        Configuration::Tracking(tracking) => track(tracking, &trigger.alarm.name, &values),
    }
}

const NO_DATA: &str = "There is no recent datapoint of the alarm's metric.";

/// What a tracking policy asks for by one of its alarms: by the newest datapoint to scale out, by the highest to scale in.
fn track(tracking: &Tracking, alarm: &str, values: &[f64]) -> Result<Ask, String> {
    let target = tracking.configuration.target_value;
    if alarm == tracking.high {
        let metric = *values.last().ok_or(NO_DATA)?;
        return Ok(Ask::Out { metric, target });
    }
    if tracking.low.as_deref() == Some(alarm) {
        let metric = aggregate(Some("Maximum"), values).ok_or(NO_DATA)?;
        return Ok(Ask::In { metric, target });
    }
    Err(format!("The alarm {alarm} is none of the target tracking policy's own."))
}

fn aggregate(how: Option<&str>, values: &[f64]) -> Option<f64> {
    let all = values.iter().copied();
    match how {
        Some("Minimum") => all.reduce(f64::min),
        Some("Maximum") => all.reduce(f64::max),
        _ if values.is_empty() => None,
        _ => Some(all.sum::<f64>() / values.len() as f64),
    }
}
