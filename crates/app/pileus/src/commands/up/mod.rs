//! `pileus up`: from a directory to a running app. Starts the engine if need be, builds the image, deploys it by AWS
//! calls and waits until it is healthy. Done again, it does what is left to do, which may be nothing.

mod revision;
mod summary;

use std::path::{Path, PathBuf};
use std::time::Instant;

use pileus_delivery::deploy::{DeployError, Deployment};
use pileus_delivery::image::{Base, BuildRequest, BuiltImage, ImageBuilder, ImageError};
use pileus_delivery::manifest::Manifest;
use pileus_engine::Home;

use super::{block_on, start};
use crate::app::App;
use crate::cli::{Output, Up};
use crate::env;
use crate::failure::{Exit, Failure};
use crate::format;
use crate::link::{self, Link};
use crate::printer::Printer;
use crate::progress::{Interrupted, News, Watch};
use revision::Revision;
use summary::{Stages, Summary};

pub(crate) fn run(arguments: &Up, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    // What is wrong with the settings is said before anything is started.
    let app = App::in_directory(&arguments.dir)?;
    let home = Home::open(home)?;
    let began = Instant::now();
    let (link, started) = start::ensure(&home, &arguments.engine, printer)?;
    if started {
        let took = format::duration(began.elapsed());
        printer.say(format!("Started the engine at {} ({took}).", link.endpoint()));
    }
    let revision = revision::of(&arguments.dir);
    if let Some(problem) = &revision.problem {
        printer.warn(&format!("the image gets no tag of a git revision: {problem}"));
    }
    block_on(up(arguments, &app, &home, &link, &revision, printer))
}

async fn up(
    arguments: &Up,
    app: &App,
    home: &Home,
    link: &Link,
    revision: &Revision,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let client = link.client(&app.manifest.region);
    let began = Instant::now();
    let mut watch = Watch::new(printer);
    let request = build_request(arguments, &app.manifest, revision);
    let image = match watch.until(build(home, request, &watch)).await {
        Ok(image) => image?,
        Err(Interrupted) => return Ok(interrupted(printer, "Interrupted: nothing has been deployed.")),
    };
    let built = Instant::now();
    let reporter = watch.reporter();
    let mut report = |event| {
        // The receiver is the watch, which lives as long.
        let _ = reporter.send(News::Deploy(event));
    };
    let mut deployment = Deployment { client: &client, manifest: &app.manifest, report: &mut report };
    let deployed = match watch.until(deployment.deploy(&image, &revision.tags)).await {
        Ok(deployed) => deployed,
        Err(Interrupted) => {
            let argument = &app.argument;
            let text = format!(
                "Interrupted: what has begun goes on in the engine. `pileus status{argument}` shows it, \
                 `pileus up{argument}` takes it up again."
            );
            return Ok(interrupted(printer, &text));
        }
    };
    let done = std::mem::take(&mut watch.done);
    let deployed = deployed.map_err(|error| explain(error, app))?;
    let edge_port = link::edge_port(&client).await?;
    let summary = Summary {
        app,
        link,
        deployed: &deployed,
        image: &image,
        tags: &revision.tags,
        edge_port,
        stages: Stages::new(began, built, &done),
        done: &done,
    };
    match arguments.output {
        Output::Text => summary.say(printer)?,
        Output::Json => printer.json(&summary.document())?,
    }
    Ok(Exit::Success)
}

fn build_request(arguments: &Up, manifest: &Manifest, revision: &Revision) -> BuildRequest {
    BuildRequest {
        tags: revision.tags.clone(),
        base: manifest.image.base.clone().map_or(Base::Builtin, Base::Image),
        node: manifest.image.node.clone(),
        port: manifest.port,
        install_scripts: manifest.image.install_scripts,
        refresh: arguments.refresh,
        ..BuildRequest::new(&arguments.dir, &manifest.name)
    }
}

/// Builds on a thread of its own, so that Ctrl-C is heard meanwhile.
fn build(
    home: &Home,
    request: BuildRequest,
    watch: &Watch<'_>,
) -> impl Future<Output = Result<BuiltImage, Failure>> + use<> {
    let cache = std::env::var_os(env::BUILD_CACHE).map_or_else(|| home.build_cache(), PathBuf::from);
    let reporter = watch.reporter();
    let work = tokio::task::spawn_blocking(move || -> Result<BuiltImage, ImageError> {
        ImageBuilder::new(cache)?.build(&request, &mut |progress| {
            // Nobody listens any more after Ctrl-C.
            let _ = reporter.send(News::Build(progress));
        })
    });
    async move { Ok(work.await??) }
}

fn interrupted(printer: &mut Printer, text: &str) -> Exit {
    printer.say(text);
    Exit::Interrupted
}

/// A failed deployment with where to look.
fn explain(error: DeployError, app: &App) -> Failure {
    let argument = &app.argument;
    match error {
        DeployError::Failed { reason, tasks } => {
            let mut failure = Failure::new(format!("the deployment failed: {reason}"));
            failure.causes.extend(tasks.iter().map(|task| format::brief(task)));
            failure
                .hint(format!("what the tasks wrote: `pileus logs{argument}`"))
                .hint(format!("what runs now: `pileus status{argument}`"))
        }
        DeployError::Slow { .. } => Failure::from(error)
            .hint(format!("what it waits for: `pileus status{argument}` and `pileus logs{argument}`")),
        error => error.into(),
    }
}
