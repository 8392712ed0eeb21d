//! One pass of a rolling update: the live tasks by deployment, how many of each are wanted, and which to start and
//! stop within the bounds.

use std::collections::BTreeMap;

use pileus_core::Timestamp;

use super::plan::{Action, Plan, StopWhy, Why, bounds};
use super::record::Rollout;
use super::view::{DeploymentView, Phase, ServiceView, Standing, TaskView};

/// The live tasks of one deployment.
pub(super) struct Fleet<'a> {
    pub(super) deployment: &'a DeploymentView,
    primary: bool,
    /// How many tasks it should have now.
    goal: u32,
    /// Live tasks, unhealthy ones left out.
    good: Vec<Seat<'a>>,
    unhealthy: Vec<Seat<'a>>,
    /// Tasks that are to stop and still drain their connections.
    pub(super) leaving: usize,
    starts: u32,
}

#[derive(Clone)]
struct Seat<'a> {
    task: &'a TaskView,
    standing: Standing,
}

impl Seat<'_> {
    fn healthy(&self) -> bool {
        self.standing == Standing::Healthy
    }
}

fn size(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl<'a> Fleet<'a> {
    fn new(view: &'a ServiceView, deployment: &'a DeploymentView, primary: bool, now: Timestamp) -> Self {
        let own = || view.tasks.iter().filter(|task| task.deployment == deployment.id);
        let seats = own()
            .filter(|task| task.is_live())
            .map(|task| Seat { task, standing: task.standing(deployment.balanced, view.grace, now) });
        let (unhealthy, good) = seats.partition(|seat| matches!(seat.standing, Standing::Unhealthy(_)));
        let leaving = own().filter(|task| task.phase == Phase::Leaving).count();
        Self { deployment, primary, goal: 0, good, unhealthy, leaving, starts: 0 }
    }

    fn healthy(&self) -> u32 {
        size(self.good.iter().filter(|seat| seat.healthy()).count())
    }

    fn live(&self) -> u32 {
        size(self.good.len() + self.unhealthy.len())
    }

    /// How many good tasks are under protection.
    pub(super) fn protected(&self, now: Timestamp) -> usize {
        self.good.iter().filter(|seat| seat.task.is_protected(now)).count()
    }

    /// More good tasks than are wanted.
    pub(super) fn has_surplus(&self) -> bool {
        size(self.good.len()) > self.goal
    }

    /// Good tasks that are not healthy yet.
    pub(super) fn undecided(&self) -> usize {
        self.good.iter().filter(|seat| !seat.healthy()).count()
    }

    pub(super) fn missing(&self) -> u32 {
        self.goal.saturating_sub(size(self.good.len()))
    }

    pub(super) fn may_start(&self, now: Timestamp) -> bool {
        self.deployment.retry_at.is_none_or(|at| at <= now)
    }

    /// An old deployment of which nothing is wanted and nothing is left.
    pub(super) fn is_gone(&self) -> bool {
        self.goal == 0 && self.live() == 0 && self.leaving == 0
    }

    /// All that is wanted runs and is healthy, and nothing else runs.
    pub(super) fn is_complete(&self, desired: u32) -> bool {
        self.healthy() == desired && self.live() == desired
    }

    /// How many good tasks each of the deployment's zones has.
    fn by_zone(&self) -> BTreeMap<&'a str, u32> {
        let mut zones: BTreeMap<&str, u32> =
            self.deployment.zones.iter().map(|zone| (zone.as_str(), 0)).collect();
        for seat in &self.good {
            *zones.entry(&seat.task.zone).or_default() += 1;
        }
        zones
    }

    /// The good task to stop next, among the healthy ones or the others, that is not under protection: in the fullest
    /// zone the youngest.
    fn next_to_stop(&self, healthy: bool, now: Timestamp) -> Option<usize> {
        let zones = self.by_zone();
        let rank = |seat: &Seat| {
            (zones.get(seat.task.zone.as_str()).copied(), seat.task.created_at, seat.task.id.clone())
        };
        let free = |seat: &Seat| seat.healthy() == healthy && !seat.task.is_protected(now);
        let candidates = self.good.iter().enumerate().filter(|(_, seat)| free(seat));
        candidates.max_by_key(|(_, seat)| rank(seat)).map(|(index, _)| index)
    }

    /// Whether stopping this task would leave the zones further apart than one task.
    fn unbalances(&self, index: usize) -> bool {
        let mut zones = self.by_zone();
        if let Some(count) = zones.get_mut(self.good[index].task.zone.as_str()) {
            *count -= 1;
        }
        spread(&zones) > 1
    }
}

fn spread(zones: &BTreeMap<&str, u32>) -> u32 {
    zones.values().max().copied().unwrap_or(0) - zones.values().min().copied().unwrap_or(0)
}

/// The state of one pass.
pub(super) struct Rolling<'a> {
    view: &'a ServiceView,
    pub(super) now: Timestamp,
    /// The primary one first, as in the view.
    pub(super) fleets: Vec<Fleet<'a>>,
    /// How many tasks may be started.
    pub(super) room: u32,
    /// How many healthy tasks may be stopped.
    budget: u32,
    pub(super) stops: Vec<(String, StopWhy)>,
    starts: Vec<Action>,
}

impl<'a> Rolling<'a> {
    pub(super) fn new(view: &'a ServiceView, now: Timestamp) -> Self {
        let deployments = view.deployments.iter().enumerate();
        let mut fleets: Vec<Fleet> =
            deployments.map(|(index, deployment)| Fleet::new(view, deployment, index == 0, now)).collect();
        set_goals(view.desired, &mut fleets);
        let (lower, upper) = bounds(view.desired, view.minimum_healthy_percent, view.maximum_percent);
        let live: u32 = fleets.iter().map(Fleet::live).sum();
        let healthy: u32 = fleets.iter().map(Fleet::healthy).sum();
        Self {
            view,
            now,
            fleets,
            room: upper.saturating_sub(live),
            budget: healthy.saturating_sub(lower),
            stops: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// Stops tasks beyond what each deployment should have.
    pub(super) fn stop_surplus(&mut self) {
        for fleet in &mut self.fleets {
            while size(fleet.good.len()) > fleet.goal {
                let Some(index) = surplus(fleet, self.budget, self.now) else { break };
                take(fleet, index, &mut self.budget, &mut self.stops);
            }
        }
    }

    /// Stops unhealthy tasks whose replacements are healthy, and those that will not be replaced. The last ones of an
    /// old deployment stay until the service has all it wants: a load balancer without healthy targets uses them.
    pub(super) fn stop_replaced(&mut self) {
        let served = self.fleets.iter().map(Fleet::healthy).sum::<u32>() >= self.view.desired;
        for fleet in &mut self.fleets {
            let given_up = fleet.deployment.rollout == Rollout::Failed;
            if given_up || served || (fleet.primary && fleet.healthy() >= fleet.goal) {
                for seat in fleet.unhealthy.drain(..) {
                    self.stops.push(stop_unhealthy(&seat));
                }
            }
        }
    }

    /// Where nothing can start for want of room: first an unhealthy task goes, one at a time; then, once all new tasks
    /// are healthy, tasks of old deployments, as many as the lower bound allows.
    pub(super) fn make_room(&mut self) {
        let now = self.now;
        let needed: u32 = self.fleets.iter().filter(|f| f.may_start(now)).map(Fleet::missing).sum();
        if needed <= self.room {
            return;
        }
        let deciding = self.fleets.iter().any(|fleet| fleet.undecided() > 0 && fleet.missing() > 0);
        if let Some(fleet) = self.fleets.iter_mut().rev().find(|fleet| !fleet.unhealthy.is_empty()) {
            if !deciding {
                let seat = fleet.unhealthy.remove(0);
                self.stops.push(stop_unhealthy(&seat));
            }
            return;
        }
        let primary = &self.fleets[0];
        let blocked = primary.may_start(now) && primary.undecided() == 0 && self.room == 0;
        for _ in 0..if blocked { primary.missing() } else { 0 } {
            let (budget, stops) = (&mut self.budget, &mut self.stops);
            let Some((fleet, index)) = oldest_to_yield(&mut self.fleets, *budget, now) else { break };
            fleet.goal = fleet.goal.saturating_sub(1);
            take(fleet, index, budget, stops);
        }
    }

    /// Starts what is missing within the room, old deployments first: they restore what was there.
    pub(super) fn start_missing(&mut self) {
        for index in (0..self.fleets.len()).rev() {
            while self.room > 0 && self.fleets[index].missing() > self.fleets[index].starts {
                if !self.fleets[index].may_start(self.now) {
                    break;
                }
                let Some(zone) = self.emptiest_zone(index) else { break };
                let fleet = &mut self.fleets[index];
                let replaced = fleet.starts < size(fleet.unhealthy.len());
                let why = if replaced { Why::Replace } else { Why::Scale };
                fleet.starts += 1;
                self.room -= 1;
                self.starts.push(Action::Start { deployment: fleet.deployment.id.clone(), zone, why });
            }
        }
    }

    /// When deployments that lack tasks may try again.
    pub(super) fn retries(&self) -> Vec<Timestamp> {
        let waiting = self.fleets.iter().filter(|fleet| fleet.missing() > 0);
        waiting.filter_map(|fleet| fleet.deployment.retry_at.filter(|at| *at > self.now)).collect()
    }

    /// The zone to start one more task in so that the zones come to balance.
    pub(super) fn poorest_zone_to_balance(&self) -> Option<String> {
        let zones = self.fleets.first()?.by_zone();
        let unbalanced = self.view.rebalance && self.room > 0 && spread(&zones) > 1;
        unbalanced.then(|| self.emptiest_zone(0)).flatten()
    }

    pub(super) fn emit(&mut self, plan: &mut Plan) {
        for fleet in self.fleets.iter().skip(1) {
            let keep = fleet.deployment.desired.min(fleet.goal.max(size(fleet.good.len())));
            if keep < fleet.deployment.desired {
                let deployment = fleet.deployment.id.clone();
                plan.actions.push(Action::Keep { deployment, desired: keep });
            }
        }
        plan.actions.extend(self.stops.drain(..).map(|(task, why)| Action::Stop { task, why }));
        plan.actions.append(&mut self.starts);
    }

    /// Where the next task of a deployment goes: the zone with the fewest of its own good tasks, then of all.
    fn emptiest_zone(&self, index: usize) -> Option<String> {
        let planned = |deployment: Option<&str>, zone: &str| {
            let starts = self.starts.iter().filter(|start| match start {
                Action::Start { deployment: d, zone: z, .. } => {
                    z == zone && deployment.is_none_or(|own| d == own)
                }
                _ => false,
            });
            starts.count()
        };
        let good =
            |fleet: &Fleet, zone: &str| fleet.good.iter().filter(|seat| seat.task.zone == zone).count();
        let fleet = &self.fleets[index];
        let rank = |zone: &String| {
            let own = good(fleet, zone) + planned(Some(&fleet.deployment.id), zone);
            let all = self.fleets.iter().map(|fleet| good(fleet, zone)).sum::<usize>() + planned(None, zone);
            (own, all)
        };
        fleet.deployment.zones.iter().min_by_key(|zone| rank(zone)).cloned()
    }
}

/// The primary deployment should have all tasks, unless it has failed. Old ones keep what it cannot serve yet: first
/// those that have completed, which also get back what they lose unless they fail themselves; the others only keep
/// what they have.
fn set_goals(desired: u32, fleets: &mut [Fleet]) {
    let Some((primary, old)) = fleets.split_first_mut() else { return };
    let failed = primary.deployment.rollout == Rollout::Failed;
    primary.goal = if failed { desired.min(size(primary.good.len())) } else { desired };
    let mut keep = desired.saturating_sub(primary.healthy());
    for proven in [true, false] {
        for fleet in old.iter_mut().filter(|f| (f.deployment.rollout == Rollout::Completed) == proven) {
            let refill = proven && fleet.deployment.failed_tasks == 0;
            let most = if refill { fleet.deployment.desired } else { size(fleet.good.len()) };
            fleet.goal = keep.min(most).min(fleet.deployment.desired);
            keep -= fleet.goal;
        }
    }
}

/// The task that a deployment with too many should stop now. Healthy ones only within the budget, and of the primary
/// deployment only while enough are healthy. A task that is still undecided is waited for where stopping it would
/// leave the zones unbalanced.
fn surplus(fleet: &Fleet, budget: u32, now: Timestamp) -> Option<usize> {
    let healthy = || fleet.next_to_stop(true, now).filter(|_| budget > 0);
    let Some(undecided) = fleet.next_to_stop(false, now) else { return healthy() };
    if !fleet.primary || !fleet.unbalances(undecided) {
        return Some(undecided);
    }
    if fleet.healthy() > fleet.goal { healthy().or(Some(undecided)) } else { None }
}

/// The task of an old deployment that makes way: undecided ones first, of the oldest deployment first.
fn oldest_to_yield<'f, 'a>(
    fleets: &'f mut [Fleet<'a>],
    budget: u32,
    now: Timestamp,
) -> Option<(&'f mut Fleet<'a>, usize)> {
    let old = fleets.iter().enumerate().skip(1).rev();
    let undecided = old.clone().find_map(|(f, fleet)| Some((f, fleet.next_to_stop(false, now)?)));
    let healthy = || old.clone().find_map(|(f, fleet)| Some((f, fleet.next_to_stop(true, now)?)));
    let (fleet, task) = undecided.or_else(|| healthy().filter(|_| budget > 0))?;
    Some((&mut fleets[fleet], task))
}

fn take(fleet: &mut Fleet, index: usize, budget: &mut u32, stops: &mut Vec<(String, StopWhy)>) {
    let seat = fleet.good.remove(index);
    if seat.healthy() {
        *budget = budget.saturating_sub(1);
    }
    stops.push((seat.task.id.clone(), StopWhy::Scaling));
}

fn stop_unhealthy(seat: &Seat) -> (String, StopWhy) {
    let why = match &seat.standing {
        Standing::Unhealthy(cause) => StopWhy::Unhealthy(cause.clone()),
        _ => StopWhy::Scaling,
    };
    (seat.task.id.clone(), why)
}
