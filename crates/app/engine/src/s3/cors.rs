//! Requests that come from web pages: those of another origin need a rule of the bucket.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html>

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use pileus_core::ApiError;
use pileus_state::State;
use pileus_storage::cors::{CorsRule, allowing};

use super::addressing::{bucket, host, text};

/// What a rule adds to an answer.
pub(super) struct Allowed(HeaderMap);

impl Allowed {
    pub(super) fn add_to<B>(self, response: &mut Response<B>) {
        response.headers_mut().extend(self.0);
    }
}

/// Judges a request by where it comes from: nothing to add for one that comes from no other origin.
///
/// # Errors
/// It is a page's of another origin, and no rule of the bucket is for it. AWS would answer, and leave it to the browser
/// to keep the answer from the page; here every page knows the credentials of the administrator.
pub(super) fn judge(state: &State, parts: &Parts) -> Result<Option<Allowed>, ApiError> {
    let Some(origin) = text(&parts.headers, "origin") else {
        // A page may show a picture of another origin, without learning what it is.
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let site = text(&parts.headers, "sec-fetch-site");
        let foreign = site.is_some_and(|site| site != "same-origin" && site != "none");
        return if foreign && !reads { Err(forbidden()) } else { Ok(None) };
    };
    if origin.strip_prefix("http://") == Some(host(parts)) {
        return Ok(None);
    }
    rule(state, parts, origin, parts.method.as_str(), &[])
        .map(|rule| Some(allowed(&rule, origin)))
        .ok_or_else(forbidden)
}

/// Answers what a browser asks before it sends a page's request.
///
/// # Errors
/// No rule of the bucket is for that request.
pub(super) fn preflight(state: &State, parts: &Parts) -> Result<Response<()>, ApiError> {
    let missing = |what: &str| ApiError::client("BadRequest", format!("Insufficient information. {what}"));
    let origin = text(&parts.headers, "origin").ok_or_else(|| missing("Origin request header needed."))?;
    let method = text(&parts.headers, "access-control-request-method")
        .ok_or_else(|| missing("Invalid Access-Control-Request-Method: null"))?;
    let asked = text(&parts.headers, "access-control-request-headers").unwrap_or_default();
    let headers: Vec<_> = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let rule = rule(state, parts, origin, method, &headers).ok_or_else(forbidden)?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    allowed(&rule, origin).add_to(&mut response);
    let mut add = |name: header::HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    };
    if !headers.is_empty() {
        add(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.join(", ").to_ascii_lowercase());
    }
    if let Some(age) = rule.max_age {
        add(header::ACCESS_CONTROL_MAX_AGE, age.to_string());
    }
    Ok(response)
}

fn rule(state: &State, parts: &Parts, origin: &str, method: &str, headers: &[&str]) -> Option<CorsRule> {
    let bucket = pileus_storage::bucket::find(state, &bucket(parts)?)?;
    allowing(&bucket.cors, origin, method, headers).cloned()
}

fn forbidden() -> ApiError {
    let message = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
                   request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted \
                   by the resource's CORS spec.";
    ApiError::new("AccessForbidden", 403, message)
}

fn allowed(rule: &CorsRule, origin: &str) -> Allowed {
    let any = rule.origins.iter().any(|allowed| allowed == "*");
    let mut headers = HeaderMap::new();
    let mut add = |name: header::HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    add(header::ACCESS_CONTROL_ALLOW_ORIGIN, if any { "*".to_owned() } else { origin.to_owned() });
    add(header::ACCESS_CONTROL_ALLOW_METHODS, rule.methods.join(", "));
    if !rule.exposed.is_empty() {
        add(header::ACCESS_CONTROL_EXPOSE_HEADERS, rule.exposed.join(", "));
    }
    if !any {
        add(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned());
    }
    add(header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned());
    Allowed(headers)
}
