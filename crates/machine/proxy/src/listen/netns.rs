//! Network namespaces: a socket belongs for ever to the namespace it was created in, so only `socket()` itself must
//! run inside a node's namespace. The thread steps in, makes the socket, and steps back.
//!
//! That costs two `setns` calls, some 3 µs together where this was measured (6.5 µs for them and the socket, 3.5 µs
//! for a socket alone), and only for new connections. A factory thread for each namespace took 10 to 20 µs.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use nix::sched::{CloneFlags, setns};

/// Device and inode: the identity of a namespace.
pub(crate) type NamespaceId = (u64, u64);

/// The namespace that the process started in.
#[derive(Debug)]
pub(crate) struct Home {
    file: File,
    id: NamespaceId,
}

impl Home {
    pub(crate) fn open() -> io::Result<Self> {
        let (file, id) = open(Path::new("/proc/thread-self/ns/net"))?;
        Ok(Self { file, id })
    }
}

#[derive(Debug)]
pub(crate) struct Namespace {
    file: File,
    pub(crate) id: NamespaceId,
    home: Arc<Home>,
}

impl Namespace {
    pub(crate) fn open(path: &Path, home: &Arc<Home>) -> io::Result<Self> {
        let (file, id) = open(path)?;
        Ok(Self { file, id, home: Arc::clone(home) })
    }

    /// Runs `make` on this thread inside the namespace. It must not wait and not spawn.
    pub(crate) fn enter<T>(&self, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.id == self.home.id {
            return make();
        }
        setns(&self.file, CloneFlags::CLONE_NEWNET)?;
        let made = make();
        if let Err(error) = setns(&self.home.file, CloneFlags::CLONE_NEWNET) {
            // Every later socket of this thread would be made in the wrong network. A restart is safe.
            tracing::error!(%error, "cannot return to the balancer's own network namespace");
            std::process::abort();
        }
        made
    }
}

fn open(path: &Path) -> io::Result<(File, NamespaceId)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    Ok((file, (metadata.dev(), metadata.ino())))
}
