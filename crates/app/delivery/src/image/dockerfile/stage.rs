//! Carrying out a stage: its files in a directory of this host, npm run there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::super::context::{file_mode, link_target};
use super::super::dockerignore::DockerIgnore;
use super::super::foundation::Foundation;
use super::super::layer::{LayerTree, Source};
use super::super::{ImageError, OnProgress, Progress, npm};
use super::copy::{Copier, below, names, relative};
use super::parse::{Copy, NodeBase, Step};

/// A stage as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// Its files, without those of the runtime.
    pub(super) root: PathBuf,
    pub(super) base: NodeBase,
    /// Relative to the root.
    pub(super) workdir: String,
    pub(super) env: Vec<(String, String)>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ports: Vec<u16>,
    pub(super) user: String,
    pub(super) entrypoint: Option<(usize, Vec<String>)>,
    pub(super) cmd: Option<(usize, Vec<String>)>,
    pub(super) stop_signal: String,
    /// Numeric owners of what was copied; the last that is above a path counts.
    pub(super) owners: Vec<(String, u64)>,
}

impl Work {
    /// The working directory on this host. None of its parts is a symbolic link.
    fn directory(&self) -> Result<PathBuf, ImageError> {
        // Looked at as a place for something else, so that its last part may be no link either.
        below(&self.root, &format!("{}/_", self.workdir))?;
        below(&self.root, &self.workdir)
    }

    pub(super) fn new(root: PathBuf, base: NodeBase) -> Self {
        Self {
            root,
            user: base.user.to_owned(),
            base,
            workdir: String::new(),
            env: Vec::new(),
            labels: BTreeMap::new(),
            ports: Vec::new(),
            entrypoint: None,
            cmd: None,
            stop_signal: "SIGTERM".to_owned(),
            owners: Vec::new(),
        }
    }

    /// A path of the image, relative to the root.
    fn path(&self, path: &str) -> String {
        if path.starts_with('/') { relative(path) } else { relative(&format!("{}/{path}", self.workdir)) }
    }

    /// The files as two trees: what npm installed, which changes seldom, and the rest.
    pub(super) fn trees(&self) -> Result<[LayerTree; 2], ImageError> {
        let mut trees = [LayerTree::default(), LayerTree::default()];
        self.read("", &mut trees)?;
        if !self.workdir.is_empty() {
            trees[1].owned_dir(&self.workdir, 0o755, self.owner(&self.workdir));
        }
        Ok(trees)
    }

    fn owner(&self, path: &str) -> u64 {
        let above = |prefix: &String| {
            prefix.is_empty()
                || path
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.owners.iter().rev().find(|(prefix, _)| above(prefix)).map_or(0, |(_, owner)| *owner)
    }

    fn read(&self, directory: &str, trees: &mut [LayerTree; 2]) -> Result<(), ImageError> {
        for name in names(&self.root.join(directory))? {
            let path = relative(&format!("{directory}/{name}"));
            let file = self.root.join(&path);
            let meta = fs::symlink_metadata(&file).map_err(ImageError::io("read", &file))?;
            let installed = path.split('/').any(|part| part == "node_modules");
            let (tree, owner) = (&mut trees[usize::from(!installed)], self.owner(&path));
            if meta.is_dir() {
                tree.owned_dir(&path, 0o755, owner);
                self.read(&path, trees)?;
            } else if meta.is_symlink() {
                tree.symlink(&path, &link_target(&file)?);
            } else if name != ".package-lock.json" {
                let mode = file_mode(meta.permissions().mode());
                tree.owned_file(&path, mode, owner, Source::File(file, meta.len()));
            }
        }
        Ok(())
    }
}

/// What the steps of a stage need.
pub(super) struct Site<'a> {
    pub(super) context: &'a Path,
    pub(super) ignore: &'a DockerIgnore,
    pub(super) earlier: &'a [Work],
    pub(super) foundation: &'a Foundation,
    pub(super) install_scripts: bool,
}

impl Site<'_> {
    /// Carries out one step.
    pub(super) fn step(
        &self,
        work: &mut Work,
        line: usize,
        step: &Step,
        progress: OnProgress,
    ) -> Result<(), ImageError> {
        match step {
            Step::Workdir(path) => {
                work.workdir = work.path(path);
                let directory = work.directory()?;
                fs::create_dir_all(&directory).map_err(ImageError::io("create", &directory))?;
            }
            Step::Copy(copy) => self.copy(work, copy)?,
            Step::Npm(commands) => {
                for words in commands {
                    self.npm(work, words, progress)?;
                }
            }
            Step::Env(pairs) => {
                for (name, value) in pairs {
                    work.env.retain(|(known, _)| known != name);
                    work.env.push((name.clone(), value.clone()));
                }
            }
            Step::Label(pairs) => work.labels.extend(pairs.iter().cloned()),
            Step::Expose(ports) => work.ports.extend(ports),
            Step::User(user) => work.user.clone_from(user),
            Step::Entrypoint(words) => work.entrypoint = Some((line, words.clone())),
            Step::Cmd(words) => work.cmd = Some((line, words.clone())),
            Step::StopSignal(signal) => work.stop_signal.clone_from(signal),
            Step::Healthcheck => progress(Progress::Warning(format!(
                "line {line}: HEALTHCHECK is left out: ECS looks at the task definition's health check only"
            ))),
        }
        Ok(())
    }

    fn copy(&self, work: &mut Work, copy: &Copy) -> Result<(), ImageError> {
        let (from, ignore) = match copy.from {
            Some(stage) => (self.earlier[stage].root.as_path(), None),
            None => (self.context, Some(self.ignore)),
        };
        let mut target = work.path(&copy.target);
        if copy.target.ends_with('/') || copy.target.ends_with("/.") || copy.target == "." {
            target.push('/');
        }
        let mut copier = Copier { from, ignore, to: &work.root, bytes: 0, entries: 0 };
        let made = copier.copy(&copy.sources, &target)?;
        work.owners.extend(made.into_iter().map(|path| (path, copy.owner)));
        Ok(())
    }

    fn npm(&self, work: &mut Work, words: &[String], progress: OnProgress) -> Result<(), ImageError> {
        let arguments = &words[1..];
        if arguments.first().is_some_and(|word| word == "cache") {
            // The cache is this host's, and nothing of it is in the image.
            return Ok(());
        }
        progress(Progress::Doing(super::super::Stage::Dependencies, words.join(" ")));
        let directory = work.directory()?;
        let foundation = self.foundation;
        npm::run_as_told(
            &directory,
            arguments,
            &work.env,
            (foundation.arch, foundation.libc),
            self.install_scripts,
        )?;
        let owner = work.user.parse().unwrap_or(0);
        work.owners.push((relative(&format!("{}/node_modules", work.workdir)), owner));
        Ok(())
    }
}
