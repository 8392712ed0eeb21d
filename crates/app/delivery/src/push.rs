//! An image's way into ECR: over the OCI distribution API, as any client pushes.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use pileus_aws::ecr::{
    CreateRepositoryRequest, DescribeRepositoriesRequest, GetAuthorizationTokenRequest, Repository, Tag, ops,
};

use crate::client::{CallError, Client};
use crate::image::BuiltImage;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer about {0} lacks what AWS always gives: {1}")]
    Incomplete(&'static str, &'static str),
    #[error("the image could not be pushed: {0}")]
    Refused(String),
}

/// A repository of ECR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    /// With the host, as image names begin.
    pub uri: String,
    /// It was not there before.
    pub created: bool,
}

/// What a push has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The registry did not have the image.
    pub new: bool,
    /// How many layers and configurations were sent.
    pub blobs: u32,
}

/// Finds the repository, or makes it with these tags.
///
/// # Errors
/// What AWS refused.
pub async fn repository(client: &Client, name: &str, tags: Vec<Tag>) -> Result<Target, PushError> {
    let request =
        DescribeRepositoriesRequest { repository_names: Some(vec![name.to_owned()]), ..Default::default() };
    let found = client.call::<ops::DescribeRepositories>(request).await;
    let found = crate::deploy::absent(found, &["RepositoryNotFoundException"])?;
    let target = |repository: Option<Repository>, created| {
        let uri = repository.and_then(|repository| repository.repository_uri);
        let uri = uri.ok_or(PushError::Incomplete("the repository", "repositoryUri"))?;
        Ok(Target { name: name.to_owned(), uri, created })
    };
    if let Some(found) = found {
        return target(found.repositories.and_then(|list| list.into_iter().next()), false);
    }
    let tags = (!tags.is_empty()).then_some(tags);
    let request = CreateRepositoryRequest { repository_name: name.to_owned(), tags, ..Default::default() };
    target(client.call::<ops::CreateRepository>(request).await?.repository, true)
}

/// What container tools sign in with: the base64 of `AWS:<password>`.
///
/// # Errors
/// What AWS refused.
pub async fn token(client: &Client) -> Result<String, PushError> {
    let answer = client.call::<ops::GetAuthorizationToken>(GetAuthorizationTokenRequest::default()).await?;
    let token = answer.authorization_data.and_then(|data| data.into_iter().next()?.authorization_token);
    token.ok_or(PushError::Incomplete("the registry", "authorizationToken"))
}

/// Pushes what the repository lacks of an image, and sets the tags.
///
/// # Errors
/// What the registry refused, or a blob of the image cannot be read.
pub async fn push(
    client: &Client,
    target: &Target,
    image: &BuiltImage,
    tags: &[String],
) -> Result<Pushed, PushError> {
    let push = Push { client, token: token(client).await?, name: &target.name };
    let mut blobs = 0;
    for digest in image.layers.iter().map(|layer| &layer.digest).chain([&image.config_digest]) {
        blobs += u32::from(push.blob(image, digest).await?);
    }
    let manifest = read(image, &image.manifest_digest)?;
    let new = !push.has(&format!("manifests/{}", image.manifest_digest)).await?;
    let by_digest = std::slice::from_ref(&image.manifest_digest);
    for reference in by_digest.iter().filter(|_| new).chain(tags) {
        let request = push
            .request(Method::PUT, &format!("manifests/{reference}"))
            .header(header::CONTENT_TYPE, MANIFEST_TYPE);
        push.exchange(request, manifest.clone(), StatusCode::CREATED).await?;
    }
    Ok(Pushed { new, blobs })
}

struct Push<'a> {
    client: &'a Client,
    /// Of basic authentication, as `GetAuthorizationToken` gives it.
    token: String,
    name: &'a str,
}

impl Push<'_> {
    /// True if the blob had to be sent.
    async fn blob(&self, image: &BuiltImage, digest: &str) -> Result<bool, PushError> {
        if self.has(&format!("blobs/{digest}")).await? {
            return Ok(false);
        }
        let start = self.request(Method::POST, "blobs/uploads/");
        let begun = self.exchange(start, Bytes::new(), StatusCode::ACCEPTED).await?;
        let location = begun.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let location =
            location.ok_or_else(|| PushError::Refused("the registry gave no upload location".into()))?;
        let endpoint = self.client.endpoint();
        let path = location.strip_prefix(endpoint).unwrap_or(location);
        let separator = if path.contains('?') { '&' } else { '?' };
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{endpoint}{path}{separator}digest={digest}"))
            .header(header::AUTHORIZATION, format!("Basic {}", self.token))
            .header(header::CONTENT_TYPE, "application/octet-stream");
        self.exchange(request, read(image, digest)?, StatusCode::CREATED).await?;
        Ok(true)
    }

    async fn has(&self, path: &str) -> Result<bool, PushError> {
        let request = self.request(Method::HEAD, path);
        let request = request.header(header::ACCEPT, MANIFEST_TYPE).body(Bytes::new());
        let request = request.map_err(|error| PushError::Refused(error.to_string()))?;
        let response = self.client.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(PushError::Refused(format!("HEAD {path} was answered with {status}"))),
        }
    }

    async fn exchange(
        &self,
        request: http::request::Builder,
        body: Bytes,
        expected: StatusCode,
    ) -> Result<Response<Bytes>, PushError> {
        let request = request.header(header::CONTENT_LENGTH, body.len()).body(body);
        let request = request.map_err(|error| PushError::Refused(error.to_string()))?;
        let what = format!("{} {}", request.method(), request.uri().path());
        let response = self.client.send(request).await?;
        if response.status() == expected {
            return Ok(response);
        }
        let body = String::from_utf8_lossy(response.body());
        Err(PushError::Refused(format!("{what} was answered with {}: {}", response.status(), body.trim())))
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}/v2/{}/{path}", self.client.endpoint(), self.name))
            .header(header::AUTHORIZATION, format!("Basic {}", self.token))
    }
}

fn read(image: &BuiltImage, digest: &str) -> Result<Bytes, PushError> {
    let path = image.blob_path(digest);
    let content =
        std::fs::read(&path).map_err(|error| PushError::Refused(format!("{}: {error}", path.display())))?;
    Ok(content.into())
}
