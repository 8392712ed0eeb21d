//! A small client of the AWS APIs, over the same generated shapes and codecs that the engine answers with.
//!
//! It speaks plain HTTP to an engine on this machine. Requests are signed with SigV4 like anybody's.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use pileus_core::{ApiError, Clock as _, SystemClock};
use pileus_model::{Operation, Structure as _};
use pileus_wire::sigv4::{self, Credentials};

/// The longest that one call may take.
const CALL_TIME: Duration = Duration::from_secs(60);
const MAX_RESPONSE: usize = 64 << 20;

/// Calls AWS operations of one account and region at one endpoint.
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    /// Without a final slash: `http://localhost:4566`.
    endpoint: String,
    region: String,
    credentials: Credentials,
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// AWS's own answer.
    #[error("{service}:{operation} failed: {error}")]
    Api { service: &'static str, operation: &'static str, error: ApiError },
    #[error("{endpoint} does not answer: {cause}. Is the engine running? `pileus start` starts it.")]
    Connect { endpoint: String, cause: String },
    #[error(transparent)]
    Credentials(#[from] sigv4::Unsignable),
    #[error("{endpoint} did not answer within {} seconds", CALL_TIME.as_secs())]
    Slow { endpoint: String },
    #[error("the answer to {operation} could not be read: {cause}")]
    Answer { operation: &'static str, cause: String },
}

impl CallError {
    /// AWS's error code, if it was AWS that refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Api { error, .. } => Some(&error.code),
            _ => None,
        }
    }
}

impl Client {
    pub fn new(endpoint: &str, region: &str, credentials: Credentials) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self {
            http,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.to_owned(),
            credentials,
        }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// Calls one operation.
    ///
    /// # Errors
    /// AWS's error, or why there is no answer.
    pub async fn call<O: Operation>(&self, input: O::Input) -> Result<O::Output, CallError> {
        let operation = O::SCHEMA;
        let failed =
            |error| CallError::Api { service: operation.service.name, operation: operation.name, error };
        let request =
            pileus_wire::encode_request(operation, &input.to_value(), &self.endpoint).map_err(failed)?;
        // Signatures are checked against the machine's time, whatever the engine's clock says.
        let now = SystemClock::new(1.0).now();
        let service = operation.service.signing_name;
        let request = sigv4::sign(request, &self.credentials, &self.region, service, now)?;
        let response = self.send(request).await?;
        let (parts, body) = response.into_parts();
        let value =
            pileus_wire::decode_response(operation, parts.status, &parts.headers, &body).map_err(failed)?;
        O::Output::from_value(value)
            .map_err(|error| CallError::Answer { operation: operation.name, cause: error.to_string() })
    }

    /// Sends any request and collects its answer.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CallError> {
        let endpoint = || self.endpoint.clone();
        let exchange = async {
            let response = self.http.request(request.map(Full::new)).await.map_err(|error| {
                let cause =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                CallError::Connect { endpoint: endpoint(), cause }
            })?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE)
                .collect()
                .await
                .map_err(|error| CallError::Connect { endpoint: endpoint(), cause: error.to_string() })?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        tokio::time::timeout(CALL_TIME, exchange)
            .await
            .unwrap_or_else(|_| Err(CallError::Slow { endpoint: endpoint() }))
    }
}
