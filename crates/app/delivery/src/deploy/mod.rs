//! From a manifest and an image to a running app on the reference architecture, by AWS operations alone.
//!
//! Every resource is found by its name or by the tag [`APP_TAG`], created where it is missing, brought into line where
//! it differs, and left alone where it is right. So a deployment that was cut short goes on where it was, and one with
//! nothing to do does nothing.

mod balancing;
mod network;
mod push;
mod remove;
mod roles;
mod rollout;
mod service;

use std::time::{Duration, Instant};

use crate::client::{CallError, Client};
use crate::image::BuiltImage;
use crate::manifest::Manifest;
use crate::push::PushError;

pub use remove::remove;
pub use service::Rollout;

/// The tag by which an app's resources are known; its value is the app's name.
pub const APP_TAG: &str = "pileus:app";

/// How often a resource that changes state by itself is looked at.
const POLL: Duration = Duration::from_millis(200);

/// What was done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Updated,
    Unchanged,
    Deleted,
}

/// What a deployment reports while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A resource is as it should be.
    Resource { kind: &'static str, name: String, outcome: Outcome, took: Duration },
    /// Something is being waited for; a later one replaces it.
    Waiting(String),
    /// An event of the service, in AWS's words.
    Service(String),
}

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{what} is {state}{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    State { what: String, state: String, reason: Option<String> },
    #[error("the answer about {0} lacks what AWS always gives: {1}")]
    Incomplete(String, &'static str),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error("the deployment failed: {reason}{}", details(.tasks))]
    Failed { reason: String, tasks: Vec<String> },
    #[error("{what} did not become ready within {} seconds", after.as_secs())]
    Slow { what: String, after: Duration },
}

fn details(tasks: &[String]) -> String {
    tasks.iter().map(|task| format!("\n  {task}")).collect()
}

/// Where an app is once it is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    pub dns_name: String,
    pub cluster: String,
    pub service: String,
    /// Whether a new version was rolled out.
    pub rollout: Rollout,
}

/// An app at an endpoint: what every step of a deployment needs.
pub struct Deployment<'a> {
    pub client: &'a Client,
    pub manifest: &'a Manifest,
    pub report: &'a mut dyn FnMut(Event),
}

impl Deployment<'_> {
    /// Brings the app to what the manifest and the image say, and waits until it is steady.
    ///
    /// # Errors
    /// What AWS refused, or why the new version did not come up (then the old one still runs, or runs again).
    pub async fn deploy(&mut self, image: &BuiltImage, tags: &[String]) -> Result<Deployed, DeployError> {
        let repository = self.repository().await?;
        let image_uri = self.push(&repository, image, tags).await?;
        let roles = self.roles().await?;
        let log_group = self.log_group().await?;
        let network = self.network().await?;
        let balancer = self.balancer(&network).await?;
        let cluster = self.cluster().await?;
        let definition = self.task_definition(&cluster, &image_uri, &roles, &log_group).await?;
        self.wait_for_network(&network, &balancer).await?;
        let rollout = self.service(&cluster, &definition, &network, &balancer).await?;
        Ok(Deployed { dns_name: balancer.dns_name, cluster, service: self.manifest.name.clone(), rollout })
    }

    /// Reports a resource that `started` to be looked at then.
    fn resource(&mut self, kind: &'static str, name: &str, outcome: Outcome, started: Instant) {
        (self.report)(Event::Resource { kind, name: name.to_owned(), outcome, took: started.elapsed() });
    }

    fn waiting(&mut self, text: impl Into<String>) {
        (self.report)(Event::Waiting(text.into()));
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.manifest.name)
    }
}

/// `None` where AWS says that there is no such thing, by one of `codes`.
pub(crate) fn absent<T>(result: Result<T, CallError>, codes: &[&str]) -> Result<Option<T>, CallError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code().is_some_and(|code| codes.contains(&code)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The member that AWS always gives.
fn given<T>(value: Option<T>, of: &str, member: &'static str) -> Result<T, DeployError> {
    value.ok_or_else(|| DeployError::Incomplete(of.to_owned(), member))
}
