//! One AWS request, from bytes to bytes: protocol, signature, validation, authorisation, handler, durability.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use pileus_compute::{StartFailure, TaskRef};
use pileus_core::{ApiError, Clock, IdGen, Scope, Secret, Timestamp};
use pileus_model::{Value, validate};
use pileus_security::{Mint, TaskCredentials};
use pileus_service::{Caller, Context, Router};
use pileus_state::{State, Tx};
use pileus_store::{Committed, Db};
use pileus_wire::{Call, Rejection};

use crate::auth::{Asked, Identity};
use crate::machine::Machine;
use crate::server::door::Arrival;
use crate::{EngineError, Home, auth, entropy, pool, wiring};

/// What every request and every loop works with.
pub(crate) struct Engine {
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) machine: Machine,
    /// The port that the API listens on.
    pub(crate) port: u16,
    router: Router,
    ids: Mutex<IdGen>,
    /// By listener port, the loopback port where the balancer's edge listens for it.
    edges: Mutex<BTreeMap<u16, u16>>,
}

type MakeCredentials =
    fn(&mut Tx, &mut Mint, &TaskRef, Timestamp) -> Result<Option<TaskCredentials>, StartFailure>;

/// A verified request for one operation.
struct Request {
    caller: Caller,
    scope: Scope,
    endpoint: String,
    input: Value,
}

impl Engine {
    pub(crate) fn new(
        db: Arc<Db>,
        clock: Arc<dyn Clock>,
        machine: Machine,
        router: Router,
        port: u16,
    ) -> Result<Self, EngineError> {
        let ids = Mutex::new(IdGen::seeded(entropy::seed()?));
        Ok(Self { db, clock, machine, port, router, ids, edges: Mutex::default() })
    }

    /// Answers one request in the protocol that it speaks.
    pub(crate) async fn answer(&self, parts: &Parts, body: Bytes) -> Response<Bytes> {
        let request_id = self.ids(IdGen::uuid);
        let call = match pileus_wire::detect(wiring::SERVICES, parts, &body) {
            Ok(call) => call,
            Err(Rejection { dialect, error }) => {
                return pileus_wire::encode_error(None, dialect, &error, &request_id);
            }
        };
        let (operation, dialect) = (call.operation, call.dialect);
        match self.run(&call, parts, &body).await {
            Ok(output) => pileus_wire::encode_response(operation, dialect, &output, &request_id),
            Err(error) => {
                let (service, operation_name) = (operation.service.name, operation.name);
                if error.status >= 500 {
                    tracing::error!(%request_id, service, operation_name, %error, "a request failed");
                } else {
                    tracing::debug!(%request_id, service, operation_name, %error, "a request was refused");
                }
                pileus_wire::encode_error(Some(operation), dialect, &error, &request_id)
            }
        }
    }

    async fn run(&self, call: &Call, parts: &Parts, body: &Bytes) -> Result<Value, ApiError> {
        let state = self.db.snapshot();
        let now = self.clock.now();
        let identity = auth::authenticate(&state, call, parts, body, now)?;
        let input = pileus_wire::decode(call)?;
        validate(call.operation, &input)?;
        auth::authorize(
            &state,
            &self.router,
            &Asked { identity: &identity, call, input: &input, parts, now },
        )?;
        self.note_use(&state, &identity, call, now);
        let Identity { caller, scope, .. } = identity;
        let scope = pileus_registry::registry_of(call.operation, &input, scope);
        if asks_for_dry_run(&input) {
            let message = "Request would have succeeded, but DryRun flag is set.";
            return Err(ApiError::new("DryRunOperation", 412, message));
        }
        let endpoint = endpoint(parts, self.port);
        let Committed { value, version, .. } =
            self.handle(call, Request { caller, scope, endpoint, input })?;
        self.durable(version).await;
        Ok(value)
    }

    /// Notes now and then that a user's key is in use.
    fn note_use(&self, state: &State, identity: &Identity, call: &Call, now: Timestamp) {
        if pileus_security::use_is_news(state, &identity.access_key, now) {
            let (service, region) = (call.operation.service.signing_name, &identity.scope.region);
            let noted = self.transact(|tx, _| {
                pileus_security::note_use(tx, &identity.access_key, service, region, now);
                Ok(())
            });
            noted.unwrap_or_else(|error: String| tracing::warn!(%error, "the use of a key was not noted"));
        }
    }

    /// Waits until a version is on disk. Where that can no longer be, the engine ends: it must not go on
    /// acknowledging what it cannot keep.
    pub(crate) async fn durable(&self, version: u64) {
        if let Err(error) = self.db.durable(version).await {
            tracing::error!(%error, "the engine ends: it can no longer keep what it is told");
            std::process::exit(1);
        }
    }

    fn handle(&self, call: &Call, request: Request) -> Result<Committed<Value>, ApiError> {
        let operation = call.operation;
        let handler = self.router.get(operation).ok_or_else(|| {
            ApiError::not_implemented(format_args!("{}:{}", operation.service.name, operation.name))
        })?;
        let Request { caller, scope, endpoint, input } = request;
        let run = |tx: &mut Tx| self.within(tx, &caller, &endpoint, |context| handler.call(context, input));
        if handler.bulk {
            let state: Arc<State> = self.db.snapshot();
            let value = tokio::task::block_in_place(|| run(&mut Tx::new(&state, scope)))?;
            return Ok(Committed { value, version: state.version(), changed: false });
        }
        self.db.transact(&scope, run)
    }

    /// Gives `work` a context on `tx`.
    pub(crate) fn within<T>(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        endpoint: &str,
        work: impl FnOnce(&mut Context) -> T,
    ) -> T {
        let ids = &mut self.ids(IdGen::fork);
        let (bulk, now) = (&self.machine.bulk, self.clock.now());
        work(&mut Context { tx, bulk, caller, now, ids, entropy: &entropy::fill_or_end, endpoint })
    }

    /// Makes sure of public addresses that no other engine on this host has.
    ///
    /// # Errors
    /// There are none left.
    pub(crate) fn claim_public_addresses(&self, home: &Home) -> Result<(), EngineError> {
        let known = pileus_network::public_pool::configured(&self.db.snapshot());
        let pool = pool::claim(home, known)?;
        let configure = |tx: &mut Tx, _: &mut IdGen| Ok(pileus_network::public_pool::configure(tx, pool));
        self.transact(configure).map(|_| ()).map_err(|error| std::io::Error::other(error).into())
    }

    /// Takes note of where the edge listens for a listener port.
    pub(crate) fn note_edge(&self, listener_port: u16, bound_port: u16) {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner).insert(listener_port, bound_port);
    }

    /// Where the edge listens, by listener port.
    pub(crate) fn edges(&self) -> BTreeMap<u16, u16> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Draws from the engine's id generator.
    pub(crate) fn ids<T>(&self, draw: impl FnOnce(&mut IdGen) -> T) -> T {
        draw(&mut self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Credentials for a task to act as its role, if it has one: the document that its metadata endpoint serves. `make`
    /// is one of compute's functions for it.
    ///
    /// # Errors
    /// A role of the task does not exist or does not trust ECS tasks.
    pub(crate) fn task_credentials(
        &self,
        task: &TaskRef,
        make: MakeCredentials,
    ) -> Result<Option<Secret>, StartFailure> {
        let now = self.clock.now();
        let committed = self.db.transact(&task.scope, |tx| {
            let mut mint = Mint { ids: &mut self.ids(IdGen::fork), entropy: &entropy::fill_or_end };
            make(tx, &mut mint, task, now)
        })?;
        Ok(committed.value.map(|credentials| credentials.document))
    }

    /// Runs a transaction of the engine itself: a controller's, not a client's.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) fn transact<T>(
        &self,
        work: impl FnOnce(&mut Tx, &mut IdGen) -> Result<T, String>,
    ) -> Result<T, String> {
        // Controllers step into the scopes of the records that they change.
        let scope = Scope::new(Scope::DEFAULT_ACCOUNT, Scope::DEFAULT_REGION);
        let committed = self.db.transact(&scope, |tx| work(tx, &mut self.ids(IdGen::fork)))?;
        Ok(committed.value)
    }
}

/// EC2's `DryRun`, which the router answers for every operation that has it.
fn asks_for_dry_run(input: &Value) -> bool {
    let Value::Structure(members) = input else { return false };
    members.iter().any(|(name, value)| *name == "DryRun" && *value == Value::Bool(true))
}

/// The host and port by which the client reached us; the guard has checked the header. What a task is told must mean
/// the same elsewhere: the names of VPCs do not.
fn endpoint(parts: &Parts, port: u16) -> String {
    let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|_| Arrival::of(parts).is_loopback());
    host.map_or_else(|| format!("localhost:{port}"), str::to_owned)
}
