//! `/_pileus/`: what the engine tells of itself: that it is there, how its loops fare, and on which loopback ports the
//! balancer takes requests from outside. No resource and no secret.

use http::{Method, Request, Response, StatusCode, header};
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
        _ => {
            let known = "There is /_pileus/health, /_pileus/loops and /_pileus/edges.\n";
            return text(StatusCode::NOT_FOUND, known.into());
        }
    };
    let mut response = Response::new(full(document.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
