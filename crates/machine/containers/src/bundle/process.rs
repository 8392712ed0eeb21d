//! What a container executes: image and spec put together, as ECS and Docker do it.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use pileus_contract::ContainerSpec;

use super::user::User;
use crate::image::ImageConfig;

/// Docker's, for images that set none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) struct Process {
    pub(crate) args: Vec<String>,
    /// Holds secrets.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_directory: String,
    pub(crate) user: User,
}

impl Process {
    pub(crate) fn new(
        spec: &ContainerSpec,
        image: &ImageConfig,
        hostname: &str,
        user: User,
    ) -> Result<Self, String> {
        let working_directory = spec
            .working_directory
            .as_deref()
            .or(image.working_dir.as_deref())
            .filter(|path| !path.is_empty())
            .unwrap_or("/");
        if !working_directory.starts_with('/') {
            return Err(format!("the working directory {working_directory:?} is not an absolute path"));
        }
        Ok(Self {
            args: arguments(spec, image)?,
            environment: environment(spec, image, hostname, &user.home)?,
            working_directory: working_directory.to_owned(),
            user,
        })
    }
}

/// A new entry point takes the image's command away: the command belonged to the old one.
fn arguments(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, String> {
    let command = match (&spec.command, &spec.entrypoint) {
        (Some(command), _) => command.clone(),
        (None, Some(_)) => Vec::new(),
        (None, None) => image.cmd.clone().unwrap_or_default(),
    };
    let mut args = spec.entrypoint.clone().or_else(|| image.entrypoint.clone()).unwrap_or_default();
    args.extend(command);
    if args.first().is_none_or(String::is_empty) {
        return Err(
            "neither the image nor the container definition says what to run: set a command".to_owned()
        );
    }
    if args.iter().any(|arg| arg.contains('\0')) {
        return Err("the command holds a NUL character".to_owned());
    }
    Ok(args)
}

fn environment(
    spec: &ContainerSpec,
    image: &ImageConfig,
    hostname: &str,
    home: &str,
) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
        ("HOME".to_owned(), home.to_owned()),
    ]);
    let of_image = image.env.iter().flatten().filter_map(|variable| variable.split_once('='));
    all.extend(of_image.map(|(name, value)| (name.to_owned(), value.to_owned())));
    all.extend(spec.environment.clone());
    all.extend(spec.secrets.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    for (name, value) in &all {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!(
                "the environment variable {name:?} has a name or value that no process can have"
            ));
        }
    }
    Ok(all)
}

/// The image's stop signal, by name (`SIGQUIT`, `QUIT`) or number; SIGTERM where it has none.
pub(crate) fn stop_signal(image: &ImageConfig) -> Result<Signal, String> {
    let Some(wanted) = image.stop_signal.as_deref().filter(|signal| !signal.is_empty()) else {
        return Ok(Signal::SIGTERM);
    };
    let named = format!("SIG{}", wanted.to_ascii_uppercase().trim_start_matches("SIG"));
    let signal = match wanted.parse::<i32>() {
        Ok(number) => Signal::try_from(number).ok(),
        Err(_) => named.parse().ok(),
    };
    signal.ok_or_else(|| format!("the image's stop signal {wanted:?} is unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::Secret;

    fn spec() -> ContainerSpec {
        ContainerSpec { name: "web".into(), essential: true, ..ContainerSpec::default() }
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: Some(vec!["docker-entrypoint.sh".into()]),
            cmd: Some(vec!["node".into()]),
            env: Some(vec!["PATH=/app/bin".into(), "A=image".into(), "B=image".into()]),
            ..ImageConfig::default()
        }
    }

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn the_spec_replaces_the_images_words() {
        let mut spec = spec();
        assert_eq!(arguments(&spec, &image()).ok(), words("docker-entrypoint.sh node"));
        spec.command = words("npm start");
        assert_eq!(arguments(&spec, &image()).ok(), words("docker-entrypoint.sh npm start"));
        spec.entrypoint = words("sh -c");
        assert_eq!(arguments(&spec, &image()).ok(), words("sh -c npm start"));
        spec.command = None;
        assert_eq!(arguments(&spec, &image()).ok(), words("sh -c"));
        spec.entrypoint = Some(vec![]);
        assert!(arguments(&spec, &image()).unwrap_err().contains("set a command"));
    }

    #[test]
    fn environment_is_layered() {
        let mut spec = spec();
        spec.environment.insert("B".into(), "spec".into());
        spec.environment.insert("C".into(), "spec".into());
        spec.secrets.insert("C".into(), Secret::new("hidden"));
        let all = environment(&spec, &image(), "host-1", "/root").unwrap();
        let get = |name: &str| all[name].as_str();
        assert_eq!((get("A"), get("B"), get("C")), ("image", "spec", "hidden"));
        assert_eq!((get("PATH"), get("HOSTNAME"), get("HOME")), ("/app/bin", "host-1", "/root"));
        spec.environment.insert("X=Y".into(), String::new());
        assert!(environment(&spec, &image(), "", "").is_err());
    }

    #[test]
    fn stop_signals() {
        let signal = |text: &str| stop_signal(&ImageConfig { stop_signal: Some(text.into()), ..image() });
        assert_eq!(stop_signal(&image()), Ok(Signal::SIGTERM));
        assert_eq!(signal("SIGQUIT"), Ok(Signal::SIGQUIT));
        assert_eq!(signal("int"), Ok(Signal::SIGINT));
        assert_eq!(signal("9"), Ok(Signal::SIGKILL));
        assert!(signal("SIGNONE").is_err());
    }
}
