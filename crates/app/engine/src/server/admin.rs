//! `/_pileus/`: what the engine tells of itself: that it is there, how its loops fare, and on which loopback ports the
//! balancer takes requests from outside. No resource and no secret; and the links in the messages of SNS topics, which
//! confirm or end a subscription for whoever has received them.

use http::{Method, Request, Response, StatusCode, Uri, header};
use pileus_core::{Arn, Scope};
use pileus_monitoring::sns;
use serde_json::json;

use super::{Body, full, text};
use crate::api::Engine;
use crate::loops::Loops;

pub(super) fn answer<B>(request: &Request<B>, engine: &Engine, loops: &Loops) -> Response<Body> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Only GET is served here.\n".into());
    }
    let document = match request.uri().path() {
        "/_pileus/health" => json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "now": engine.clock.now().iso8601(),
        }),
        "/_pileus/loops" => {
            json!({ "loops": loops.status(), "state_version": engine.db.snapshot().version() })
        }
        "/_pileus/edges" => json!(engine.edges()),
        "/_pileus/sns/confirm" | "/_pileus/sns/unsubscribe" => return subscription(request.uri(), engine),
        _ => {
            let known = "There is /_pileus/health, /_pileus/loops and /_pileus/edges.\n";
            return text(StatusCode::NOT_FOUND, known.into());
        }
    };
    let mut response = Response::new(full(document.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Follows a link of a message: `confirm?TopicArn=…&Token=…`, `unsubscribe?SubscriptionArn=…`.
fn subscription(uri: &Uri, engine: &Engine) -> Response<Body> {
    let query = uri.query().unwrap_or_default();
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    };
    let (topic, token, subscription) =
        (parameter("TopicArn"), parameter("Token"), parameter("SubscriptionArn"));
    let named = if subscription.is_empty() { topic } else { subscription };
    let Some(arn) = Arn::parse(named) else {
        return text(StatusCode::BAD_REQUEST, "The link names no topic and no subscription.\n".into());
    };
    let scope =
        Scope { partition: arn.partition.into(), account: arn.account.into(), region: arn.region.into() };
    let confirms = uri.path().ends_with("/confirm");
    let done = engine.transact(|tx, _| {
        tx.within(scope, |tx| match confirms {
            true => sns::confirm(tx, topic, token),
            false => sns::unsubscribe(tx, subscription).map(|()| subscription.to_owned()),
        })
        .map_err(|error| error.message)
    });
    match done {
        Ok(arn) if confirms => text(StatusCode::OK, format!("Confirmed: {arn}\n")),
        Ok(arn) => text(StatusCode::OK, format!("Unsubscribed: {arn}\n")),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}
