//! Work that a person watches: a line for each thing done, a moving one for what is being waited for, and Ctrl-C.

use std::future::Future;
use std::time::{Duration, Instant};

use owo_colors::{OwoColorize as _, Style};
use pileus_delivery::deploy::{Event, Outcome};
use pileus_delivery::image::Progress;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::format;
use crate::printer::Printer;

/// How often the moving line is drawn again.
const FRAME: Duration = Duration::from_millis(100);

/// What is reported while work is done.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Build(Progress),
    Deploy(Event),
}

/// A resource that was looked at, and when that was done.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) at: Instant,
}

/// Ctrl-C was pressed.
pub(crate) struct Interrupted;

/// Shows what is reported to it.
pub(crate) struct Watch<'a> {
    printer: &'a mut Printer,
    news: UnboundedReceiver<News>,
    reporter: UnboundedSender<News>,
    waiting: Option<(String, Instant)>,
    stage: Instant,
    pub(crate) done: Vec<Done>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(printer: &'a mut Printer) -> Self {
        let (reporter, news) = unbounded_channel();
        Self { printer, news, reporter, waiting: None, stage: Instant::now(), done: Vec::new() }
    }

    /// To report by, from any thread.
    pub(crate) fn reporter(&self) -> UnboundedSender<News> {
        self.reporter.clone()
    }

    /// Shows what is reported until `work` is done, or Ctrl-C is pressed.
    pub(crate) async fn until<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        let mut work = std::pin::pin!(work);
        let mut frames = tokio::time::interval(FRAME);
        let result = loop {
            tokio::select! {
                result = &mut work => break Ok(result),
                Some(news) = self.news.recv() => self.show(news),
                _ = frames.tick() => self.draw(),
                _ = tokio::signal::ctrl_c() => break Err(Interrupted),
            }
        };
        while let Ok(news) = self.news.try_recv() {
            self.show(news);
        }
        self.waiting = None;
        self.printer.clear();
        result
    }

    fn show(&mut self, news: News) {
        match news {
            News::Build(progress) => self.build(progress),
            News::Deploy(Event::Resource { kind, name, outcome, took }) => {
                self.waiting = None;
                self.printer.say(resource(kind, &name, outcome, took));
                self.done.push(Done { kind, name, outcome, took, at: Instant::now() });
            }
            News::Deploy(Event::Waiting(what)) => self.wait_for(what),
            News::Deploy(Event::Service(message)) => {
                let message = format::brief(&message);
                self.printer.say(format!("  {:<9} {message}", "event".blue()));
            }
        }
    }

    fn build(&mut self, progress: Progress) {
        match progress {
            Progress::Started(stage) => {
                self.stage = Instant::now();
                self.wait_for(stage.name().to_owned());
            }
            Progress::Doing(stage, what) => self.wait_for(format!("{}: {what}", stage.name())),
            Progress::Finished { stage, cached, size } => {
                self.waiting = None;
                let (label, style) =
                    if cached { ("cached", Style::new().dimmed()) } else { ("built", CREATED) };
                let took = self.stage.elapsed();
                self.printer.say(line(label, style, stage.name(), &format::size(size), took));
            }
            Progress::Skipped(stage) => {
                self.waiting = None;
                self.printer.say(line("skipped", Style::new().dimmed(), stage.name(), "", Duration::ZERO));
            }
            Progress::Warning(text) => self.printer.warn(&format::printable(&text)),
        }
    }

    /// The clock goes on where only the numbers in the text changed.
    fn wait_for(&mut self, what: String) {
        let topic = |text: &str| text.split(':').next().map(str::to_owned);
        let since = match &self.waiting {
            Some((before, since)) if topic(before) == topic(&what) => *since,
            _ => Instant::now(),
        };
        self.waiting = Some((what, since));
        self.draw();
    }

    fn draw(&mut self) {
        if let Some((what, since)) = &self.waiting {
            let line =
                format!("  waiting   {} ({})", format::printable(what), format::duration(since.elapsed()));
            self.printer.draw(&line);
        }
    }
}

const CREATED: Style = Style::new().green();

fn resource(kind: &str, name: &str, outcome: Outcome, took: Duration) -> String {
    let (label, style) = match outcome {
        Outcome::Created => ("created", CREATED),
        Outcome::Updated => ("updated", Style::new().yellow()),
        Outcome::Unchanged => ("unchanged", Style::new().dimmed()),
        Outcome::Deleted => ("deleted", Style::new().red()),
    };
    line(label, style, kind, name, took)
}

fn line(label: &str, style: Style, kind: &str, name: &str, took: Duration) -> String {
    let took = format::duration(took);
    let text = format!("{kind:<17} {:<54}", format::printable(name));
    if label == "unchanged" || label == "cached" || label == "skipped" {
        return format!("  {}", format!("{label:<9} {text} {took:>6}").style(style));
    }
    format!("  {:<9} {text} {:>6}", label.style(style), took.dimmed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_whatever_their_style() {
        let strip = |line: String| anstream::adapter::strip_str(&line).to_string();
        let took = Duration::from_millis(12);
        let created = strip(resource("VPC", "vpc-1", Outcome::Created, took));
        let unchanged = strip(resource("security group", "sg-1", Outcome::Unchanged, took));
        assert!(created.starts_with("  created   VPC               vpc-1  "), "{created:?}");
        assert!(unchanged.starts_with("  unchanged security group    sg-1 "), "{unchanged:?}");
        assert_eq!(created.len(), unchanged.len());
    }

    #[tokio::test]
    async fn everything_reported_before_the_end_is_shown() {
        let mut printer = Printer::new();
        let mut watch = Watch::new(&mut printer);
        let reporter = watch.reporter();
        let work = async move {
            let event = Event::Resource {
                kind: "VPC",
                name: "vpc-1".into(),
                outcome: Outcome::Created,
                took: Duration::ZERO,
            };
            reporter.send(News::Deploy(event)).unwrap();
            7
        };
        assert_eq!(watch.until(work).await.ok(), Some(7));
        assert_eq!(watch.done.len(), 1);
    }
}
