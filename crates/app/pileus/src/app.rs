//! Which app a command is about.

use std::path::Path;

use pileus_delivery::manifest::{FILE_NAME, Manifest, ManifestError};

use crate::cli;
use crate::failure::Failure;

/// An app by its settings, and how a user names it to a command.
pub(crate) struct App {
    pub(crate) manifest: Manifest,
    /// What follows the command to mean this app: nothing in its own directory.
    pub(crate) argument: String,
    origin: Origin,
}

/// How it came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Directory,
    /// The directory says nothing about being an app: it may be the wrong one.
    Guess,
    Name,
}

impl App {
    pub(crate) fn in_directory(dir: &Path) -> Result<Self, Failure> {
        if !dir.is_dir() {
            let failure = Failure::new(format!("{} is not a directory", dir.display()));
            return Err(failure.hint("give the directory of the app, where its package.json is"));
        }
        let manifest = Manifest::load(dir)?;
        let argument = if dir == Path::new(".") { String::new() } else { format!(" {}", dir.display()) };
        let guessed = !dir.join(FILE_NAME).exists() && !dir.join("package.json").exists();
        let origin = if guessed { Origin::Guess } else { Origin::Directory };
        Ok(Self { manifest, argument, origin })
    }

    pub(crate) fn of(arguments: &cli::App) -> Result<Self, Failure> {
        let Some(name) = &arguments.name else { return Self::in_directory(&arguments.dir) };
        // Through the parser, so that a name that cannot be is refused as everywhere.
        let text = format!("name = {}", serde_json::to_string(name)?);
        let manifest = Manifest::parse(&text, "--app", name).map_err(|error| match error {
            ManifestError::Invalid(diagnostic) => {
                let failure = Failure::new(format!("--app: {}", diagnostic.message));
                diagnostic.hint.into_iter().fold(failure, Failure::hint)
            }
            error => error.into(),
        })?;
        Ok(Self { manifest, argument: format!(" --app {name}"), origin: Origin::Name })
    }

    pub(crate) fn name(&self) -> &str {
        &self.manifest.name
    }

    pub(crate) fn not_deployed(&self) -> Failure {
        let failure = Failure::absent(format!("the app {} is not deployed", self.name()));
        failure.hint(match self.origin {
            Origin::Directory => format!("`pileus up{}` deploys it", self.argument),
            Origin::Guess => {
                "this directory holds no app; give its directory, or its name with --app".to_owned()
            }
            Origin::Name => "`pileus up` in its directory deploys it".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Result<App, Failure> {
        App::of(&cli::App { dir: ".".into(), name: Some(name.to_owned()) })
    }

    #[test]
    fn an_app_is_known_by_its_name_or_directory() {
        let app = named("shop").unwrap();
        assert_eq!((app.name(), app.argument.as_str()), ("shop", " --app shop"));
        assert!(named("a\"\nregion = \"x").is_err());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "name = \"mashroom\"").unwrap();
        let app = App::in_directory(dir.path()).unwrap();
        assert_eq!(app.name(), "mashroom");
        assert_eq!(app.argument, format!(" {}", dir.path().display()));
        assert_eq!(app.origin, Origin::Directory);
        assert!(App::in_directory(&dir.path().join("none")).is_err());
    }
}
