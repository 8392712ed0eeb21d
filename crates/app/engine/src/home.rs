//! Where an engine keeps its things: `$PILEUS_HOME` for what must last, `/run/pileus/<instance>` for what a reboot
//! clears.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::EngineError;

/// The directories of one engine. Two engines with different homes share nothing on the host.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
    instance: String,
}

/// What a running engine writes down so that commands find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFile {
    pub pid: i32,
    /// The port of the AWS API on loopback.
    pub port: u16,
}

impl Home {
    /// `/var/lib/pileus` for root, `~/.local/share/pileus` for others.
    pub fn default_path() -> PathBuf {
        if nix::unistd::geteuid().is_root() {
            return PathBuf::from("/var/lib/pileus");
        }
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        let data = data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")));
        data.unwrap_or_else(|| PathBuf::from(".")).join("pileus")
    }

    /// Opens the home at `root`, creating it and its instance id where they are not there yet.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(root: &Path) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Home { path: root.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let instance = instance_id(&root.join("instance")).map_err(failed)?;
        Ok(Self { root, instance })
    }

    /// The home at `root` if there is one.
    ///
    /// # Errors
    /// It is there but cannot be read.
    pub fn find(root: &Path) -> Result<Option<Self>, EngineError> {
        if root.join("instance").exists() { Self::open(root).map(Some) } else { Ok(None) }
    }

    /// Six hexadecimal digits that name everything of this engine on the host.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("state.redb")
    }

    pub fn bulk(&self) -> PathBuf {
        self.root.join("bulk")
    }

    /// Unpacked image layers and the writable layers of tasks.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// What the image builder keeps between builds.
    pub fn build_cache(&self) -> PathBuf {
        self.root.join("build")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("engine.log")
    }

    /// Sockets, namespaces and the directories of running tasks.
    pub fn run(&self) -> PathBuf {
        Path::new("/run/pileus").join(&self.instance)
    }

    pub fn engine_file(&self) -> PathBuf {
        self.run().join("engine.json")
    }

    /// What the running engine wrote down; `None` where there is none, or it is gone.
    pub fn engine(&self) -> Option<EngineFile> {
        let text = fs::read(self.engine_file()).ok()?;
        let file: EngineFile = serde_json::from_slice(&text).ok()?;
        is_engine(file.pid).then_some(file)
    }

    pub(crate) fn write_engine_file(&self, file: &EngineFile) -> io::Result<()> {
        let temporary = self.run().join("engine.json.new");
        fs::write(&temporary, serde_json::to_vec(file)?)?;
        fs::rename(temporary, self.engine_file())
    }
}

/// Whether `pid` is a living `pileus` process, and not another that got its number.
fn is_engine(pid: i32) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = command.split(|&byte| byte == 0);
    words.next().is_some() && words.any(|word| word == b"engine")
}

fn instance_id(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(id) if id.len() == 6 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => return Ok(id),
        Ok(_) => return Err(io::Error::other(format!("{} is damaged", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0_u8; 3];
    crate::entropy::fill(&mut bytes)?;
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, id.as_bytes())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_its_id() {
        let dir = std::env::temp_dir().join(format!("pileus-home-{}", std::process::id()));
        let first = Home::open(&dir).expect("a new home");
        let second = Home::open(&dir).expect("the same home");
        assert_eq!(first.instance(), second.instance());
        assert_eq!(second.engine(), None);
        fs::write(dir.join("instance"), "..").expect("a file");
        assert!(Home::open(&dir).is_err());
        fs::remove_dir_all(dir).expect("it can be removed");
    }
}
