//! The app's repository in ECR, and its image there.

use std::time::Instant;

use pileus_aws::ecr::Tag;

use super::{APP_TAG, DeployError, Deployment, Outcome};
use crate::image::BuiltImage;
use crate::push::{self, Target};

impl Deployment<'_> {
    /// The app's repository.
    pub(super) async fn repository(&mut self) -> Result<Target, DeployError> {
        let (started, name) = (Instant::now(), self.manifest.name.clone());
        let tags = vec![Tag { key: APP_TAG.into(), value: name.clone() }];
        let target = push::repository(self.client, &name, tags).await?;
        let outcome = if target.created { Outcome::Created } else { Outcome::Unchanged };
        self.resource("repository", &name, outcome, started);
        Ok(target)
    }

    /// Pushes what the registry lacks and sets the tags; returns the image's URI by digest.
    pub(super) async fn push(
        &mut self,
        target: &Target,
        image: &BuiltImage,
        tags: &[String],
    ) -> Result<String, DeployError> {
        let started = Instant::now();
        let pushed = push::push(self.client, target, image, tags).await?;
        let outcome = match (pushed.new, pushed.blobs) {
            (true, _) => Outcome::Created,
            (false, 0) => Outcome::Unchanged,
            (false, _) => Outcome::Updated,
        };
        let name = format!("{}@{}", target.name, &image.manifest_digest[..19]);
        self.resource("image", &name, outcome, started);
        Ok(format!("{}@{}", target.uri, image.manifest_digest))
    }
}
