//! The scaling of a target that is in progress, and the cooldown that follows it.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html#target-tracking-cooldown>

use std::time::Duration;

use pileus_core::{IdGen, Timestamp};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

use crate::activity::{self, Cause, Status};
use crate::decide::Cooling;
use crate::resource::Resource;
use crate::target::{ScalableTarget, outside};

/// ECS has this long to follow. AWS publishes no number.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) resource: String,
    pub(crate) open: Option<Open>,
    /// Of a scaling by a policy: the range and the schedule have no cooldown.
    pub(crate) cooling: Option<Cooldown>,
}

/// A desired count that ECS has yet to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// The key of its activity.
    pub(crate) activity: String,
    pub(crate) to: u32,
    pub(crate) since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cooldown {
    /// The capacity before the scaling, or before the first of several in a row.
    pub(crate) base: u32,
    pub(crate) to: u32,
    pub(crate) length: Duration,
    /// When it ends; `None` while the scaling is still in progress.
    pub(crate) until: Option<Timestamp>,
}

impl Record for Progress {
    const KIND: &'static str = "application-autoscaling/progress";

    fn key(&self) -> String {
        self.resource.clone()
    }
}

impl Progress {
    /// What the cooldown is about, while it lasts.
    pub(crate) fn cooling_at(&self, now: Timestamp) -> Option<Cooling> {
        let cooling =
            self.cooling.as_ref().filter(|cooling| cooling.until.is_none_or(|until| now < until))?;
        Some(Cooling { base: cooling.base, to: cooling.to })
    }

    /// When it may change by time alone.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.since + PATIENCE)
    }
}

pub(crate) fn of(tx: &Tx, resource: &str) -> Progress {
    tx.get::<Progress>(resource).map_or_else(
        || Progress { resource: resource.to_owned(), ..Progress::default() },
        |progress| Progress::clone(&progress),
    )
}

/// Sets the desired count of a target's service, with the activity that tells of it. What was in progress is overridden.
pub(crate) fn set(
    tx: &mut Tx,
    ids: &mut IdGen,
    now: Timestamp,
    resource: &Resource,
    cause: &Cause,
    to: u32,
    cooling: Option<Cooldown>,
) {
    if !pileus_compute::set_desired_count(tx, resource.cluster, resource.service, to) {
        return;
    }
    let mut progress = of(tx, resource.id);
    if let Some(open) = progress.open.take() {
        activity::end(tx, &open.activity, now, Status::Overridden, open.to);
    }
    let activity = activity::begin_setting(tx, ids, now, resource.id, cause, to);
    progress.open = Some(Open { activity, to, since: now });
    progress.cooling = cooling;
    tx.put(progress);
}

/// Brings a desired count that is outside of the target's range into it.
pub(crate) fn enforce(tx: &mut Tx, ids: &mut IdGen, now: Timestamp, target: &ScalableTarget) {
    let Some(resource) = Resource::parse(&target.resource) else { return };
    let Some(capacity) = pileus_compute::capacity(tx, resource.cluster, resource.service) else { return };
    if let Some((to, cause)) = outside(capacity.desired, target.min, target.max) {
        set(tx, ids, now, &resource, &cause, to, None);
    }
}

/// Ends what is in progress where ECS has followed, cannot follow, or was told otherwise; begins the cooldown.
pub(crate) fn advance(tx: &mut Tx, now: Timestamp, resource: &Resource) {
    let mut progress = of(tx, resource.id);
    let Some(open) = progress.open.clone() else { return };
    let capacity = pileus_compute::capacity(tx, resource.cluster, resource.service);
    let status = match capacity {
        None => Status::Unfulfilled,
        Some(capacity) if capacity.desired != open.to => Status::Overridden,
        Some(capacity) if capacity.fulfilled => Status::Successful,
        Some(_) if now >= open.since + PATIENCE => Status::Unfulfilled,
        Some(_) => return,
    };
    activity::end(tx, &open.activity, now, status, open.to);
    progress.open = None;
    progress.cooling = progress
        .cooling
        .filter(|_| status == Status::Successful)
        .map(|cooling| Cooldown { until: cooling.until.or(Some(now + cooling.length)), ..cooling });
    tx.put(progress);
}
