//! Names of images as users write them: `web`, `team/web:v1`, or with the host of a registry of ECR.

use std::str::FromStr;

/// The name of an image in the engine's ECR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageName {
    /// Account and region, where the name has a host.
    pub(crate) registry: Option<(String, String)>,
    pub(crate) repository: String,
    pub(crate) tag: String,
}

impl ImageName {
    /// `repository:tag`, by which the image is known on this host.
    pub(crate) fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

impl FromStr for ImageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (registry, path) = match text.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) => (Some(registry(host)?), path),
            _ => (None, text),
        };
        let (repository, tag) = path.split_once(':').unwrap_or((path, "latest"));
        if !is_repository(repository) {
            return Err(format!(
                "'{repository}' is no name of a repository: 2 to 256 lower-case letters, digits and . _ - /"
            ));
        }
        if !is_tag(tag) {
            return Err(format!("'{tag}' is no tag: 1 to 128 letters, digits and . _ -"));
        }
        Ok(Self { registry, repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

fn registry(host: &str) -> Result<(String, String), String> {
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let parts = name.split_once(".dkr.ecr.").and_then(|(account, rest)| {
        let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".localhost"))?;
        let good = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        good.then(|| (account.to_owned(), region.to_owned()))
    });
    parts.ok_or_else(|| {
        format!("{host} is no registry of ECR: <account>.dkr.ecr.<region>.amazonaws.com, or leave it out")
    })
}

fn is_repository(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let ends = part.bytes().next().is_some_and(letter) && part.bytes().last().is_some_and(letter);
        ends && part.bytes().all(|byte| letter(byte) || b"._-".contains(&byte))
    };
    (2..=256).contains(&name.len()) && name.split('/').all(part)
}

fn is_tag(tag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&tag.len()) && !tag.starts_with(['.', '-']) && tag.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_a_host() {
        let name: ImageName = "team/web".parse().unwrap();
        assert_eq!((name.reference().as_str(), &name.registry), ("team/web:latest", &None));
        for host in
            ["111111111111.dkr.ecr.eu-west-1.amazonaws.com", "111111111111.dkr.ecr.eu-west-1.localhost:4566"]
        {
            let name: ImageName = format!("{host}/web:v1").parse().unwrap();
            assert_eq!(name.reference(), "web:v1");
            assert_eq!(name.registry, Some(("111111111111".to_owned(), "eu-west-1".to_owned())));
        }
        for bad in [
            "",
            "Web",
            "a",
            "web:",
            "web:-x",
            "-web",
            "web//x",
            "docker.io/library/web",
            "localhost:5000/web",
        ] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }
}
