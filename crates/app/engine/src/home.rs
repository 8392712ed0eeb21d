//! Where an engine keeps its things: `$PILEUS_HOME` for what must last, `/run/pileus/<instance>` for what a reboot
//! clears.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pileus_core::Secret;
use serde::{Deserialize, Serialize};

use crate::EngineError;

/// How long an engine that starts or stops may hold the home without being ready.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// The directories of one engine. Two engines with different homes share nothing on the host.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
    instance: String,
}

/// The right to run an engine on a home, or to remove what one has left. It ends with this value, and with its process
/// however that ends.
#[derive(Debug)]
pub struct Claim {
    _lock: fs::File,
}

/// Who has a home.
#[derive(Debug)]
pub enum Occupant {
    Engine(EngineFile),
    /// The home is the caller's now.
    Nobody(Claim),
}

/// What a running engine writes down so that commands find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFile {
    pub pid: i32,
    /// When the process started, in clock ticks since boot: another process that got its number has another time.
    started: u64,
    /// The port of the AWS API on loopback.
    pub port: u16,
    /// Whether only credentials that it has issued count.
    #[serde(default)]
    pub strict: bool,
}

impl EngineFile {
    /// What this process, being an engine, writes down.
    pub(crate) fn own(port: u16, strict: bool) -> io::Result<Self> {
        let pid = std::process::id().cast_signed();
        let started = started(pid).ok_or_else(|| io::Error::other("/proc/self/stat cannot be read"))?;
        Ok(Self { pid, started, port, strict })
    }

    fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

/// When a process that lives has started; `None` where there is none, or but a zombie.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; after it come the state (field 3) and, as field 22, the start.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
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

    /// The certificate of the authority that issues ACM's certificates here: for clients to trust.
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca.pem")
    }

    /// Where a strict engine puts the access key of root, as a credentials file of AWS.
    pub fn root_credentials(&self) -> PathBuf {
        self.root.join("root-credentials")
    }

    /// The access key id and the secret of root: those of a strict engine.
    pub fn root_key(&self) -> Option<(String, Secret)> {
        crate::root::read(&self.root_credentials())
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

    /// Claims the home. `None` where another process has it.
    ///
    /// # Errors
    /// The home cannot be opened.
    pub(crate) fn try_claim(&self) -> io::Result<Option<Claim>> {
        let file = fs::File::open(self.root.join("instance"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Claim { _lock: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Who has the home. An engine that is being started, or has just ended, is awaited.
    ///
    /// # Errors
    /// Something else holds the home.
    pub fn occupant(&self) -> io::Result<Occupant> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(claim) = self.try_claim()? {
                return Ok(Occupant::Nobody(claim));
            }
            if let Some(file) = self.engine() {
                return Ok(Occupant::Engine(file));
            }
            if Instant::now() > end {
                let what =
                    "is held by a process that is not ready after 10 s: an engine that starts or stops";
                return Err(io::Error::other(format!("{} {what}", self.root.display())));
            }
            std::thread::sleep(POLL);
        }
    }

    /// What the running engine wrote down; `None` where there is none, or it is gone.
    pub fn engine(&self) -> Option<EngineFile> {
        let text = fs::read(self.engine_file()).ok()?;
        let file: EngineFile = serde_json::from_slice(&text).ok()?;
        file.is_alive().then_some(file)
    }

    pub(crate) fn write_engine_file(&self, file: &EngineFile) -> io::Result<()> {
        let temporary = self.run().join("engine.json.new");
        fs::write(&temporary, serde_json::to_vec(file)?)?;
        fs::rename(temporary, self.engine_file())
    }
}

fn instance_id(path: &Path) -> io::Result<String> {
    if !path.try_exists()? {
        let mut bytes = [0_u8; 3];
        crate::entropy::fill(&mut bytes)?;
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        create_whole(path, &id)?;
    }
    let id = fs::read_to_string(path)?;
    if id.len() == 6 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(id);
    }
    let what = "is damaged: it must hold the six hexadecimal digits that name this engine on the host";
    Err(io::Error::other(format!("{} {what}", path.display())))
}

/// Creates a file with its content in one step, so that no other process ever sees half of it and no kill leaves half
/// of it. `false` where it is there already.
pub(crate) fn create_whole(path: &Path, content: &str) -> io::Result<bool> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}", nix::unistd::gettid()));
    let partial = PathBuf::from(partial);
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    io::Write::write_all(&mut file, content.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&partial, path);
    fs::remove_file(&partial)?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
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
        let claim = first.try_claim().expect("the home").expect("nobody else has it");
        assert!(second.try_claim().expect("the home").is_none());
        drop(claim);
        assert!(matches!(second.occupant().expect("the home"), Occupant::Nobody(_)));
        assert!(EngineFile::own(1, false).expect("this process").is_alive());
        let (pid, started) = (std::process::id().cast_signed(), 1);
        assert!(
            !EngineFile { pid, started, port: 1, strict: false }.is_alive(),
            "another process had this number"
        );
        fs::write(dir.join("instance"), "..").expect("a file");
        assert!(Home::open(&dir).is_err());
        fs::remove_dir_all(dir).expect("it can be removed");
    }

    #[test]
    fn engines_that_open_a_new_home_at_once_agree_on_its_id() {
        let dir = std::env::temp_dir().join(format!("pileus-homes-{}", std::process::id()));
        let ids: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
            let open = || Home::open(&dir).expect("the home").instance().to_owned();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it opens")).collect()
        });
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert_eq!(fs::read_dir(&dir).expect("the home").count(), 1, "nothing but the id is left");
        fs::remove_dir_all(dir).expect("it can be removed");
    }
}
