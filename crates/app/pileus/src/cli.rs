//! The command line as types; nothing here does anything.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::image_name::ImageName;
use crate::{env, format};

/// The AWS reference architecture on one Linux machine: really run, and driven by the AWS APIs
#[derive(Debug, Parser)]
#[command(name = "pileus", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = help())]
pub(crate) struct Cli {
    /// Where the engine keeps its state [default: /var/lib/pileus as root, else ~/.local/share/pileus]
    #[arg(long, global = true, env = env::HOME, hide_env = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn help() -> String {
    let examples = "\
Examples:
  pileus up examples/mashroom      build and deploy an app, and print its URL
  pileus status examples/mashroom  how it is
  pileus logs -f                   follow what the app in this directory writes
  pileus down --all                leave nothing behind";
    format!("{examples}\n\n{}", env::HELP)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an app and deploy it on the reference architecture
    Up(Up),
    /// Show how an app is: tasks, targets, events
    Status(Status),
    /// Show what an app's tasks write
    Logs(Logs),
    /// Build images and push them to the engine's ECR
    Image(Image),
    /// Remove an app and its architecture
    Down(Down),
    /// Start the engine in the background
    Start(EngineOptions),
    /// End the engine, the balancer and all tasks; the state is kept
    Stop,
    /// Run the engine in the foreground
    Engine(Engine),
    /// Check what this host has, and what it lacks for which feature
    Doctor(Doctor),
}

/// For a person, or for a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
}

/// How an engine runs; for the one that is started, if one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Args)]
pub(crate) struct EngineOptions {
    /// Port of the AWS API on loopback [default: 4566]
    #[arg(long, env = env::PORT, hide_env = true)]
    pub(crate) port: Option<u16>,
    /// Port on loopback where load balancers' port 80 is reached; 0 for any [default: 80, else 8080, else any]
    #[arg(long, env = env::EDGE_PORT, hide_env = true, value_name = "PORT")]
    pub(crate) edge_port: Option<u16>,
    /// How many times faster than the wall the engine's clock runs, 1 to 1000 [default: 1]
    #[arg(long, env = env::TIME_SCALE, hide_env = true, value_name = "FACTOR", value_parser = time_scale)]
    pub(crate) time_scale: Option<f64>,
    /// Accept only credentials that the engine has issued, and fail what would fail at AWS
    #[arg(long, env = env::STRICT, hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) strict: bool,
}

impl EngineOptions {
    /// The port of the AWS API where none is chosen; LocalStack's, which tools know.
    const DEFAULT_PORT: u16 = 4566;

    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(Self::DEFAULT_PORT)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pileus engine
  PILEUS_LOG=debug pileus engine --home /tmp/pileus --port 4600 --time-scale 30")]
pub(crate) struct Engine {
    #[command(flatten)]
    pub(crate) options: EngineOptions,
    /// What to log: error, warn, info, debug, trace, or directives such as `info,pileus_engine=debug`
    #[arg(long, env = env::LOG, hide_env = true, value_name = "FILTER", default_value = env::DEFAULT_LOG)]
    pub(crate) log: String,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: Output,
    /// Leave the terminal's session: for the engine that `pileus start` starts
    #[arg(long, hide = true)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pileus up                         the app in this directory
  pileus up examples/mashroom
  curl $(pileus up --output json | jq -r .url)/health")]
pub(crate) struct Up {
    /// The app's directory, with package.json and, if it needs one, pileus.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Look for newer versions of Node and of Debian's packages instead of those of the last build
    #[arg(long)]
    pub(crate) refresh: bool,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

/// Which app: that of a directory, or one by its name.
#[derive(Debug, Args)]
pub(crate) struct App {
    /// The app's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The app's name, instead of its directory
    #[arg(long = "app", value_name = "NAME", conflicts_with = "dir")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pileus status
  pileus status --app mashroom --output json | jq .tasks

Exit codes: 0 steady, 1 not steady, 3 not deployed or no engine.")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) app: App,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pileus logs --since 1h
  pileus logs -f --task 1a2b3c4d
  pileus logs examples/mashroom --output json | jq -r .message")]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) app: App,
    /// Go on with what is written from now on, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How far back to begin: 30s, 10m, 2h, 1d, 1h30m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = format::parse_duration)]
    pub(crate) since: Duration,
    /// Only this task: the beginning of its id
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<String>,
    /// With json, a line for each event
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build the image of a Node.js app, with or without a Dockerfile
    Build(ImageBuild),
    /// Push an image that was built here to the engine's ECR
    Push(ImagePush),
    /// List the images that were built here
    List(ImageList),
}

/// What builds from a Dockerfile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Builder {
    /// The built-in builder; where it cannot, whichever of the others is there
    #[default]
    Auto,
    Builtin,
    Buildah,
    Podman,
    Docker,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pileus image build --tag web                       the app in this directory, as web:latest
  pileus image build shop --tag shop:v2 --push       and push it; makes the repository if need be
  pileus image build . -t web --builder buildah      by buildah, whatever the Dockerfile says

Without a Dockerfile an image is made of package.json and its lock file. With one, the built-in builder does FROM of
Node.js images, WORKDIR, COPY, ENV, ARG, LABEL, EXPOSE, USER, CMD, ENTRYPOINT, STOPSIGNAL and RUN of npm, in any number
of stages. What is beyond that goes to buildah, podman or docker, or is refused with its line.")]
pub(crate) struct ImageBuild {
    /// The app's directory: the context of the Dockerfile
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The image's name; a repository of the engine's ECR, with or without its host
    #[arg(long, short, value_name = "NAME[:TAG]")]
    pub(crate) tag: ImageName,
    /// Push it to the engine's ECR; starts the engine and makes the repository if need be
    #[arg(long)]
    pub(crate) push: bool,
    /// The Dockerfile [default: DIR/Dockerfile, if it is there]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What builds from a Dockerfile
    #[arg(long, value_enum, default_value_t, value_name = "BUILDER")]
    pub(crate) builder: Builder,
    /// Run the install scripts of dependencies, on this host and as you
    #[arg(long)]
    pub(crate) install_scripts: bool,
    /// Look for newer versions of Node and of Debian's packages instead of those of the last build
    #[arg(long)]
    pub(crate) refresh: bool,
    /// The region of the repository, where the name has no host
    #[arg(long, default_value = "us-east-1", value_name = "REGION")]
    pub(crate) region: String,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pileus image push web:v2
  pileus image push 000000000000.dkr.ecr.eu-west-1.amazonaws.com/web:v2")]
pub(crate) struct ImagePush {
    /// The name that the image was built with
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: ImageName,
    /// The region of the repository, where the name has no host
    #[arg(long, default_value = "us-east-1", value_name = "REGION")]
    pub(crate) region: String,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ImageList {
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pileus down                  the app in this directory
  pileus down --app mashroom
  pileus down --all --yes      every app, the engine and its state")]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) app: App,
    /// Remove everything: every app, the engine, all that it made on this host, and its state
    #[arg(long)]
    pub(crate) all: bool,
    /// Do not ask before removing everything
    #[arg(long, short, requires = "all")]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all that is required is there, 1 something is missing.")]
pub(crate) struct Doctor {
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (1.0..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("it must be a number from 1 to 1000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn apps_are_named_one_way() {
        let Command::Logs(logs) = parse("pileus logs -f examples/a --since 1h30m").unwrap().command else {
            panic!("not logs");
        };
        assert_eq!(logs.app.dir, PathBuf::from("examples/a"));
        assert_eq!(logs.since, Duration::from_secs(5400));
        assert!(parse("pileus logs a --app b").is_err());
        assert!(parse("pileus logs --app b").is_ok());
        assert!(parse("pileus logs --since yesterday").is_err());
    }

    #[test]
    fn images_have_names() {
        let Command::Image(image) = parse("pileus image build shop -t shop:v2 --push").unwrap().command
        else {
            panic!("not image");
        };
        let ImageCommand::Build(build) = image.command else { panic!("not build") };
        assert_eq!((build.dir, build.tag.reference(), build.push), ("shop".into(), "shop:v2".into(), true));
        assert!(parse("pileus image build").is_err());
        assert!(parse("pileus image build -t docker.io/a/b").is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for line in
            ["pileus", "pileus engine --port 70000", "pileus start --time-scale 0", "pileus down --yes"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
        let Command::Start(options) = parse("pileus start --time-scale 30 --port 0").unwrap().command else {
            panic!("not start");
        };
        assert_eq!((options.time_scale, options.port()), (Some(30.0), 0));
        assert_eq!(EngineOptions::default().port(), 4566);
    }
}
