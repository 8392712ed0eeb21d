//! Which revision of the source an image is made of, as git tells.

use std::path::Path;
use std::process::{Command, Output};

/// The tags of an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Revision {
    /// The short SHA, marked where files differ from it, and `latest`; without git only `latest`.
    pub(super) tags: Vec<String>,
    /// Why git could not tell, where there is a repository.
    pub(super) problem: Option<String>,
}

/// The revision of the directory. Only changes inside it make it dirty: nothing else is part of the image.
pub(super) fn of(dir: &Path) -> Revision {
    let latest = || vec!["latest".to_owned()];
    match ask(dir) {
        Ok(Some(tag)) => Revision { tags: [vec![tag], latest()].concat(), problem: None },
        Ok(None) => Revision { tags: latest(), problem: None },
        Err(problem) => Revision { tags: latest(), problem: Some(problem) },
    }
}

fn ask(dir: &Path) -> Result<Option<String>, String> {
    // A host without git is as good as a directory outside any repository.
    let Ok(sha) = git(dir, &["rev-parse", "--short=12", "--verify", "HEAD"]) else { return Ok(None) };
    if !sha.status.success() {
        let message = String::from_utf8_lossy(&sha.stderr);
        let absent = ["not a git repository", "Needed a single revision"];
        if absent.iter().any(|absent| message.contains(absent)) {
            return Ok(None);
        }
        return Err(message.lines().next().unwrap_or("git gives no reason").to_owned());
    }
    let status = git(dir, &["status", "--porcelain", "--", "."]).map_err(|error| error.to_string())?;
    let sha = String::from_utf8_lossy(&sha.stdout).trim().to_owned();
    Ok(Some(if status.stdout.is_empty() { sha } else { format!("{sha}-dirty") }))
}

fn git(dir: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    // Its messages are looked at; and it is only asked, so it shall not write to the repository.
    Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .output()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(dir: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"];
        let output = git(dir, &[&identity, arguments].concat()).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn tags_follow_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        std::fs::create_dir(&app).unwrap();
        assert_eq!(of(&app).tags, ["latest"], "outside any repository");
        run(dir.path(), &["init", "-q"]);
        assert_eq!(of(&app), Revision { tags: vec!["latest".into()], problem: None }, "no commit yet");
        std::fs::write(app.join("a"), "1").unwrap();
        run(dir.path(), &["add", "."]);
        run(dir.path(), &["commit", "-qm", "one"]);
        let clean = of(&app).tags;
        assert_eq!((clean.len(), clean[0].len(), clean[1].as_str()), (2, 12, "latest"));
        std::fs::write(dir.path().join("outside"), "1").unwrap();
        assert_eq!(of(&app).tags, clean, "what is outside is not in the image");
        std::fs::write(app.join("a"), "2").unwrap();
        assert_eq!(of(&app).tags[0], format!("{}-dirty", clean[0]));
    }
}
