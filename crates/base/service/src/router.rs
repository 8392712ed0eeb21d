//! The table of handlers, by service and operation.

use std::collections::BTreeMap;

use pileus_core::{ApiError, Arn};
use pileus_model::{Operation, OperationSchema, Structure as _, Value};
use pileus_state::Tx;

use crate::{Context, Describe, Described};

type Call = Box<dyn Fn(&mut Context, Value) -> Result<Value, ApiError> + Send + Sync>;

/// One operation's way from input to output.
pub struct Handler {
    pub schema: &'static OperationSchema,
    /// Whether it only reads the state and may take its time with bulk data: such a handler runs on a snapshot,
    /// outside the transaction that others wait for.
    pub bulk: bool,
    call: Call,
}

impl Handler {
    /// Runs the handler on an input that has been validated.
    ///
    /// # Errors
    /// What the service answers, for the client.
    pub fn call(&self, context: &mut Context, input: Value) -> Result<Value, ApiError> {
        (self.call)(context, input)
    }
}

/// Every implemented operation of every service.
#[derive(Default)]
pub struct Router {
    handlers: BTreeMap<(&'static str, &'static str), Handler>,
    /// By the service in ARNs.
    resources: BTreeMap<&'static str, Describe>,
}

impl Router {
    /// Registers the handler of an operation that reads and writes the state, in one transaction.
    ///
    /// # Panics
    /// Two handlers for one operation are a mistake in the wiring.
    pub fn on<O: Operation>(
        &mut self,
        handler: fn(&mut Context, O::Input) -> Result<O::Output, ApiError>,
    ) -> &mut Self {
        self.add::<O>(false, handler)
    }

    /// Registers the handler of an operation that reads the state and moves bulk data.
    ///
    /// # Panics
    /// Two handlers for one operation are a mistake in the wiring.
    pub fn on_bulk<O: Operation>(
        &mut self,
        handler: fn(&mut Context, O::Input) -> Result<O::Output, ApiError>,
    ) -> &mut Self {
        self.add::<O>(true, handler)
    }

    fn add<O: Operation>(
        &mut self,
        bulk: bool,
        handler: fn(&mut Context, O::Input) -> Result<O::Output, ApiError>,
    ) -> &mut Self {
        let schema = O::SCHEMA;
        let call: Call =
            Box::new(move |context, input| Ok(handler(context, O::Input::from_value(input)?)?.to_value()));
        let old = self.handlers.insert((schema.service.name, schema.name), Handler { schema, bulk, call });
        assert!(old.is_none(), "two handlers for {}:{}", schema.service.name, schema.name);
        self
    }

    /// Registers how the resources of a service (as ARNs name it) are found for authorisation.
    ///
    /// # Panics
    /// Two ways for one service are a mistake in the wiring.
    pub fn resources(&mut self, service: &'static str, describe: Describe) -> &mut Self {
        assert!(self.resources.insert(service, describe).is_none(), "two descriptions of {service}");
        self
    }

    /// The resource that an ARN names, as policies see it.
    pub fn describe(&self, tx: &Tx, arn: &str) -> Option<Described> {
        let service = Arn::parse(arn)?.service;
        self.resources.get(service)?(tx, arn)
    }

    pub fn get(&self, operation: &OperationSchema) -> Option<&Handler> {
        self.handlers.get(&(operation.service.name, operation.name))
    }

    pub fn handlers(&self) -> impl Iterator<Item = &Handler> {
        self.handlers.values()
    }
}
