//! `pileus down`: removes an app and its architecture by AWS calls. With `--all` everything goes: all apps, the engine,
//! what it made on the host, and its state.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use pileus_delivery::deploy::remove;
use pileus_engine::Home;

use super::{block_on, start, stop};
use crate::app::App;
use crate::cli::{Down, EngineOptions};
use crate::failure::{Exit, Failure, OrHint as _};
use crate::format;
use crate::link::Link;
use crate::printer::Printer;
use crate::progress::{Interrupted, News, Watch};

pub(crate) fn run(arguments: &Down, home: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    if arguments.all {
        return remove_all(arguments, home, printer);
    }
    let app = App::of(&arguments.app)?;
    let home = Home::find(home)?.filter(|home| home.state().exists());
    let Some(home) = home else {
        printer.say("Nothing to remove: no engine has run here.");
        return Ok(Exit::Success);
    };
    // What there is to remove is in the engine's state, and only the engine can remove it.
    let (link, started) = start::ensure(&home, &EngineOptions::default(), printer)?;
    if started {
        printer.say(format!("Started the engine at {}.", link.endpoint()));
    }
    block_on(remove_app(&app, &link, printer))
}

async fn remove_app(app: &App, link: &Link, printer: &mut Printer) -> Result<Exit, Failure> {
    let (began, client) = (Instant::now(), link.client(&app.manifest.region));
    let mut watch = Watch::new(printer);
    let reporter = watch.reporter();
    let mut report = |event| {
        // The receiver is the watch, which lives as long.
        let _ = reporter.send(News::Deploy(event));
    };
    let found = match watch.until(remove(&client, &app.manifest, &mut report)).await {
        Ok(found) => found?,
        Err(Interrupted) => {
            let again = format!("Interrupted: `pileus down{}` removes the rest.", app.argument);
            printer.say(again);
            return Ok(Exit::Interrupted);
        }
    };
    let (name, took) = (app.name(), format::duration(began.elapsed()));
    printer.say(if found {
        format!("\n{name} and its architecture are removed ({took}). `pileus stop` ends the engine.")
    } else {
        format!("Nothing to remove: {name} is not deployed.")
    });
    Ok(Exit::Success)
}

fn remove_all(arguments: &Down, root: &Path, printer: &mut Printer) -> Result<Exit, Failure> {
    let Some(home) = Home::find(root)? else {
        printer.say(format!("Nothing to remove: no engine has run for {}.", root.display()));
        return Ok(Exit::Success);
    };
    if !arguments.yes && io::stdin().is_terminal() {
        let question =
            format!("Remove every app, the engine and all its state in {}?", home.root().display());
        if !printer.confirm(&question) {
            printer.say("Nothing has been removed.");
            return Ok(Exit::Failure);
        }
    }
    let began = Instant::now();
    stop::end(&home, printer)?;
    printer.draw("deleting the state");
    delete_state(&home).or_hint("`pileus down --all` can be done again")?;
    let took = format::duration(began.elapsed());
    printer.say(format!("Everything is removed, {} too ({took}).", home.root().display()));
    Ok(Exit::Success)
}

/// Deletes what is the engine's, and then the directory if nothing else is in it. The instance's id goes last: until
/// then what is left can be found and removed again.
fn delete_state(home: &Home) -> io::Result<()> {
    let previous_log = home.log().with_extension("log.1");
    let ours = [home.bulk(), home.containers(), home.build_cache(), home.ca(), home.log(), previous_log];
    // The state and its key, and files that were being made when an engine was killed.
    let dotted = fs::read_dir(home.root())?.flatten().map(|entry| entry.path()).filter(|path| {
        let prefix = path.file_name().and_then(OsStr::to_str).and_then(|name| name.split_once('.'));
        prefix.is_some_and(|(prefix, _)| prefix == "state" || prefix == "instance")
    });
    let instance = home.root().join("instance");
    for path in ours.into_iter().chain(dotted.collect::<Vec<_>>()).chain([instance]) {
        delete(path)?;
    }
    match fs::remove_dir(home.root()) {
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy) => {
            Ok(())
        }
        other => other,
    }
}

fn delete(path: PathBuf) -> io::Result<()> {
    let deleted = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
        Ok(_) => fs::remove_file(&path),
        Err(error) => Err(error),
    };
    match deleted {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot delete {}: {error}", path.display()))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("home");
        let home = Home::open(&root).unwrap();
        fs::create_dir_all(home.bulk().join("blobs")).unwrap();
        fs::write(home.state(), "x").unwrap();
        fs::write(root.join("state.new"), "").unwrap();
        fs::write(root.join("state.key"), "").unwrap();
        fs::write(home.ca(), "").unwrap();
        fs::write(root.join("instance.4711"), "").unwrap();
        fs::write(root.join("notes.txt"), "mine").unwrap();
        delete_state(&home).unwrap();
        let left: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
        fs::remove_file(root.join("notes.txt")).unwrap();
        delete_state(&Home::open(&root).unwrap()).unwrap();
        assert!(!root.exists());
    }
}
