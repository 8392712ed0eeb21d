//! The image's way into ECR: the repository, and a push over the OCI distribution API, as any client pushes.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use pileus_aws::ecr::{
    CreateRepositoryRequest, DescribeRepositoriesRequest, GetAuthorizationTokenRequest, Repository, Tag, ops,
};

use super::{APP_TAG, DeployError, Deployment, Outcome, absent, given};
use crate::image::BuiltImage;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

impl Deployment<'_> {
    /// The app's repository; its URI.
    pub(super) async fn repository(&mut self) -> Result<String, DeployError> {
        let (started, name) = (Instant::now(), self.manifest.name.clone());
        let request =
            DescribeRepositoriesRequest { repository_names: Some(vec![name.clone()]), ..Default::default() };
        let found = self.client.call::<ops::DescribeRepositories>(request).await;
        let found = absent(found, &["RepositoryNotFoundException"])?;
        let uri = |repository: Option<Repository>| {
            given(
                repository.and_then(|repository| repository.repository_uri),
                "the repository",
                "repositoryUri",
            )
        };
        if let Some(found) = found {
            self.resource("repository", &name, Outcome::Unchanged, started);
            return uri(found.repositories.and_then(|list| list.into_iter().next()));
        }
        let request = CreateRepositoryRequest {
            repository_name: name.clone(),
            tags: Some(vec![Tag { key: APP_TAG.into(), value: name.clone() }]),
            ..Default::default()
        };
        let created = self.client.call::<ops::CreateRepository>(request).await?;
        self.resource("repository", &name, Outcome::Created, started);
        uri(created.repository)
    }

    /// Pushes what the registry lacks and sets the tags; returns the image's URI by digest.
    pub(super) async fn push(
        &mut self,
        repository: &str,
        image: &BuiltImage,
        tags: &[String],
    ) -> Result<String, DeployError> {
        let started = Instant::now();
        let token =
            self.client.call::<ops::GetAuthorizationToken>(GetAuthorizationTokenRequest::default()).await?;
        let token = token.authorization_data.and_then(|data| data.into_iter().next()?.authorization_token);
        let registry = Registry {
            token: given(token, "the registry", "authorizationToken")?,
            name: &self.manifest.name,
        };
        let mut pushed = 0;
        for layer in &image.layers {
            pushed += u32::from(self.push_blob(&registry, image, &layer.digest).await?);
        }
        pushed += u32::from(self.push_blob(&registry, image, &image.config_digest).await?);
        let manifest = read(image, &image.manifest_digest)?;
        let new = !self.has(&registry, &format!("manifests/{}", image.manifest_digest)).await?;
        let by_digest = std::slice::from_ref(&image.manifest_digest);
        for reference in by_digest.iter().filter(|_| new).chain(tags) {
            let request = registry
                .request(self.client.endpoint(), Method::PUT, &format!("manifests/{reference}"))
                .header(header::CONTENT_TYPE, MANIFEST_TYPE);
            self.exchange(request, manifest.clone(), StatusCode::CREATED).await?;
        }
        let outcome = match (new, pushed) {
            (true, _) => Outcome::Created,
            (false, 0) => Outcome::Unchanged,
            (false, _) => Outcome::Updated,
        };
        self.resource(
            "image",
            &format!("{}@{}", self.manifest.name, &image.manifest_digest[..19]),
            outcome,
            started,
        );
        Ok(format!("{repository}@{}", image.manifest_digest))
    }

    /// True if the blob had to be sent.
    async fn push_blob(
        &mut self,
        registry: &Registry<'_>,
        image: &BuiltImage,
        digest: &str,
    ) -> Result<bool, DeployError> {
        if self.has(registry, &format!("blobs/{digest}")).await? {
            return Ok(false);
        }
        let start = registry.request(self.client.endpoint(), Method::POST, "blobs/uploads/");
        let begun = self.exchange(start, Bytes::new(), StatusCode::ACCEPTED).await?;
        let location = begun.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let location =
            location.ok_or_else(|| DeployError::Push("the registry gave no upload location".into()))?;
        let path = location.strip_prefix(self.client.endpoint()).unwrap_or(location);
        let separator = if path.contains('?') { '&' } else { '?' };
        let uri = format!("{}{path}{separator}digest={digest}", self.client.endpoint());
        let request = Request::builder()
            .method(Method::PUT)
            .uri(uri)
            .header(header::AUTHORIZATION, format!("Basic {}", registry.token))
            .header(header::CONTENT_TYPE, "application/octet-stream");
        self.exchange(request, read(image, digest)?, StatusCode::CREATED).await?;
        Ok(true)
    }

    async fn has(&mut self, registry: &Registry<'_>, path: &str) -> Result<bool, DeployError> {
        let request = registry.request(self.client.endpoint(), Method::HEAD, path);
        let request = request.header(header::ACCEPT, MANIFEST_TYPE).body(Bytes::new());
        let request = request.map_err(|error| DeployError::Push(error.to_string()))?;
        let response = self.client.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(DeployError::Push(format!("HEAD {path} was answered with {status}"))),
        }
    }

    async fn exchange(
        &mut self,
        request: http::request::Builder,
        body: Bytes,
        expected: StatusCode,
    ) -> Result<Response<Bytes>, DeployError> {
        let request = request.header(header::CONTENT_LENGTH, body.len()).body(body);
        let request = request.map_err(|error| DeployError::Push(error.to_string()))?;
        let what = format!("{} {}", request.method(), request.uri().path());
        let response = self.client.send(request).await?;
        if response.status() == expected {
            return Ok(response);
        }
        let body = String::from_utf8_lossy(response.body());
        Err(DeployError::Push(format!("{what} was answered with {}: {}", response.status(), body.trim())))
    }
}

struct Registry<'a> {
    /// Of basic authentication, as `GetAuthorizationToken` gives it.
    token: String,
    name: &'a str,
}

impl Registry<'_> {
    fn request(&self, endpoint: &str, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{endpoint}/v2/{}/{path}", self.name))
            .header(header::AUTHORIZATION, format!("Basic {}", self.token))
    }
}

fn read(image: &BuiltImage, digest: &str) -> Result<Bytes, DeployError> {
    let path = image.blob_path(digest);
    let content =
        std::fs::read(&path).map_err(|error| DeployError::Push(format!("{}: {error}", path.display())))?;
    Ok(content.into())
}
