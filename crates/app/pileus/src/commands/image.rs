//! `pileus image`: builds the images of Node.js apps, with or without a Dockerfile, and pushes them to the engine's ECR.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pileus_core::Secret;
use pileus_delivery::client::Client;
use pileus_delivery::image::{
    Base, Beyond, BuildRequest, BuiltImage, DockerfileRequest, ExternalRequest, ImageBuilder, ImageError,
    OnProgress, Progress, RegistryAccess, Tool,
};
use pileus_delivery::push::{self, Pushed, Target};
use pileus_engine::Home;
use serde_json::{Value, json};

use super::{block_on, start};
use crate::app::App;
use crate::cli::{Builder, ImageBuild, ImageCommand, ImageList, ImagePush, Output};
use crate::env;
use crate::failure::{Exit, Failure};
use crate::format::{self, Cell, table};
use crate::image_name::ImageName;
use crate::link::Link;
use crate::printer::Printer;
use crate::progress::{Interrupted, News, Watch};

pub(crate) fn run(command: &ImageCommand, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    match command {
        ImageCommand::Build(arguments) => build(arguments, home, printer),
        ImageCommand::Push(arguments) => push_built(arguments, home, printer),
        ImageCommand::List(arguments) => list(arguments, home, printer),
    }
}

/// Where images are kept until they are pushed.
fn builder(home: &Home) -> Result<ImageBuilder, Failure> {
    let cache = std::env::var_os(env::BUILD_CACHE).map_or_else(|| home.build_cache(), PathBuf::from);
    Ok(ImageBuilder::new(cache)?)
}

fn build(arguments: &ImageBuild, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    // What is wrong with the settings is said before anything is started.
    let app = App::in_directory(&arguments.dir)?;
    let file = dockerfile(arguments)?;
    let home = Home::open(home)?;
    let began = Instant::now();
    let link = arguments.push.then(|| start::ensure(&home, &arguments.engine, printer)).transpose()?;
    let link = link.map(|(link, _)| link);
    block_on(async {
        let registry = registry_access(arguments, file.as_deref(), home.root()).await?;
        let job = Job::new(arguments, &app, file, registry);
        let builder = builder(&home)?;
        let mut watch = Watch::new(printer);
        let reporter = watch.reporter();
        let work = tokio::task::spawn_blocking(move || {
            job.run(&builder, &mut |progress| {
                // Nobody listens any more after Ctrl-C.
                let _ = reporter.send(News::Build(progress));
            })
        });
        let (image, by) = match watch.until(work).await {
            Ok(built) => built??,
            Err(Interrupted) => {
                printer.say("Interrupted: no image has been built.");
                return Ok(Exit::Interrupted);
            }
        };
        let pushed = match &link {
            Some(link) => Some(push_image(link, &arguments.tag, &arguments.region, &image, printer).await?),
            None => None,
        };
        let took = format::duration(began.elapsed());
        let done = if pushed.is_some() { "Built and pushed" } else { "Built" };
        report(
            arguments.output,
            &arguments.tag,
            &image,
            by,
            pushed.as_ref(),
            &format!("{done} ({took})"),
            printer,
        )
    })
}

/// The Dockerfile that counts, if there is one.
fn dockerfile(arguments: &ImageBuild) -> Result<Option<PathBuf>, Failure> {
    let usual = arguments.dir.join("Dockerfile");
    match &arguments.file {
        Some(file) if !file.is_file() => Err(Failure::new(format!("there is no file {}", file.display()))),
        Some(file) => Ok(Some(file.clone())),
        None if usual.is_file() => Ok(Some(usual)),
        None if matches!(arguments.builder, Builder::Auto | Builder::Builtin) => Ok(None),
        None => Err(Failure::new(format!("there is no Dockerfile in {}", arguments.dir.display()))
            .hint("give it with --file, or leave --builder out")),
    }
}

/// The way to base images of the engine's own registry, where the Dockerfile names some.
async fn registry_access(
    arguments: &ImageBuild,
    file: Option<&Path>,
    home: &Path,
) -> Result<Option<RegistryAccess>, Failure> {
    let Some(file) = file.filter(|_| arguments.builder != Builder::Builtin) else { return Ok(None) };
    if ExternalRequest::registries(file)?.is_empty() {
        return Ok(None);
    }
    let link = Link::find(home)?;
    let token = push::token(&link.client(&arguments.region)).await?;
    Ok(Some(RegistryAccess { address: format!("127.0.0.1:{}", link.file.port), token: Secret::new(token) }))
}

/// One build: what any of the builders needs.
struct Job {
    plain: BuildRequest,
    dockerfile: Option<DockerfileRequest>,
    builder: Builder,
    registry: Option<RegistryAccess>,
}

impl Job {
    fn new(
        arguments: &ImageBuild,
        app: &App,
        file: Option<PathBuf>,
        registry: Option<RegistryAccess>,
    ) -> Self {
        let settings = &app.manifest.image;
        let install_scripts = arguments.install_scripts || settings.install_scripts;
        let plain = BuildRequest {
            tags: vec![arguments.tag.tag.clone()],
            base: settings.base.clone().map_or(Base::Builtin, Base::Image),
            node: settings.node.clone(),
            port: app.manifest.port,
            install_scripts,
            refresh: arguments.refresh,
            ..BuildRequest::new(&arguments.dir, &arguments.tag.repository)
        };
        let dockerfile = file.map(|file| DockerfileRequest {
            context_dir: arguments.dir.clone(),
            file,
            references: vec![arguments.tag.reference()],
            install_scripts,
            refresh: arguments.refresh,
        });
        Self { plain, dockerfile, builder: arguments.builder, registry }
    }

    /// The image, and what built it.
    fn run(
        self,
        builder: &ImageBuilder,
        progress: OnProgress,
    ) -> Result<(BuiltImage, &'static str), Failure> {
        let tool = match self.builder {
            Builder::Buildah => Some(Tool::Buildah),
            Builder::Podman => Some(Tool::Podman),
            Builder::Docker => Some(Tool::Docker),
            Builder::Auto | Builder::Builtin => None,
        };
        let Some(request) = &self.dockerfile else {
            return Ok((builder.build(&self.plain, progress)?, "built-in"));
        };
        if let Some(tool) = tool {
            return self.hand_over(builder, request, tool, progress);
        }
        match builder.build_dockerfile(request, progress) {
            Err(ImageError::Beyond { beyond, file }) => match Tool::find() {
                Some(tool) if self.builder == Builder::Auto => {
                    progress(Progress::Warning(handed_over(&beyond, tool)));
                    self.hand_over(builder, request, tool, progress)
                }
                _ => Err(Failure::from(ImageError::Beyond { file, beyond })
                    .hint("the built-in builder does not do this; buildah does: `apt-get install buildah`")),
            },
            built => Ok((built?, "built-in")),
        }
    }

    fn hand_over(
        &self,
        builder: &ImageBuilder,
        request: &DockerfileRequest,
        tool: Tool,
        progress: OnProgress,
    ) -> Result<(BuiltImage, &'static str), Failure> {
        let request = ExternalRequest {
            context_dir: request.context_dir.clone(),
            file: request.file.clone(),
            references: request.references.clone(),
            registry: self.registry.clone(),
        };
        Ok((builder.build_external(tool, &request, progress)?, tool.name()))
    }
}

fn handed_over(beyond: &Beyond, tool: Tool) -> String {
    let Beyond { line, instruction, reason } = beyond;
    format!(
        "{} builds this one, as the built-in builder cannot: line {line}: {instruction}: {reason}",
        tool.name()
    )
}

fn client(link: &Link, name: &ImageName, region: &str) -> Client {
    match &name.registry {
        Some((account, region)) => link.client_of(account, region),
        None => link.client(region),
    }
}

async fn push_image(
    link: &Link,
    name: &ImageName,
    region: &str,
    image: &BuiltImage,
    printer: &mut Printer,
) -> Result<(Target, Pushed), Failure> {
    let client = client(link, name, region);
    printer.draw(&format!("  pushing   {}", name.reference()));
    let target = push::repository(&client, &name.repository, Vec::new()).await?;
    let pushed = push::push(&client, &target, image, std::slice::from_ref(&name.tag)).await?;
    printer.clear();
    Ok((target, pushed))
}

fn push_built(arguments: &ImagePush, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    let home = Home::open(home)?;
    let reference = arguments.name.reference();
    let image = builder(&home)?.find(&reference)?.ok_or_else(|| {
        Failure::absent(format!("no image {reference} was built here")).hint(format!(
            "`pileus image build DIR --tag {reference}` builds it, `pileus image list` shows others"
        ))
    })?;
    let began = Instant::now();
    let (link, _) = start::ensure(&home, &arguments.engine, printer)?;
    block_on(async {
        let pushed = push_image(&link, &arguments.name, &arguments.region, &image, printer).await?;
        let done = format!("Pushed ({})", format::duration(began.elapsed()));
        report(arguments.output, &arguments.name, &image, "built-in", Some(&pushed), &done, printer)
    })
}

/// Says what there is now: the image's name for task definitions on standard output.
fn report(
    output: Output,
    name: &ImageName,
    image: &BuiltImage,
    by: &str,
    pushed: Option<&(Target, Pushed)>,
    done: &str,
    printer: &mut Printer,
) -> Result<Exit, Failure> {
    let size: u64 = image.layers.iter().map(|layer| layer.size).sum();
    let uri = pushed.map(|(target, _)| format!("{}:{}", target.uri, name.tag));
    match output {
        Output::Json => printer.json(&json!({
            "name": name.reference(),
            "digest": image.manifest_digest,
            "size": size,
            "builder": by,
            "node": image.node_version,
            "uri": uri,
            "repository_created": pushed.map(|(target, _)| target.created),
            "image_new": pushed.map(|(_, pushed)| pushed.new),
        }))?,
        Output::Text => {
            let short = &image.manifest_digest[..19];
            printer.say(format!("{done}: {}, {}, {short}", name.reference(), format::size(size)));
            printer.data(uri.as_ref().unwrap_or(&image.manifest_digest))?;
        }
    }
    Ok(Exit::Success)
}

fn list(arguments: &ImageList, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    let images = builder(&Home::open(home)?)?.catalog();
    if arguments.output == Output::Json {
        let entries: Vec<Value> = images
            .iter()
            .map(|image| json!({"name": image.reference, "digest": image.digest, "size": image.size}))
            .collect();
        printer.json(&json!(entries))?;
        return Ok(Exit::Success);
    }
    if images.is_empty() {
        printer.say("No image was built here. `pileus image build DIR --tag NAME` builds one.");
    }
    let rows: Vec<[Cell; 3]> = images
        .iter()
        .map(|image| {
            [
                Cell::from(image.reference.clone()),
                Cell::from(image.digest[..19].to_owned()),
                Cell::from(format::size(image.size)),
            ]
        })
        .collect();
    for line in table(&rows) {
        printer.data(&line)?;
    }
    Ok(Exit::Success)
}
