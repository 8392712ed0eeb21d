//! `/_pileus/`: what the engine tells of itself. Facts about loops and versions, no resource and no secret.

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
        "/_pileus/health" => json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }),
        "/_pileus/loops" => json!({ "loops": loops.status(), "state_version": engine.db.snapshot().version() }),
        _ => return text(StatusCode::NOT_FOUND, "There is /_pileus/health and /_pileus/loops.\n".into()),
    };
    let mut response = Response::new(full(document.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
