//! The way to a running engine: where it listens, what it tells of itself, and clients of its AWS APIs.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use http::{Request, StatusCode};
use pileus_core::{Clock as _, Secret, SystemClock, Timestamp};
use pileus_delivery::client::{CallError, Client};
use pileus_engine::{EngineFile, Home};
use pileus_wire::sigv4::Credentials;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// The administrator of the default account of an engine that is not strict. No secret: it listens on loopback only.
const ADMINISTRATOR: &str = "test";

/// A running engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) file: EngineFile,
    /// The access key id and the secret of an administrator.
    key: (String, Secret),
    /// How a shell gives that key to AWS's tools.
    pub(crate) environment: String,
}

/// What an engine tells of itself at `/_pileus/health`.
#[derive(Debug, Deserialize)]
struct Health {
    status: String,
    /// The engine's time, which may run faster than the wall's.
    now: Option<String>,
}

impl Link {
    /// The engine of the home at `root`; a failure that says what to do where none runs.
    pub(crate) fn find(root: &Path) -> Result<Self, Failure> {
        let home = Home::find(root)?;
        let file = home.as_ref().and_then(Home::engine);
        let link = home.as_ref().zip(file).map(|(home, file)| Self::to(home, file));
        link.ok_or_else(|| {
            let hint = match home {
                Some(_) => "`pileus start` starts it; tasks that ran go on meanwhile",
                None => "`pileus up` starts it and deploys the app of this directory",
            };
            Failure::absent(format!("no engine runs for {}", root.display())).hint(hint)
        })
    }

    /// The engine that runs for `home`, to be used as its administrator.
    pub(crate) fn to(home: &Home, file: EngineFile) -> Self {
        let root = if file.strict { home.root_key() } else { None };
        let (key, environment) = match root {
            Some(key) => (key, format!("AWS_SHARED_CREDENTIALS_FILE={}", home.root_credentials().display())),
            None => (
                (ADMINISTRATOR.to_owned(), Secret::new(ADMINISTRATOR)),
                format!("AWS_ACCESS_KEY_ID={ADMINISTRATOR} AWS_SECRET_ACCESS_KEY={ADMINISTRATOR}"),
            ),
        };
        Self { file, key, environment }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://localhost:{}", self.file.port)
    }

    pub(crate) fn client(&self, region: &str) -> Client {
        self.client_with(self.key.clone(), region)
    }

    /// A client of the administrator of an account, whose number is an access key. A strict engine has but one.
    pub(crate) fn client_of(&self, account: &str, region: &str) -> Client {
        let of_account = || (account.to_owned(), Secret::new(ADMINISTRATOR));
        self.client_with(if self.file.strict { self.key.clone() } else { of_account() }, region)
    }

    fn client_with(&self, (access_key, secret): (String, Secret), region: &str) -> Client {
        let credentials = Credentials { access_key, secret, session_token: None };
        // The address and not the name, which a host may resolve to something else first.
        Client::new(&format!("http://127.0.0.1:{}", self.file.port), region, credentials)
    }
}

/// Whether the engine answers that it is well.
pub(crate) async fn is_well(client: &Client) -> bool {
    get::<Health>(client, "health").await.is_ok_and(|health| health.status == "ok")
}

/// The engine's time.
pub(crate) async fn now(client: &Client) -> Result<Timestamp, CallError> {
    let health: Health = get(client, "health").await?;
    Ok(health.now.and_then(|now| Timestamp::parse(&now)).unwrap_or_else(|| SystemClock::new(1.0).now()))
}

/// Where load balancers' port 80 is reached on this host, if it is.
pub(crate) async fn edge_port(client: &Client) -> Result<Option<u16>, CallError> {
    let edges: BTreeMap<u16, u16> = get(client, "edges").await?;
    Ok(edges.get(&80).copied())
}

async fn get<T: DeserializeOwned>(client: &Client, what: &'static str) -> Result<T, CallError> {
    let unreadable = |cause: String| CallError::Answer { operation: what, cause };
    let request = Request::get(format!("{}/_pileus/{what}", client.endpoint())).body(Bytes::new());
    let response = client.send(request.map_err(|error| unreadable(error.to_string()))?).await?;
    if response.status() != StatusCode::OK {
        return Err(unreadable(format!(
            "{} {}",
            response.status(),
            String::from_utf8_lossy(response.body())
        )));
    }
    serde_json::from_slice(response.body()).map_err(|error| unreadable(error.to_string()))
}
