//! Network namespaces that live as bind mounts, so that they outlast every process that uses them.
//!
//! A namespace is entered only by a thread of its own, which ends afterwards: no thread of the engine ever stands
//! in a foreign network. Sockets opened there stay in it wherever they are used later.

use std::fs::{File, Metadata};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, statfs};

use crate::error::{FabricError, Result};

/// The magic number of nsfs, `NSFS_MAGIC` in linux/magic.h.
const NSFS: FsType = FsType(0x6e73_6673);
/// The calling thread's network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    file: File,
    /// For messages.
    pub name: String,
}

impl Namespace {
    /// The namespace of the calling thread.
    pub(crate) fn current() -> Result<Self> {
        let file = File::open(OWN).map_err(|e| FabricError::file("open", OWN, e))?;
        Ok(Self { file, name: "host".to_owned() })
    }

    /// Opens the namespace at `path`, or makes a new one there.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self> {
        if !exists(path) {
            create(path)?;
        }
        Self::open(path)
    }

    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| FabricError::file("open the namespace", path, e))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { file, name })
    }

    /// Runs `work` on a thread inside the namespace. Children that it spawns run inside too.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)
                .map_err(|e| FabricError::kernel("enter a network namespace (root is needed)", e))?;
            work()
        })
    }

    /// What tells it from any other namespace that lives at the same time.
    pub(crate) fn identity(&self) -> Result<Identity> {
        self.file.metadata().map(Identity::of).map_err(|e| FabricError::file("look at", &self.name, e))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// The device and the inode of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    fn of(metadata: Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }

    /// Of what is mounted at `path`, if anything is there.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).map(Self::of).ok()
    }
}

/// Whether a namespace is mounted at `path`. A plain file is what a crash between two steps leaves.
pub(crate) fn exists(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == NSFS)
}

/// Takes the name of a namespace away. The namespace itself ends with its last process and socket.
pub(crate) fn remove(path: &Path) -> Result<()> {
    while exists(path) {
        match umount2(path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(e) => return Err(FabricError::file("unmount the namespace", path, e)),
        }
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FabricError::file("remove", path, e)),
        _ => Ok(()),
    }
}

/// The names in a directory of namespaces, whole or half-made.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| FabricError::file("list", directory, e))?,
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(|e| FabricError::file("list", directory, e)))
        .collect()
}

/// A socket that takes TCP connections to any address of the namespace at `path`, ready for an event loop.
pub(crate) fn listen(path: &Path, port: u16) -> Result<TcpListener> {
    let open = || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    Namespace::open(path)?
        .run(|| open().map_err(|e: io::Error| FabricError::kernel("listen at an interface", e)))
}

fn create(path: &Path) -> Result<()> {
    File::create(path).map_err(|e| FabricError::file("create", path, e))?;
    on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|e| FabricError::kernel("make a network namespace (root is needed)", e))?;
        mount(Some(OWN), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|e| FabricError::file("mount the namespace", path, e))
    })
}

fn on_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|e| FabricError::kernel("start a thread", e))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Writes a setting under `/proc/sys/net` of the calling thread's namespace. One that this kernel lacks, such as
/// those of a disabled IPv6, needs no setting.
pub(crate) fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys/net").join(name);
    match std::fs::write(&path, value) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FabricError::file("set", path, e)),
        _ => Ok(()),
    }
}
