//! One AWS request, from bytes to bytes: protocol, signature, validation, authorisation, handler, durability.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response};
use pileus_core::{ApiError, Clock, IdGen, Scope};
use pileus_model::{Value, validate};
use pileus_service::{Caller, Context, Router};
use pileus_state::{State, Tx};
use pileus_store::{Committed, Db};
use pileus_wire::{Call, Decoded};

use crate::machine::Machine;
use crate::{EngineError, auth, entropy, wiring};

/// What every request and every loop works with.
pub(crate) struct Engine {
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) machine: Machine,
    /// The port that the API listens on.
    pub(crate) port: u16,
    router: Router,
    ids: Mutex<IdGen>,
}

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
        Ok(Self { db, clock, machine, port, router, ids })
    }

    /// Answers one request in the protocol that it speaks.
    pub(crate) async fn answer(&self, parts: &Parts, body: Bytes) -> Response<Bytes> {
        let request_id = self.ids(IdGen::uuid);
        let call = match pileus_wire::detect(wiring::SERVICES, parts, &body) {
            Ok(call) => call,
            Err(failure) => return pileus_wire::encode_failure(&failure, &request_id),
        };
        let result = self.run(&call, parts, body).await;
        if let Err(error) = &result {
            let (service, operation) = (call.operation.service.name, call.operation.name);
            if error.status >= 500 {
                tracing::error!(%request_id, service, operation, %error, "a request failed");
            } else {
                tracing::debug!(%request_id, service, operation, %error, "a request was refused");
            }
        }
        pileus_wire::encode_response(&call, result, &request_id)
    }

    async fn run(&self, call: &Call, parts: &Parts, body: Bytes) -> Result<Value, ApiError> {
        let now = self.clock.now();
        let credential = auth::authenticate(&self.db.snapshot(), call.operation.service, parts, &body)?;
        let Decoded { input, dry_run } = pileus_wire::decode(call, parts, &body)?;
        validate(call.operation, &input)?;
        let scope = credential.scope(call.operation.service);
        auth::authorize(&self.db.snapshot(), &credential.caller, call.operation, now)?;
        if dry_run {
            let message = "Request would have succeeded, but DryRun flag is set.";
            return Err(ApiError::new("DryRunOperation", 412, message));
        }
        let endpoint = endpoint(&parts.headers, self.port);
        let request = Request { caller: credential.caller, scope, endpoint, input };
        let Committed { value, version, .. } = self.handle(call, request)?;
        match self.db.durable(version).await {
            Ok(()) => Ok(value),
            Err(error) => {
                tracing::error!(%error, "the engine ends: it can no longer keep what it is told");
                std::process::exit(1);
            }
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
        let ids = &mut *self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        work(&mut Context { tx, bulk: &self.machine.bulk, caller, now: self.clock.now(), ids, endpoint })
    }

    /// Draws from the engine's id generator.
    pub(crate) fn ids<T>(&self, draw: impl FnOnce(&mut IdGen) -> T) -> T {
        draw(&mut self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
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
        let committed = self.db.transact(&scope, |tx| {
            let ids = &mut *self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            work(tx, ids)
        })?;
        Ok(committed.value)
    }
}

/// The host and port by which the client reached us; the guard has checked the header.
fn endpoint(headers: &HeaderMap, port: u16) -> String {
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    host.map_or_else(|| format!("localhost:{port}"), str::to_owned)
}
