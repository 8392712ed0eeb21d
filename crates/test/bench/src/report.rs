//! What a benchmark found: a table for a person, the same as JSON for a program.

use std::io::Write as _;

use serde_json::{Map, Value, json};

/// Rows (what was measured) with columns (the figures); a figure may be missing.
pub(crate) struct Report {
    pub(crate) title: String,
    /// Each with its unit: `cpu_us_per_request`.
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<(String, Vec<Option<f64>>)>,
    /// What a reader must know to judge the figures.
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn row(&mut self, name: impl Into<String>, figures: impl IntoIterator<Item = f64>) {
        let figures = figures.into_iter().map(|figure| figure.is_finite().then_some(figure)).collect();
        self.rows.push((name.into(), figures));
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let text = if as_json { serde_json::to_string_pretty(&self.json())? } else { self.text() };
        Ok(writeln!(std::io::stdout(), "{text}")?)
    }

    /// `{row: {column: figure}, "notes": [...]}`
    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, figures)| {
            let figures = self.columns.iter().zip(figures);
            let figures = figures.map(|(column, figure)| ((*column).to_owned(), json!(figure.map(rounded))));
            (name.clone(), Value::Object(figures.collect()))
        });
        let mut document: Map<_, _> = rows.collect();
        document.insert("notes".into(), json!(self.notes));
        Value::Object(document)
    }

    fn text(&self) -> String {
        let first = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut text = format!("{}\n\n{:first$}", self.title, "");
        for column in &self.columns {
            text.push_str(&format!("  {column:>10}"));
        }
        for (name, figures) in &self.rows {
            text.push_str(&format!("\n{name:first$}"));
            for (column, figure) in self.columns.iter().zip(figures) {
                let width = column.len().max(10);
                let figure = figure.map_or("-".to_owned(), |figure| rounded(figure).to_string());
                text.push_str(&format!("  {figure:>width$}"));
            }
        }
        if !self.notes.is_empty() {
            text.push_str("\n\n");
            text.push_str(&self.notes.join("\n"));
        }
        text
    }
}

/// Three digits are as many as such a measurement is good for.
fn rounded(figure: f64) -> f64 {
    if figure >= 100.0 { figure.round() } else { (figure * 10.0_f64).round() / 10.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_content_in_two_forms() {
        let mut report = Report::new("A title", &["rps", "p99_us"]);
        report.row("pileus", [1234.56, 12.345]);
        report.row("nginx", [999.0, f64::NAN]);
        report.note("A note.");
        assert_eq!(
            report.text(),
            "A title\n\n               rps      p99_us\npileus        1235        12.3\n\
             nginx          999           -\n\nA note."
        );
        let json = report.json();
        assert_eq!(json["pileus"]["rps"], 1235.0);
        assert!(json["nginx"]["p99_us"].is_null());
    }
}
