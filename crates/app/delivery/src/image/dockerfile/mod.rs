//! Images from Dockerfiles of Node.js apps, without Docker.
//!
//! Done here: stages on the images of Node.js (the built-in runtime stands in for them), WORKDIR, COPY, ENV, ARG, LABEL,
//! EXPOSE, USER, CMD, ENTRYPOINT, STOPSIGNAL, and RUN of npm's `ci`, `install`, `prune` and scripts. npm runs on this
//! host, for the image's architecture and C library. Everything else is [`Beyond`]; nothing is left out in silence.

mod copy;
mod parse;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};

pub use parse::Beyond;

use super::config::Run;
use super::context::read_ignore;
use super::foundation::Foundation;
use super::package_json::PackageJson;
use super::{
    BuiltImage, ImageBuilder, ImageError, LayerDescriptor, OnProgress, Progress, Stage as Part, runtime,
};
use parse::{Base, NodeBase, Stage};
use stage::{Site, Work};

/// All that decides an image that a Dockerfile describes.
#[derive(Clone, Debug)]
pub struct DockerfileRequest {
    pub context_dir: PathBuf,
    pub file: PathBuf,
    /// The image's names in the layout: `name:tag`.
    pub references: Vec<String>,
    /// Run the install scripts of dependencies, on this host and as the user who builds.
    pub install_scripts: bool,
    pub refresh: bool,
}

impl ImageBuilder {
    /// Builds what a Dockerfile says.
    ///
    /// # Errors
    /// [`ImageError::Beyond`] for what takes another builder; else what went wrong.
    pub fn build_dockerfile(
        &self,
        request: &DockerfileRequest,
        progress: OnProgress,
    ) -> Result<BuiltImage, ImageError> {
        let text = fs::read_to_string(&request.file).map_err(ImageError::io("read", &request.file))?;
        let beyond = |beyond| ImageError::Beyond { file: request.file.clone(), beyond };
        let stages = parse::parse(&text).map_err(beyond)?;
        let _lock = self.records.lock()?;
        let base = base_of(&stages, stages.len() - 1);
        let range = base.version.as_deref();
        let foundation = runtime::foundation(self, range, request.refresh, progress)?;
        progress(Progress::Warning(format!(
            "the built-in runtime, Node {} on Debian's libraries and without a shell, stands in for {}",
            foundation.node_version.as_deref().unwrap_or("of the host"),
            base.image
        )));
        let temp = self.temp_dir()?;
        let work = run(request, &stages, &foundation, temp.path(), progress)?;
        let (entrypoint, cmd) = command(&work, &foundation).map_err(beyond)?;
        let layers = self.layers(&work, &foundation, progress)?;
        let env = work.env.iter().map(|(name, value)| format!("{name}={value}"));
        let set =
            |variable: &&String| !work.env.iter().any(|(name, _)| variable.starts_with(&format!("{name}=")));
        let run = Run {
            user: if work.user == "0" { "0:0".into() } else { work.user.clone() },
            ports: &work.ports,
            env: foundation.env.iter().filter(set).cloned().chain(env).collect(),
            entrypoint: &entrypoint,
            cmd: &cmd,
            workdir: format!("/{}", work.workdir),
            labels: &work.labels,
            stop_signal: &work.stop_signal,
        };
        self.finish(&foundation, &run, layers, &request.references)
    }

    /// The runtime's layers, then what npm installed, then the app.
    fn layers(
        &self,
        work: &Work,
        foundation: &Foundation,
        progress: OnProgress,
    ) -> Result<Vec<LayerDescriptor>, ImageError> {
        let mut layers = foundation.layers.clone();
        for (part, tree) in [Part::Dependencies, Part::App].into_iter().zip(work.trees()?) {
            if tree.is_empty() {
                progress(Progress::Skipped(part));
                continue;
            }
            progress(Progress::Started(part));
            let layer = tree.store(&self.blobs)?;
            progress(Progress::Finished { stage: part, cached: false, size: layer.size });
            layers.push(layer);
        }
        Ok(layers)
    }
}

/// The image that a stage stands on in the end.
fn base_of(stages: &[Stage], stage: usize) -> &NodeBase {
    match &stages[stage].base {
        Base::Node(base) => base,
        Base::Stage(earlier) => base_of(stages, *earlier),
    }
}

/// Carries out the stages in order; the last is the image.
fn run(
    request: &DockerfileRequest,
    stages: &[Stage],
    foundation: &Foundation,
    temp: &Path,
    progress: OnProgress,
) -> Result<Work, ImageError> {
    let ignore = read_ignore(&request.context_dir)?;
    let mut done: Vec<Work> = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let root = temp.join(format!("stage-{number}"));
        fs::create_dir(&root).map_err(ImageError::io("create", &root))?;
        let mut work = match &stage.base {
            Base::Node(base) => Work::new(root, base.clone()),
            Base::Stage(earlier) => inherit(&done[*earlier], root)?,
        };
        let site = Site {
            context: &request.context_dir,
            ignore: &ignore,
            earlier: &done,
            foundation,
            install_scripts: request.install_scripts,
        };
        for (line, step) in &stage.steps {
            site.step(&mut work, *line, step, progress)?;
        }
        done.push(work);
    }
    Ok(done.pop().expect("a Dockerfile has a stage"))
}

/// A stage that begins as another one has ended.
fn inherit(earlier: &Work, root: PathBuf) -> Result<Work, ImageError> {
    let mut copier = copy::Copier { from: &earlier.root, ignore: None, to: &root, bytes: 0, entries: 0 };
    copier.copy(&["/".to_owned()], "/")?;
    Ok(Work { root, ..earlier.clone() })
}

/// The entry point and the command, with the runtime's node in the place of the image's.
fn command(work: &Work, foundation: &Foundation) -> Result<(Vec<String>, Vec<String>), Beyond> {
    let node = vec![foundation.node_path.clone()];
    let cmd = work.cmd.as_ref().map(|(_, words)| words.clone()).unwrap_or_default();
    if let Some((line, words)) = &work.entrypoint {
        let start = start(work, words).map_err(|reason| beyond(*line, "ENTRYPOINT", reason))?;
        return Ok(([node, start].concat(), cmd));
    }
    if work.base.distroless {
        return Ok((node, cmd));
    }
    let line = work.cmd.as_ref().map_or(1, |(line, _)| *line);
    if cmd.is_empty() {
        return Err(beyond(line, "CMD", "there is none, and the image would start nothing".into()));
    }
    // As the entry point of Node's images does: what is no program is an argument of node.
    let arguments = match cmd[0].as_str() {
        word if word.starts_with('-') || [".js", ".mjs", ".cjs"].iter().any(|end| word.ends_with(end)) => cmd,
        _ => start(work, &cmd).map_err(|reason| beyond(line, "CMD", reason))?,
    };
    Ok((Vec::new(), [node, arguments].concat()))
}

fn beyond(line: usize, instruction: &str, reason: String) -> Beyond {
    Beyond { line, instruction: instruction.to_owned(), reason }
}

/// The arguments of node that a command comes down to.
fn start(work: &Work, words: &[String]) -> Result<Vec<String>, String> {
    let plain: Vec<&str> = words.iter().map(String::as_str).collect();
    match plain.as_slice() {
        ["node" | "/usr/local/bin/node" | "/usr/bin/node" | "/nodejs/bin/node", rest @ ..] => {
            Ok(rest.iter().map(|word| (*word).to_owned()).collect())
        }
        // There is no npm in the runtime, and none is needed to do what it would.
        ["npm", "start"] | ["npm", "run", "start"] => {
            let directory = work.root.join(&work.workdir);
            let package = PackageJson::read(&directory).map_err(|error| error.to_string())?;
            package.start_command(&directory).map_err(|error| error.to_string())
        }
        [program, ..] => Err(format!("it starts {program}, which the built-in runtime has not")),
        [] => Err("it is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::foundation::{Arch, Libc};
    use super::*;

    fn foundation() -> Foundation {
        Foundation {
            arch: Arch::X86_64,
            libc: Libc::Glibc,
            layers: Vec::new(),
            env: Vec::new(),
            node_path: "/bin/node".into(),
            node_version: None,
            user: "1000:1000".into(),
            node: None,
        }
    }

    /// Carries out a Dockerfile on a context of these files.
    fn work(dockerfile: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Work) {
        let dir = tempfile::tempdir().unwrap();
        let (context, temp) = (dir.path().join("context"), dir.path().join("temp"));
        fs::create_dir(&temp).unwrap();
        for (path, text) in files {
            let path = context.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let request = DockerfileRequest {
            file: context.join("Dockerfile"),
            context_dir: context,
            references: Vec::new(),
            install_scripts: false,
            refresh: false,
        };
        let stages = parse::parse(dockerfile).unwrap();
        let work = run(&request, &stages, &foundation(), &temp, &mut |_| {}).unwrap();
        (dir, work)
    }

    #[test]
    fn stages_end_in_an_image() {
        let (_dir, work) = work(
            "FROM node:24 AS build\nWORKDIR /src\nCOPY . .\nFROM build AS more\nENV A=1\n\
             FROM gcr.io/distroless/nodejs24\nWORKDIR /app\nCOPY --from=more --chown=1000 /src/lib ./lib\n\
             COPY package.json .\nEXPOSE 3000\nUSER node\nCMD [\"lib/a.js\"]\n",
            &[("package.json", "{}"), ("lib/a.js", ""), ("test/b.js", "")],
        );
        let [modules, app] = work.trees().unwrap();
        assert!(modules.is_empty());
        assert_eq!(app.paths().collect::<Vec<_>>(), ["app", "app/lib", "app/lib/a.js", "app/package.json"]);
        assert_eq!((work.user.as_str(), work.ports.as_slice()), ("1000", &[3000][..]));
        let (entrypoint, cmd) = command(&work, &foundation()).unwrap();
        assert_eq!((entrypoint, cmd), (vec!["/bin/node".to_owned()], vec!["lib/a.js".to_owned()]));
    }

    #[test]
    fn npm_runs_in_the_working_directory() {
        let script = r#"{"scripts":{"build":"node -e 'fs.writeFileSync(`built`, process.env.A)'"}}"#;
        let (_dir, work) = work(
            "FROM node\nENV A=1\nWORKDIR /app/web\nCOPY package.json .\nRUN npm run build\nCMD a.js\n",
            &[("package.json", script)],
        );
        assert_eq!(fs::read_to_string(work.root.join("app/web/built")).unwrap(), "1");
    }

    #[test]
    fn commands_come_down_to_node() {
        let files = [("package.json", r#"{"scripts":{"start":"node a.js --fast"}}"#)];
        let run = |line: &str| {
            let (_dir, work) = work(&format!("FROM node\nWORKDIR /app\nCOPY . .\n{line}\n"), &files);
            command(&work, &foundation()).map(|(entrypoint, cmd)| [entrypoint, cmd].concat().join(" "))
        };
        for line in [
            "CMD npm start",
            r#"CMD ["npm", "run", "start"]"#,
            "CMD node a.js --fast",
            "CMD [\"a.js\", \"--fast\"]",
            "ENTRYPOINT [\"node\", \"a.js\"]\nCMD [\"--fast\"]",
        ] {
            assert_eq!(run(line).unwrap(), "/bin/node a.js --fast", "{line}");
        }
        for (line, instruction) in [("CMD nginx", "CMD"), ("ENTRYPOINT [\"tini\", \"--\"]", "ENTRYPOINT")] {
            assert_eq!(run(line).unwrap_err().instruction, instruction);
        }
        assert!(run("ENV A=1").is_err(), "nothing to start");
    }
}
