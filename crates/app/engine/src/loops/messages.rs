//! Sends what SNS topics have for their HTTP endpoints, and tries again what was not taken.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use http::{Request, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pileus_control::{Loop, Turn};
use pileus_core::{Scope, Timestamp};
use pileus_monitoring::alarms;
use pileus_monitoring::sns::{self, Delivery, Outcome};
use tokio::net::TcpStream;

use crate::api::Engine;

/// How long an endpoint may take: AWS waits 15 seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// Endpoints that are spoken to at a time.
const AT_ONCE: usize = 32;
const EXPIRY: Duration = Duration::from_secs(3600);

pub(super) struct Messages {
    engine: Arc<Engine>,
    next_expiry: Timestamp,
}

impl Messages {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, next_expiry: Timestamp::default() }
    }

    /// Makes messages of what alarms have to tell their topics.
    fn notify(&self, now: Timestamp) -> Result<(), String> {
        let pending = alarms::pending(&self.engine.db.snapshot());
        let told: Vec<_> = pending.into_iter().filter(|(_, action)| !action.is_scaling()).collect();
        if told.is_empty() {
            return Ok(());
        }
        let endpoint = format!("localhost:{}", self.engine.port);
        self.engine.transact(|tx, ids| {
            for (scope, action) in told {
                tx.within(scope, |tx| {
                    let result = sns::notify(tx, &action, &endpoint, ids, now);
                    alarms::done(tx, &action, result.as_ref().copied().map_err(String::as_str), now);
                });
            }
            Ok(())
        })
    }

    fn deliver(&self, now: Timestamp) -> Result<(), String> {
        let due = sns::due(&self.engine.db.snapshot(), now);
        if due.is_empty() {
            return Ok(());
        }
        let attempts = stream::iter(due).map(|(scope, delivery)| async move {
            let outcome = attempt(&delivery).await;
            (scope, delivery, outcome)
        });
        let outcomes: Vec<(Scope, Arc<Delivery>, Outcome)> =
            tokio::runtime::Handle::current().block_on(attempts.buffer_unordered(AT_ONCE).collect());
        let now = self.engine.clock.now();
        let given_up: BTreeSet<String> = self.engine.transact(|tx, _| {
            let mut given_up = BTreeSet::new();
            for (scope, delivery, outcome) in outcomes {
                if tx.within(scope, |tx| sns::attempted(tx, &delivery.id, outcome, now)) {
                    given_up.insert(delivery.subscription_arn.clone());
                }
            }
            Ok(given_up)
        })?;
        for subscription in given_up {
            tracing::warn!(subscription, "a message was given up: its endpoint does not take it");
        }
        Ok(())
    }
}

impl Loop for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        self.notify(now)?;
        self.deliver(now)?;
        let subscribed = self.engine.db.snapshot().all::<sns::Subscription>().next().is_some();
        if subscribed && now >= self.next_expiry {
            self.next_expiry = now + EXPIRY;
            self.engine.transact(|tx, _| {
                sns::expire(tx, now);
                Ok(())
            })?;
        }
        let expiry = subscribed.then_some(self.next_expiry);
        let attempt = sns::next_attempt(&self.engine.db.snapshot());
        Ok(Turn { wake_at: [expiry, attempt].into_iter().flatten().min() })
    }
}

async fn attempt(delivery: &Delivery) -> Outcome {
    match tokio::time::timeout(PATIENCE, post(delivery)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => {
            tracing::debug!(id = delivery.id, error, "a message could not be delivered yet");
            Outcome::Failed
        }
        Err(_) => Outcome::Failed,
    }
}

async fn post(delivery: &Delivery) -> Result<Outcome, String> {
    let uri: Uri = delivery.endpoint.parse().map_err(|error| format!("its endpoint is no URL: {error}"))?;
    let authority = uri.authority().ok_or("its endpoint has no host")?;
    // Names below localhost are this host wherever one asks (RFC 6761), also where the resolver does not know it.
    let host = if authority.host().ends_with(".localhost") { "127.0.0.1" } else { authority.host() };
    let stream =
        TcpStream::connect((host.trim_matches(['[', ']']), authority.port_u16().unwrap_or(80))).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path).header(header::HOST, authority.as_str());
    for (name, value) in delivery.headers() {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(bytes::Bytes::from(delivery.body.clone())));
    let request = request.map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    Ok(match response.status().as_u16() {
        200..=299 => Outcome::Delivered,
        429 => Outcome::Failed,
        400..=499 => Outcome::Refused,
        _ => Outcome::Failed,
    })
}
