//! Writes flow logs: each minute of the engine's clock, what the VPCs' routers have counted since the one before, in the
//! name of the role that the flow log has. What is not delivered is lost, as at AWS; the flow log says why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pileus_contract::LogEvent;
use pileus_contract::fabric::FlowCounts;
use pileus_control::{Loop, Turn};
use pileus_core::{ApiError, Scope, Tags, Timestamp};
use pileus_monitoring::logs::{LogGroup, create_group, ensure_stream};
use pileus_network::flow_log::{self, Delivery, Window};
use pileus_security::policy::ContextKeys;
use pileus_security::{authorize, service_caller};
use pileus_state::Tx;

use crate::api::Engine;

const PERIOD: Duration = Duration::from_secs(60);
/// Who must be trusted by the roles of flow logs.
const SERVICE: &str = "vpc-flow-logs.amazonaws.com";

pub(super) struct Flows {
    engine: Arc<Engine>,
    /// What was read last of each VPC, and when.
    last: BTreeMap<(Scope, String), (Timestamp, Vec<FlowCounts>)>,
}

impl Flows {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, last: BTreeMap::new() }
    }

    /// Reads the VPC's counts; writes what came since the last time. The first reading is where counting begins.
    fn read(&mut self, vpc: (Scope, String), now: Timestamp) -> Result<(), String> {
        let counts = self.engine.machine.fabric.flows(&vpc.1).map_err(|error| error.to_string())?;
        let Some((start, before)) = self.last.insert(vpc.clone(), (now, counts.clone())) else {
            return Ok(());
        };
        let window = Window { start, end: now };
        let grown = flow_log::since(&before, &counts);
        let state = self.engine.db.snapshot();
        let deliveries = flow_log::deliveries(&state, &vpc.0, &vpc.1, window, &grown);
        for delivery in deliveries {
            self.deliver(&vpc.0, &delivery, now)?;
        }
        Ok(())
    }

    fn deliver(&self, scope: &Scope, delivery: &Delivery, now: Timestamp) -> Result<(), String> {
        let opened = self.engine.transact(|tx, _| {
            tx.within(scope.clone(), |tx| {
                let opened = open(tx, delivery, now);
                let error = opened.as_ref().err().map(|error| error.message.as_str());
                flow_log::note(tx, &delivery.log, error);
                Ok(opened)
            })
        })?;
        let Ok(stream) = opened else { return Ok(()) };
        let event = |record: &String| LogEvent { timestamp: now, ingested: now, message: record.clone() };
        let events: Vec<LogEvent> = delivery.records.iter().map(event).collect();
        self.engine.machine.bulk.logs.append(&stream, &events, None).map_err(|error| error.to_string())
    }
}

/// The stream of a delivery, made where it is missing, if the role may write there.
fn open(tx: &mut Tx, delivery: &Delivery, now: Timestamp) -> Result<pileus_contract::LogStreamId, ApiError> {
    let source = tx.scope().arn("ec2", format_args!("vpc-flow-log/{}", delivery.log));
    let caller = service_caller(tx, &delivery.role, SERVICE, &source)?;
    let group = tx.scope().arn("logs", format_args!("log-group:{}", delivery.group));
    let stream = format!("{group}:log-stream:{}", delivery.stream);
    if tx.get::<LogGroup>(&delivery.group).is_none() {
        authorize(tx, &caller, "logs:CreateLogGroup", &group, ContextKeys::new())?;
        create_group(tx, &delivery.group, Tags::new(), now)?;
    }
    for action in ["logs:CreateLogStream", "logs:PutLogEvents"] {
        authorize(tx, &caller, action, &stream, ContextKeys::new())?;
    }
    ensure_stream(tx, &delivery.group, &delivery.stream, now)
}

impl Loop for Flows {
    fn name(&self) -> &'static str {
        "flows"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        let vpcs = flow_log::vpcs(&self.engine.db.snapshot());
        self.last.retain(|vpc, _| vpcs.contains(vpc));
        let (mut failures, mut wake_at) = (Vec::new(), None::<Timestamp>);
        for vpc in vpcs {
            let due = self.last.get(&vpc).map_or(now, |(read, _)| *read + PERIOD);
            if due <= now
                && let Err(error) = self.read(vpc.clone(), now)
            {
                failures.push(error);
            }
            let next = self.last.get(&vpc).map_or(now + PERIOD, |(read, _)| *read + PERIOD);
            wake_at = Some(wake_at.map_or(next, |other| other.min(next)));
        }
        if failures.is_empty() { Ok(Turn { wake_at }) } else { Err(failures.join("; ")) }
    }
}
