//! The control socket: commands in, reports out. Only the socket's owner can open it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::apply::Applier;
use super::events::Hub;
use crate::wire::{Command, Report, read_frame, write_frame};

/// An engine that takes nothing for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Serves the control socket until a shutdown is asked for.
pub(crate) fn listen(listener: &UnixListener, path: &Path, applier: &Arc<Mutex<Applier>>, hub: &Arc<Hub>) {
    let ended = Arc::new(AtomicBool::new(false));
    for connection in 0.. {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an engine");
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if ended.load(Ordering::Acquire) {
            break;
        }
        let session = Session {
            connection,
            applier: Arc::clone(applier),
            hub: Arc::clone(hub),
            ended: Arc::clone(&ended),
            path: path.to_owned(),
        };
        if let Err(error) = session.start(stream) {
            tracing::warn!(%error, "cannot serve an engine");
        }
    }
}

/// The lock says that no other balancer lives here, so a socket that is there is a dead one's.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// One connection of an engine: a thread that reads and one that writes.
struct Session {
    connection: u64,
    applier: Arc<Mutex<Applier>>,
    hub: Arc<Hub>,
    ended: Arc<AtomicBool>,
    path: std::path::PathBuf,
}

impl Session {
    fn start(self, stream: UnixStream) -> io::Result<()> {
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        let mut writer = stream.try_clone()?;
        let (hub, connection) = (Arc::clone(&self.hub), self.connection);
        let gone = Arc::new(AtomicBool::new(false));
        let reader_gone = Arc::clone(&gone);
        std::thread::Builder::new().name("reports".into()).spawn(move || {
            while !gone.load(Ordering::Acquire) {
                for report in hub.next(connection, Duration::from_millis(500)) {
                    if let Err(error) = write_frame(&mut writer, &report) {
                        tracing::info!(%error, "the engine has gone");
                        // Ends the reader too; it may have ended already.
                        let _ = writer.shutdown(std::net::Shutdown::Both);
                        return;
                    }
                }
            }
        })?;
        std::thread::Builder::new().name("commands".into()).spawn(move || {
            if let Err(error) = self.read(stream) {
                tracing::warn!(%error, "the engine's connection broke");
            }
            reader_gone.store(true, Ordering::Release);
            self.hub.leave(self.connection);
        })?;
        Ok(())
    }

    fn read(&self, mut stream: UnixStream) -> io::Result<()> {
        while let Some(command) = read_frame(&mut stream)? {
            match command {
                Command::Subscribe => self.hub.subscribe(self.connection),
                Command::Apply { generation, spec } => {
                    let failure =
                        self.applier.lock().expect("nobody panics while holding it").apply(spec).err();
                    self.hub.reply(self.connection, Report::Applied { generation, failure });
                }
                Command::Shutdown => {
                    self.ended.store(true, Ordering::Release);
                    // Wakes the listener.
                    UnixStream::connect(&self.path)?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
