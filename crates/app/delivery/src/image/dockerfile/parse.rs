//! The text of a Dockerfile, as far as the built-in builder can do what it says.
//! <https://docs.docker.com/reference/dockerfile/>
//!
//! What is beyond that is no error here but an [`Beyond`]: another builder may do it.

use std::collections::BTreeMap;

/// An instruction that the built-in builder does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// From 1.
    pub line: usize,
    /// `RUN`, `ADD` …, or as it is written where it is none.
    pub instruction: String,
    pub reason: String,
}

/// From one FROM to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) line: usize,
    pub(super) base: Base,
    pub(super) name: Option<String>,
    pub(super) steps: Vec<(usize, Step)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The number of an earlier stage.
    Stage(usize),
    /// An image with Node, for which the built-in runtime stands in.
    Node(NodeBase),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeBase {
    /// As it is named.
    pub(super) image: String,
    /// The version that its tag asks for.
    pub(super) version: Option<String>,
    /// Its entry point is node itself.
    pub(super) distroless: bool,
    pub(super) user: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Workdir(String),
    Copy(Copy),
    /// What npm is to do, one command after the other.
    Npm(Vec<Vec<String>>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Expose(Vec<u16>),
    User(String),
    Entrypoint(Vec<String>),
    Cmd(Vec<String>),
    StopSignal(String),
    /// ECS has health checks of its own and looks at no image's.
    Healthcheck,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// The number of the stage to take from; the context otherwise.
    pub(super) from: Option<usize>,
    pub(super) sources: Vec<String>,
    pub(super) target: String,
    /// The numeric owner.
    pub(super) owner: u64,
}

/// One logical line: its number, the instruction in capitals, and the rest.
struct Line<'a> {
    number: usize,
    instruction: String,
    rest: &'a str,
}

/// Takes a Dockerfile apart.
///
/// # Errors
/// The first instruction that is beyond the built-in builder.
pub(super) fn parse(text: &str) -> Result<Vec<Stage>, Beyond> {
    let lines = join_lines(text);
    let (mut stages, mut variables): (Vec<Stage>, _) = (Vec::new(), BTreeMap::new());
    let mut global = BTreeMap::new();
    for (number, line) in &lines {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let line = Line { number: *number, instruction: word.to_ascii_uppercase(), rest: rest.trim() };
        match line.instruction.as_str() {
            "FROM" => {
                let stage = from(&line, &stages, &global)?;
                variables = match stage.base {
                    Base::Stage(earlier) => environment(&stages[earlier]),
                    Base::Node(_) => BTreeMap::new(),
                };
                stages.push(stage);
            }
            "ARG" => {
                let (name, value) = line.rest.split_once('=').unwrap_or((line.rest, ""));
                let value = line.substitute(unquote(value), &variables)?;
                // One that is declared again in a stage has the value that it has before the first.
                let value = global.get(name).filter(|_| value.is_empty()).cloned().unwrap_or(value);
                if stages.is_empty() { &mut global } else { &mut variables }.insert(name.to_owned(), value);
            }
            "MAINTAINER" => {}
            _ => {
                let earlier: Vec<Option<String>> = stages.iter().map(|stage| stage.name.clone()).collect();
                let stage =
                    stages.last_mut().ok_or_else(|| line.beyond("it stands before the first FROM"))?;
                let step = line.step(&earlier, &variables)?;
                if let Step::Env(pairs) = &step {
                    variables.extend(pairs.iter().cloned());
                }
                stage.steps.push((line.number, step));
            }
        }
    }
    if stages.is_empty() {
        let (line, instruction) = (1, "FROM".to_owned());
        return Err(Beyond { line, instruction, reason: "there is none".into() });
    }
    Ok(stages)
}

/// Lines that end with a backslash go on; comments and empty lines are left out, also in between.
fn join_lines(text: &str) -> Vec<(usize, String)> {
    let (mut lines, mut open): (Vec<(usize, String)>, bool) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (part, goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match lines.last_mut().filter(|_| open) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(part.trim());
            }
            None => lines.push((index + 1, part.trim().to_owned())),
        }
        open = goes_on;
    }
    lines
}

/// The variables that a stage leaves to one that is built on it.
fn environment(stage: &Stage) -> BTreeMap<String, String> {
    let pairs = stage
        .steps
        .iter()
        .filter_map(|(_, step)| if let Step::Env(pairs) = step { Some(pairs) } else { None });
    pairs.flatten().cloned().collect()
}

fn from(line: &Line, stages: &[Stage], variables: &BTreeMap<String, String>) -> Result<Stage, Beyond> {
    let rest = line.substitute(line.rest, variables)?;
    let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.starts_with("--platform=")).collect();
    let (image, name) = match words.as_slice() {
        [image] => (*image, None),
        [image, word, name] if word.eq_ignore_ascii_case("as") => {
            (*image, Some((*name).to_ascii_lowercase()))
        }
        _ => return Err(line.beyond("it is not FROM IMAGE [AS NAME]")),
    };
    let earlier = |stage: &Stage| stage.name.as_deref() == Some(image.to_ascii_lowercase().as_str());
    let base = match stages.iter().position(earlier) {
        Some(stage) => Base::Stage(stage),
        None => Base::Node(node_base(image).ok_or_else(|| {
            line.beyond(format!("{image} is no Node.js image that the built-in runtime can stand in for"))
        })?),
    };
    Ok(Stage { line: line.number, base, name, steps: Vec::new() })
}

/// The official images of Node.js, and Google's without a shell.
fn node_base(image: &str) -> Option<NodeBase> {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let (path, tag) = name.split_once(':').unwrap_or((name, "latest"));
    if let Some(rest) = path.strip_prefix("gcr.io/distroless/nodejs") {
        let version = rest.split('-').next().filter(|version| !version.is_empty())?;
        let user = if tag.contains("nonroot") { "65532" } else { "0" };
        return Some(NodeBase {
            image: image.to_owned(),
            version: Some(version.to_owned()),
            distroless: true,
            user,
        });
    }
    let known = [
        "node",
        "library/node",
        "docker.io/node",
        "docker.io/library/node",
        "public.ecr.aws/docker/library/node",
    ];
    if !known.contains(&path) {
        return None;
    }
    let first = tag.split('-').next().unwrap_or_default();
    let is_version = !first.is_empty() && first.split('.').all(|part| part.parse::<u32>().is_ok());
    let version = is_version.then(|| first.to_owned());
    Some(NodeBase { image: image.to_owned(), version, distroless: false, user: "0" })
}

impl Line<'_> {
    fn beyond(&self, reason: impl Into<String>) -> Beyond {
        Beyond { line: self.number, instruction: self.instruction.clone(), reason: reason.into() }
    }

    fn step(&self, earlier: &[Option<String>], variables: &BTreeMap<String, String>) -> Result<Step, Beyond> {
        Ok(match self.instruction.as_str() {
            "WORKDIR" => Step::Workdir(self.substitute(unquote(self.rest), variables)?),
            "COPY" => Step::Copy(self.copy(earlier, variables)?),
            "RUN" => Step::Npm(self.run()?),
            "ENV" => Step::Env(self.pairs(variables)?),
            "LABEL" => Step::Label(self.pairs(variables)?),
            "EXPOSE" => {
                let rest = self.substitute(self.rest, variables)?;
                let port = |word: &str| {
                    let number = word.strip_suffix("/tcp").unwrap_or(word);
                    number.parse().map_err(|_| self.beyond(format!("{word} is no TCP port")))
                };
                Step::Expose(rest.split_whitespace().map(port).collect::<Result<_, _>>()?)
            }
            "USER" => Step::User(self.user(&self.substitute(self.rest, variables)?)?.to_string()),
            "ENTRYPOINT" => Step::Entrypoint(self.command()?),
            "CMD" => Step::Cmd(self.command()?),
            "STOPSIGNAL" => Step::StopSignal(self.rest.to_owned()),
            "HEALTHCHECK" => Step::Healthcheck,
            _ => return Err(self.beyond("the built-in builder does not do it")),
        })
    }

    /// Puts values in place of `$NAME` and `${NAME}`; names that nobody has set are empty.
    fn substitute(&self, text: &str, variables: &BTreeMap<String, String>) -> Result<String, Beyond> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let name_end = |text: &str| {
                text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
            };
            let (name, next) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or_else(|| self.beyond("a ${ is not closed"))?,
                None => after.split_at(name_end(after)),
            };
            if name.is_empty() || name_end(name) < name.len() {
                return Err(self.beyond(format!("the built-in builder does not replace ${{{name}}}")));
            }
            out.push_str(variables.get(name).map_or("", String::as_str));
            rest = next;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The words of the line, of which those in quotes may have spaces.
    fn words(&self, text: &str) -> Result<Vec<String>, Beyond> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for c in text.chars() {
            match quote {
                Some(open) if c == open => quote = None,
                None if c == '"' || c == '\'' => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                None if c.is_whitespace() => words.extend(word.take()),
                _ if c == '\\' => return Err(self.beyond("the built-in builder does not read backslashes")),
                _ => word.get_or_insert_default().push(c),
            }
        }
        if quote.is_some() {
            return Err(self.beyond("a quote is not closed"));
        }
        words.extend(word);
        Ok(words)
    }

    /// `NAME=value …`, or the old `NAME value`.
    fn pairs(&self, variables: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, Beyond> {
        let text = self.substitute(self.rest, variables)?;
        let first = text.split_whitespace().next().unwrap_or_default();
        if !first.contains('=') {
            let (name, value) =
                text.split_once(char::is_whitespace).ok_or_else(|| self.beyond("it has no value"))?;
            return Ok(vec![(name.to_owned(), unquote(value.trim()).to_owned())]);
        }
        let pair = |word: String| {
            let (name, value) =
                word.split_once('=').ok_or_else(|| self.beyond(format!("{word} has no value")))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        self.words(&text)?.into_iter().map(pair).collect()
    }

    fn copy(&self, earlier: &[Option<String>], variables: &BTreeMap<String, String>) -> Result<Copy, Beyond> {
        let (mut from, mut owner, mut rest) = (None, 0, self.rest);
        while let Some(option) = rest.split_whitespace().next().filter(|word| word.starts_with("--")) {
            rest = rest[option.len()..].trim_start();
            match option.split_once('=') {
                Some(("--from", name)) => from = Some(self.stage(name, earlier)?),
                Some(("--chown", name)) => owner = self.user(name)?,
                _ if option == "--link" => {}
                _ => return Err(self.beyond(format!("the built-in builder does not know {option}"))),
            }
        }
        if rest.starts_with("<<") {
            return Err(self.beyond("the built-in builder does not read here-documents"));
        }
        let mut words = match json_words(rest) {
            Some(words) => words,
            None => self.words(&self.substitute(rest, variables)?)?,
        };
        let target = words.pop().filter(|_| !words.is_empty());
        let target = target.ok_or_else(|| self.beyond("it names no source and target"))?;
        if let Some(bad) = words.iter().find(|word| word.contains(['[', '\\'])) {
            return Err(self.beyond(format!("the built-in builder does not read the pattern {bad}")));
        }
        Ok(Copy { from, sources: words, target, owner })
    }

    fn stage(&self, name: &str, earlier: &[Option<String>]) -> Result<usize, Beyond> {
        // The last is the stage that the line itself is in.
        let earlier = &earlier[..earlier.len().saturating_sub(1)];
        let name = name.to_ascii_lowercase();
        let by_name = earlier.iter().position(|stage| stage.as_ref() == Some(&name));
        let by_number = name.parse().ok().filter(|number| *number < earlier.len());
        by_name.or(by_number).ok_or_else(|| self.beyond(format!("{name} is no earlier stage")))
    }

    /// The number of a user that the images of Node.js know.
    fn user(&self, name: &str) -> Result<u64, Beyond> {
        let user = name.split(':').next().unwrap_or_default().trim();
        match user {
            "root" => Ok(0),
            "node" => Ok(1000),
            "nonroot" => Ok(65532),
            number => {
                number.parse().map_err(|_| self.beyond(format!("the built-in runtime has no user {user}")))
            }
        }
    }

    /// The commands of npm; nothing else can be run without the image's own programs.
    fn run(&self) -> Result<Vec<Vec<String>>, Beyond> {
        let mut rest = self.rest;
        while let Some(option) = rest.split_whitespace().next().filter(|word| word.starts_with("--")) {
            // A cache changes how long it takes, not what comes out.
            if !option.starts_with("--mount=type=cache") {
                return Err(self.beyond(format!("the built-in builder does not know {option}")));
            }
            rest = rest[option.len()..].trim_start();
        }
        if let Some(words) = json_words(rest) {
            return Ok(vec![self.npm(words)?]);
        }
        rest.split("&&").map(|command| self.npm(self.words(command)?)).collect()
    }

    fn npm(&self, words: Vec<String>) -> Result<Vec<String>, Beyond> {
        let special = |word: &String| word.contains(['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?']);
        let plain: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        let known = matches!(
            plain.as_slice(),
            ["npm", "ci" | "clean-install" | "install" | "i" | "prune"]
                | ["npm", "cache", "clean"]
                | ["npm", "run" | "run-script", _]
                | ["npm", "test"]
        );
        if !known || words.iter().any(special) {
            let command = words.join(" ");
            return Err(self.beyond(format!("`{command}` needs the programs of a base image")));
        }
        Ok(words)
    }

    /// A command in JSON, or one that a shell would not change.
    fn command(&self) -> Result<Vec<String>, Beyond> {
        if let Some(words) = json_words(self.rest) {
            return Ok(words);
        }
        if self.rest.contains(['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '~']) {
            return Err(self.beyond("it needs a shell, which the built-in runtime has not"));
        }
        self.words(self.rest)
    }
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok())?
}

fn unquote(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beyond(text: &str) -> (usize, String) {
        let beyond = parse(text).unwrap_err();
        (beyond.line, beyond.instruction)
    }

    #[test]
    fn a_usual_file_is_understood() {
        let text = "# syntax=docker/dockerfile:1\nARG NODE=24\nFROM node:${NODE}-slim AS Build\nWORKDIR /app\n\
                    COPY package*.json ./\nRUN npm ci && \\\n  # really\n  npm run build\n\
                    FROM gcr.io/distroless/nodejs24-debian12:nonroot\nENV A=1 B=\"x y\"\nENV C ${A}\n\
                    COPY --from=build --chown=node:node /app/dist ./\nEXPOSE 3000/tcp\nUSER node\nCMD [\"a.js\"]\n";
        let stages = parse(text).unwrap();
        assert_eq!(stages.len(), 2);
        assert_eq!(stages[0].name.as_deref(), Some("build"));
        let Base::Node(base) = &stages[0].base else { panic!("no image") };
        assert_eq!((base.version.as_deref(), base.distroless), (Some("24"), false));
        let npm = |command: &str| command.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(stages[0].steps[2], (6, Step::Npm(vec![npm("npm ci"), npm("npm run build")])));
        let steps: Vec<&Step> = stages[1].steps.iter().map(|(_, step)| step).collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(*steps[0], Step::Env(vec![pair("A", "1"), pair("B", "x y")]));
        assert_eq!(*steps[1], Step::Env(vec![pair("C", "1")]));
        let copy =
            Copy { from: Some(0), sources: vec!["/app/dist".into()], target: "./".into(), owner: 1000 };
        assert_eq!(*steps[2], Step::Copy(copy));
        assert_eq!((steps[3], steps[4]), (&Step::Expose(vec![3000]), &Step::User("1000".into())));
        assert_eq!(*steps[5], Step::Cmd(vec!["a.js".into()]));
    }

    #[test]
    fn images_of_node_are_known_by_their_names() {
        for (image, version) in [
            ("node", None),
            ("node:lts-alpine", None),
            ("node:20", Some("20")),
            ("docker.io/library/node:22.3-slim@sha256:00", Some("22.3")),
            ("public.ecr.aws/docker/library/node:24.1.0-alpine3.20", Some("24.1.0")),
        ] {
            assert_eq!(node_base(image).unwrap().version.as_deref(), version, "{image}");
        }
        for other in ["nginx", "my/node:20", "scratch", "gcr.io/distroless/static"] {
            assert_eq!(node_base(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_beyond_is_named_with_its_line() {
        let at = |line: usize, instruction: &str| (line, instruction.to_owned());
        assert_eq!(beyond("FROM alpine"), at(1, "FROM"));
        assert_eq!(beyond(""), at(1, "FROM"));
        for (second, instruction) in [
            ("RUN apt-get update", "RUN"),
            ("RUN npm ci | tee log", "RUN"),
            ("RUN npm install express", "RUN"),
            ("run --mount=type=secret,id=x npm ci", "RUN"),
            ("ADD https://example.com/x /x", "ADD"),
            ("COPY --from=nginx /a /b", "COPY"),
            ("COPY --chmod=755 a b", "COPY"),
            ("COPY [a-z]* .", "COPY"),
            ("COPY <<EOF /a", "COPY"),
            ("COPY a", "COPY"),
            ("USER app", "USER"),
            ("CMD node a.js > log", "CMD"),
            ("ENV A=${B:-c}", "ENV"),
            ("VOLUME /data", "VOLUME"),
            ("SHELL [\"bash\"]", "SHELL"),
            ("EXPOSE 53/udp", "EXPOSE"),
            ("gibberish", "GIBBERISH"),
        ] {
            assert_eq!(beyond(&format!("FROM node\n{second}\n")), at(2, instruction), "{second}");
        }
    }
}
