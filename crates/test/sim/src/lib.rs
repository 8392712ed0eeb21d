//! A simulation of the whole control plane: the real records, handlers and controllers over a machine and a balancer
//! that are only played, on a clock that jumps from one event to the next.
//!
//! A run is a function of its seed. Set `PILEUS_SEED` to replay one that failed. After every transaction the
//! invariants are checked that no history may break; see `check`.

mod check;
mod look;
mod machine;
mod place;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pileus_aws::ecs;
use pileus_compute::{Effect, Report, TaskRef};
use pileus_contract::{FabricSpec, ProxySpec, proxy::ProxyEvent};
use pileus_core::{IdGen, Timestamp};
use pileus_kit::Cloud;
use pileus_service::Context;

pub use crate::machine::Behaviour;
use crate::machine::{Happening, Machine};

/// From an effect to what it does.
const REMOVE: Duration = Duration::from_millis(20);
const STOP: Duration = Duration::from_secs(1);
const PORT: u16 = 3000;

/// One simulated engine with its machine.
pub struct Sim {
    pub cloud: Cloud,
    /// Containers of the versions to come have a health check of their own.
    pub checked: bool,
    machine: Machine,
    random: IdGen,
    /// By image digest.
    behaviours: BTreeMap<String, Behaviour>,
    place: place::Place,
    /// Whether the machine has been asked what it has since the engine's start.
    adopted: bool,
    wake_at: Option<Timestamp>,
    watch: check::Watch,
}

/// The seed of this run: that of `PILEUS_SEED`, else the given one.
pub fn seed(default: u64) -> u64 {
    std::env::var("PILEUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default)
}

impl Sim {
    /// The reference architecture's network and load balancer, and an empty cluster.
    pub fn new(seed: u64) -> Self {
        let mut cloud = place::cloud();
        cloud.ids = IdGen::seeded(seed);
        let place = place::build(&mut cloud);
        let mut sim = Self {
            cloud,
            checked: false,
            machine: Machine::default(),
            random: IdGen::seeded(seed ^ 0x5eed),
            behaviours: BTreeMap::new(),
            place,
            adopted: false,
            wake_at: None,
            watch: check::Watch::default(),
        };
        sim.work();
        sim
    }

    /// A number below `bound`, drawn from the seed.
    pub fn draw(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    /// Registers a task definition revision whose app behaves so; returns its revision.
    pub fn version(&mut self, behaviour: Behaviour) -> String {
        let content = format!("version {}", self.behaviours.len() + 1);
        let digest = pileus_kit::push_image(&mut self.cloud, "web", &content, None);
        let definition = place::definition(&mut self.cloud, &digest, self.checked);
        self.behaviours.insert(digest, behaviour);
        definition
    }

    /// Registers a revision whose image was never pushed.
    pub fn version_without_image(&mut self) -> String {
        place::definition(&mut self.cloud, &format!("sha256:{:064x}", 0), self.checked)
    }

    /// Creates the service `web`; its deployment configuration may be changed in `with`.
    ///
    /// # Panics
    /// The request is refused.
    pub fn create(&mut self, definition: &str, desired: i64, with: ecs::DeploymentConfiguration) {
        let request = place::service(&self.place, definition, desired, with);
        self.cloud.ok::<ecs::ops::CreateService>(request);
        self.work();
    }

    /// Updates the service `web`.
    ///
    /// # Panics
    /// The request is refused.
    pub fn update(&mut self, change: impl FnOnce(&mut ecs::UpdateServiceRequest)) {
        let mut request = ecs::UpdateServiceRequest { service: "web".into(), ..Default::default() };
        change(&mut request);
        self.cloud.ok::<ecs::ops::UpdateService>(request);
        self.work();
    }

    pub fn deploy(&mut self, definition: &str) {
        self.update(|request| request.task_definition = Some(definition.to_owned()));
    }

    pub fn scale(&mut self, desired: i64) {
        self.update(|request| request.desired_count = Some(desired));
    }

    /// Deletes the service `web`, whatever runs.
    ///
    /// # Panics
    /// The request is refused.
    pub fn delete(&mut self) {
        let input =
            ecs::DeleteServiceRequest { service: "web".into(), force: Some(true), ..Default::default() };
        self.cloud.ok::<ecs::ops::DeleteService>(input);
        self.work();
    }

    /// Kills the processes of one running task, drawn from the seed.
    pub fn crash(&mut self) {
        let alive: Vec<String> =
            self.machine.tasks.values().filter(|t| !t.state.ended).map(|t| t.state.id.clone()).collect();
        if !alive.is_empty() {
            let id = alive[self.random.below(alive.len())].clone();
            self.machine.schedule(self.cloud.now, Happening::Exited(id, 137));
            self.work();
        }
    }

    /// A running task, drawn from the seed, starts or stops answering health checks.
    pub fn turn(&mut self, healthy: bool) {
        let ids: Vec<String> = self.machine.tasks.keys().cloned().collect();
        if !ids.is_empty() {
            let id = ids[self.random.below(ids.len())].clone();
            self.machine.schedule(self.cloud.now, Happening::Checked(id, healthy));
            self.work();
        }
    }

    /// A live task, drawn from the seed, is protected for so long.
    ///
    /// # Panics
    /// The request is refused.
    pub fn protect(&mut self, minutes: i64) {
        let tasks = self.tasks();
        if !tasks.is_empty() {
            let task = tasks[self.random.below(tasks.len())].clone();
            self.cloud.ok::<ecs::ops::UpdateTaskProtection>(ecs::UpdateTaskProtectionRequest {
                cluster: "default".into(),
                tasks: vec![task],
                protection_enabled: true,
                expires_in_minutes: Some(minutes),
            });
            self.work();
        }
    }

    /// Kills the engine, loses one task without a trace, and starts the engine again.
    pub fn restart_without(&mut self, task: &str) {
        self.machine.tasks.remove(task);
        self.restart();
    }

    /// Kills the engine and starts it again. Effects on their way are lost or were just done.
    pub fn restart(&mut self) {
        let now = self.cloud.now;
        let effects = |happening: &Happening| {
            !matches!(happening, Happening::Exited(..) | Happening::Checked(..) | Happening::Stopped(_))
        };
        let lost: Vec<_> = self.machine.queue.extract_if(.., |(.., happening)| effects(happening)).collect();
        for (.., happening) in lost {
            if self.random.below(2) == 0 {
                self.carry_out(&happening);
            }
        }
        self.machine.busy.clear();
        self.cloud.restart();
        self.adopted = false;
        // The controllers run before the machine has told what it has.
        self.settle();
        self.work();
        self.cloud.now = now;
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.cloud.now + duration;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.cloud.now = at.max(self.cloud.now);
            self.work();
        }
        self.cloud.now = end;
        self.work();
    }

    /// Runs until nothing but reminders hours away is to come; whether that happened within `limit`.
    pub fn settle_down(&mut self, limit: Duration) -> bool {
        let end = self.cloud.now + limit;
        while let Some(at) = self.next() {
            if at > self.cloud.now + Duration::from_secs(1800) {
                return true;
            }
            if at > end {
                return false;
            }
            self.cloud.now = at.max(self.cloud.now);
            self.work();
        }
        true
    }

    fn next(&self) -> Option<Timestamp> {
        [self.machine.next(), self.wake_at].into_iter().flatten().min()
    }

    /// Does all that is to be done now.
    fn work(&mut self) {
        loop {
            let version = self.cloud.state.version();
            while let Some(happening) = self.machine.due(self.cloud.now) {
                self.happen(happening);
            }
            self.settle();
            if !self.adopted {
                let tasks = self.machine.tasks.values().map(|task| task.state.clone()).collect();
                self.write(|cx| pileus_compute::adopt(cx.tx, tasks));
                self.adopted = true;
                self.settle();
            }
            for effect in pileus_compute::effects(&self.cloud.state) {
                self.begin(effect);
            }
            if self.cloud.state.version() == version
                && self.machine.next().is_none_or(|at| at > self.cloud.now)
            {
                break;
            }
        }
    }

    /// Runs the controllers and lets the data planes follow.
    fn settle(&mut self) {
        let fabric = pileus_network::fabric_spec(&self.cloud.state);
        self.apply_fabric(&fabric);
        let proxy = pileus_balancing::proxy_spec(&self.cloud.state, &|interface| PathBuf::from(interface));
        self.apply_proxy(&proxy);
        let outcome = self.write(|cx| pileus_compute::reconcile(cx.tx, cx.now, cx.ids));
        assert!(!outcome.unfinished, "a reconciliation has an end");
        let (actions, drained) = pileus_balancing::plan(&self.cloud.state, self.cloud.now);
        self.write(|cx| actions.iter().for_each(|action| pileus_balancing::apply(cx.tx, action)));
        self.wake_at = [outcome.wake_at, drained].into_iter().flatten().min();
    }

    fn apply_fabric(&mut self, spec: &FabricSpec) {
        self.write(|cx| pileus_network::settle(cx.tx, spec, cx.now));
    }

    fn apply_proxy(&mut self, spec: &ProxySpec) {
        self.write(|cx| pileus_balancing::settle(cx.tx, spec, cx.now));
        let reports: Vec<ProxyEvent> = spec
            .target_groups
            .iter()
            .flat_map(|group| group.targets.iter().map(move |target| (group, target)))
            .filter_map(|(group, target)| {
                let task = self.machine.tasks.values().find(|task| task.address == target.address)?;
                Some(ProxyEvent::Health {
                    target_group: group.id.clone(),
                    address: target.address,
                    port: target.port,
                    health: task.health.clone()?,
                    at: self.cloud.now,
                })
            })
            .collect();
        self.write(|cx| reports.iter().for_each(|event| pileus_balancing::observe(cx.tx, event)));
    }

    /// A transaction that is committed only if it changes something, and then checked.
    fn write<T>(&mut self, f: impl FnOnce(&mut Context) -> T) -> T {
        let before = self.cloud.state.clone();
        let result = self.cloud.write(f);
        self.watch.look(&before, &self.cloud.state, self.cloud.now);
        result
    }

    fn report(&mut self, report: Report) {
        self.write(|cx| pileus_compute::observe(cx.tx, report));
    }

    /// Begins to carry out an effect, one at a time for each task.
    fn begin(&mut self, effect: Effect) {
        if !self.machine.busy.insert(effect.task().to_owned()) {
            return;
        }
        let now = self.cloud.now;
        match effect {
            Effect::Start(task) => {
                let after = Duration::from_millis(20 + self.random.below(3000) as u64);
                let happening = match self.behaviour(&task) {
                    Some((behaviour, _)) if behaviour != Behaviour::NoStart => Happening::Started(task.id),
                    _ => Happening::NotStarted(task.id),
                };
                self.machine.schedule(now + after, happening);
            }
            Effect::Stop(id) => {
                check::not_draining(&self.cloud.state, &id);
                self.machine.schedule(now + STOP, Happening::Stopped(id.clone()));
                self.machine.busy.remove(&id);
                self.report(Report::StopRequested { task: id });
            }
            Effect::Remove(id) => self.machine.schedule(now + REMOVE, Happening::Removed(id)),
        }
    }

    /// How the task's app behaves, and whether its container is checked.
    fn behaviour(&self, task: &TaskRef) -> Option<(Behaviour, bool)> {
        let namespace = |interface: &str| PathBuf::from(interface);
        let spec =
            pileus_compute::task_spec(&self.cloud.state, task, &namespace, None, Default::default()).ok()?;
        let container = &spec.containers[0];
        Some((*self.behaviours.get(&container.image)?, container.health_check.is_some()))
    }

    /// What happens on the machine, without a report of it.
    fn carry_out(&mut self, happening: &Happening) {
        let now = self.cloud.now;
        match happening {
            Happening::Started(id) => {
                let found = check::task(&self.cloud.state, id);
                let Some((task, address)) = found else { return };
                if let Some((behaviour, checked)) = self.behaviour(&task) {
                    self.machine.start(id, address, behaviour, checked, now);
                }
            }
            Happening::Removed(id) => {
                self.machine.tasks.remove(id);
            }
            Happening::Exited(id, code) => {
                self.machine.exit(id, *code, now);
            }
            Happening::Stopped(id) => {
                self.machine.exit(id, 143, now);
            }
            Happening::Checked(id, healthy) => self.machine.check(id, *healthy),
            Happening::NotStarted(_) => {}
        }
    }

    fn happen(&mut self, happening: Happening) {
        self.carry_out(&happening);
        match happening {
            Happening::Started(id) | Happening::Exited(id, _) | Happening::Stopped(id) => {
                self.machine.busy.remove(&id);
                if let Some(task) = self.machine.tasks.get(&id) {
                    let state = task.state.clone();
                    self.report(Report::Present(state));
                }
            }
            Happening::NotStarted(task) => {
                self.machine.busy.remove(&task);
                let reason = "CannotStartContainerError: no such file".into();
                self.report(Report::StartFailed { task, reason });
            }
            Happening::Removed(task) => {
                self.machine.busy.remove(&task);
                self.report(Report::Removed { task });
            }
            // The next look at the balancer tells it; what the shim says of its container comes by itself.
            Happening::Checked(id, _) => {
                let state = self.machine.tasks.get(&id).map(|task| task.state.clone());
                let checked = |state: &pileus_contract::TaskState| state.containers[0].health.is_some();
                if let Some(state) = state.filter(checked) {
                    self.report(Report::Present(state));
                }
            }
        }
    }
}
