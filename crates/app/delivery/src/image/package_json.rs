//! What the builder reads of `package.json`: the version of Node, the dependencies, and how the app
//! starts. <https://docs.npmjs.com/cli/configuring-npm/package-json>

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ImageError;

/// The fields that decide what `npm ci` installs. A change of any other makes no new dependency layer.
const DEPENDENCY_FIELDS: [&str; 9] = [
    "name",
    "version",
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bundleDependencies",
    "overrides",
];

#[derive(Debug)]
pub(super) struct PackageJson {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl PackageJson {
    pub(super) fn read(context: &Path) -> Result<Self, ImageError> {
        let path = context.join("package.json");
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let hint = "the built-in builder makes images of Node.js apps; is this the app's directory?";
                ImageError::input(&path, "there is no such file", hint)
            }
            _ => ImageError::io("read", &path)(error),
        })?;
        let fields = match serde_json::from_str(&text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(ImageError::input(&path, "not an object", "start it with `npm init`")),
            Err(error) => {
                return Err(ImageError::input(&path, error.to_string(), "correct the JSON at that place"));
            }
        };
        let package = Self { path, fields };
        package.refuse_workspaces()?;
        Ok(package)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.text("version")
    }

    /// `engines.node`.
    pub(super) fn node_range(&self) -> Option<&str> {
        self.fields.get("engines")?.get("node")?.as_str().filter(|range| !range.trim().is_empty())
    }

    /// Does the app need anything when it runs?
    pub(super) fn has_dependencies(&self) -> bool {
        ["dependencies", "optionalDependencies"]
            .iter()
            .filter_map(|field| self.fields.get(*field)?.as_object())
            .any(|names| !names.is_empty())
    }

    /// `package.json` with nothing but what `npm ci` needs.
    pub(super) fn dependency_manifest(&self) -> Vec<u8> {
        let kept: Map<String, Value> = DEPENDENCY_FIELDS
            .iter()
            .filter_map(|field| Some(((*field).to_owned(), self.fields.get(*field)?.clone())))
            .collect();
        serde_json::to_vec_pretty(&kept).expect("JSON values serialise")
    }

    /// The arguments of `node` that start the app: of `scripts.start`, else `main`, else
    /// `server.js` or `index.js`.
    pub(super) fn start_command(&self, context: &Path) -> Result<Vec<String>, ImageError> {
        if let Some(start) = self.fields.get("scripts").and_then(|scripts| scripts.get("start")?.as_str()) {
            return parse_start(start).map_err(|problem| {
                let problem = format!("scripts.start is `{start}`: {problem}");
                let hint = "images have no shell and start the app with `node FILE ARGUMENTS`: \
                            write it so, and put variables in [env] of pileus.toml";
                ImageError::input(&self.path, problem, hint)
            });
        }
        let candidates = self.text("main").into_iter().chain(["server.js", "index.js"]);
        for file in
            candidates.flat_map(|file| [file.to_owned(), format!("{file}.js"), format!("{file}/index.js")])
        {
            if context.join(&file).is_file() {
                return Ok(vec![file]);
            }
        }
        let problem = "nothing says how the app starts: there is no scripts.start, no file at `main`, \
                       no server.js and no index.js";
        Err(ImageError::input(&self.path, problem, r#"add "scripts": { "start": "node server.js" }"#))
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    fn refuse_workspaces(&self) -> Result<(), ImageError> {
        if self.fields.contains_key("workspaces") {
            let hint = "build the directory of one app that has its own package-lock.json";
            return Err(ImageError::input(&self.path, "npm workspaces are not supported", hint));
        }
        Ok(())
    }
}

/// The arguments of a plain `node FILE …`; everything that needs a shell is refused.
fn parse_start(start: &str) -> Result<Vec<String>, String> {
    let mut words = split_words(start)?.into_iter();
    match words.next().as_deref() {
        Some("node") => {}
        Some(program) => return Err(format!("it starts `{program}`, not `node`")),
        None => return Err("it is empty".to_owned()),
    }
    let arguments: Vec<String> = words.collect();
    if arguments.is_empty() {
        return Err("it names no file".to_owned());
    }
    Ok(arguments)
}

/// What a shell would act on, between double quotes and outside of quotes.
const SPECIAL_IN_QUOTES: &str = "$`\\";
const SPECIAL: &str = "|&;<>()*?[]{}~#!";

fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some('"') if SPECIAL_IN_QUOTES.contains(c) => return Err(format!("`{c}` needs a shell")),
            None if SPECIAL_IN_QUOTES.contains(c) || SPECIAL.contains(c) => {
                return Err(format!("`{c}` needs a shell"));
            }
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a quote {open} is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(json: &str) -> (tempfile::TempDir, Result<PackageJson, ImageError>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("package.json"), json).unwrap();
        let package = PackageJson::read(dir.path());
        (dir, package)
    }

    #[test]
    fn a_plain_start_script_becomes_arguments() {
        assert_eq!(parse_start("node src/server.js").unwrap(), ["src/server.js"]);
        assert_eq!(
            parse_start(r#"node  --max-old-space-size=400 "my app.js" 'a$b' "" "#).unwrap(),
            ["--max-old-space-size=400", "my app.js", "a$b", ""]
        );
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        for (start, problem) in [
            ("node a.js && node b.js", "`&` needs a shell"),
            ("node a.js > log", "`>` needs a shell"),
            ("node $APP", "`$` needs a shell"),
            (r#"node "$APP""#, "`$` needs a shell"),
            ("NODE_ENV=production node a.js", "it starts `NODE_ENV=production`, not `node`"),
            ("next start", "it starts `next`, not `node`"),
            ("node", "it names no file"),
            ("  ", "it is empty"),
            ("node 'a.js", "a quote ' is not closed"),
        ] {
            assert_eq!(parse_start(start).unwrap_err(), problem, "{start}");
        }
    }

    #[test]
    fn without_a_start_script_main_and_then_usual_names_count() {
        let (dir, read) = package(r#"{"main": "lib"}"#);
        let read = read.unwrap();
        assert!(read.start_command(dir.path()).unwrap_err().to_string().contains("nothing says how"));
        fs::write(dir.path().join("index.js"), "").unwrap();
        assert_eq!(read.start_command(dir.path()).unwrap(), ["index.js"]);
        fs::write(dir.path().join("lib.js"), "").unwrap();
        assert_eq!(read.start_command(dir.path()).unwrap(), ["lib.js"]);
    }

    #[test]
    fn only_what_decides_dependencies_is_in_their_manifest() {
        let (_one, first) =
            package(r#"{"name":"a","scripts":{"start":"node a.js"},"dependencies":{"x":"1"}}"#);
        let (_two, second) = package(r#"{"name":"a","description":"new","dependencies":{"x":"1"}}"#);
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.dependency_manifest(), second.dependency_manifest());
        assert!(first.has_dependencies());
    }

    #[test]
    fn a_broken_file_is_named_with_line_and_column() {
        let (_dir, read) = package("{\n  \"name\": oops\n}");
        let error = read.unwrap_err().to_string();
        assert!(error.contains("package.json: expected value at line 2 column 11"), "{error}");
        let (_dir, read) = package(r#"{"workspaces": ["a"]}"#);
        assert!(read.unwrap_err().to_string().contains("workspaces are not supported"));
        let error = PackageJson::read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("is this the app's directory?"), "{error}");
    }
}
