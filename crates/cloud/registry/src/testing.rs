//! Helpers of this crate's tests: short ways to repositories, layers and images.

use pileus_aws::ecr;
use pileus_kit::Cloud;
use sha2::{Digest as _, Sha256};

use crate::Layer;

pub(crate) fn cloud() -> Cloud {
    Cloud::new(crate::tables, crate::operations)
}

pub(crate) fn digest(content: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

pub(crate) fn repository(cloud: &mut Cloud, name: &str) {
    let input = ecr::CreateRepositoryRequest { repository_name: name.into(), ..Default::default() };
    cloud.ok::<ecr::ops::CreateRepository>(input);
}

/// Gives a repository a layer.
pub(crate) fn layer(cloud: &mut Cloud, repository: &str, content: &str) {
    let digest = digest(content);
    let size = cloud.bulk.blobs.put(&digest, &mut content.as_bytes(), 100).unwrap();
    cloud.write(|cx| cx.tx.put(Layer { repository: repository.into(), digest, size, seen: cx.now }));
}

/// The manifest of an image whose configuration and only layer are `content`.
pub(crate) fn manifest(content: &str) -> String {
    let blob = format!(
        r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}}"#,
        digest(content),
        content.len()
    );
    format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[{blob}]}}"#)
}

/// An index of such images by architecture.
pub(crate) fn index(images: &[(&str, &str)]) -> String {
    let image = |(architecture, content): &(&str, &str)| {
        let text = manifest(content);
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},
               "platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
            digest(&text),
            text.len()
        )
    };
    let images: Vec<String> = images.iter().map(image).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, images.join(","))
}

pub(crate) fn put(cloud: &mut Cloud, repository: &str, manifest: &str, tag: Option<&str>) -> String {
    let input = ecr::PutImageRequest {
        repository_name: repository.into(),
        image_manifest: manifest.into(),
        image_tag: tag.map(Into::into),
        ..Default::default()
    };
    let image = cloud.ok::<ecr::ops::PutImage>(input).image.unwrap();
    image.image_id.unwrap().image_digest.unwrap()
}

/// Pushes an image made of `content`; returns its digest.
pub(crate) fn push(cloud: &mut Cloud, repository: &str, content: &str, tag: Option<&str>) -> String {
    layer(cloud, repository, content);
    put(cloud, repository, &manifest(content), tag)
}

/// A token of the distribution API.
pub(crate) fn token(cloud: &mut Cloud) -> String {
    use base64::Engine as _;
    let data =
        cloud.ok::<ecr::ops::GetAuthorizationToken>(Default::default()).authorization_data.unwrap().remove(0);
    let pair = base64::engine::general_purpose::STANDARD.decode(data.authorization_token.unwrap()).unwrap();
    String::from_utf8(pair).unwrap().strip_prefix("AWS:").unwrap().to_owned()
}
