//! Values as a person reads and writes them: durations, sizes, tables. Pure.

use std::time::Duration;

use owo_colors::{OwoColorize as _, Style};

/// `12ms`, `1.2s`, `3m 05s`, `2h 05m`, `3d 4h`.
pub(crate) fn duration(duration: Duration) -> String {
    let (millis, seconds) = (duration.as_millis(), duration.as_secs());
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// How long something has been so, in its largest unit: `45s`, `3m`, `2h`, `5d`.
pub(crate) fn age(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

/// `512 B`, `4.2 kB`, `31 MB`.
pub(crate) fn size(bytes: u64) -> String {
    let (value, unit) = match bytes {
        0..1000 => return format!("{bytes} B"),
        1000..1_000_000 => (bytes as f64 / 1e3, "kB"),
        1_000_000..1_000_000_000 => (bytes as f64 / 1e6, "MB"),
        _ => (bytes as f64 / 1e9, "GB"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Reads `90s`, `10m`, `1h30m`, `2d`; a bare number counts seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time such as 30s, 10m, 2h or 1h30m");
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next();
        let factor = match unit {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86400,
            Some(_) => return Err(wrong()),
        };
        seconds = number.checked_mul(factor).and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[digits + unit.map_or(0, char::len_utf8)..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Text that an app or a network gave: control characters could take over the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A message of AWS's in fewer columns: each ARN without what all ARNs here have in common.
pub(crate) fn brief(message: &str) -> String {
    let word = |word: &str| match word.find("arn:") {
        Some(at) => format!("{}{}", &word[..at], word[at..].splitn(6, ':').last().unwrap_or_default()),
        None => word.to_owned(),
    };
    printable(&message.split(' ').map(word).collect::<Vec<_>>().join(" "))
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: printable(&text.into()), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// Rows with their columns aligned, indented by two; the last column is not padded.
pub(crate) fn table<const N: usize>(rows: &[[Cell; N]]) -> Vec<String> {
    let width = |cell: &Cell| cell.text.chars().count();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0));
    let line = |row: &[Cell; N]| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            // Padding comes after the style, for a style's codes have no width.
            let padding = if column + 1 == N { 0 } else { widths[column] - width(cell) };
            format!("{}{}", cell.text.style(cell.style), " ".repeat(padding))
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  "))
    };
    rows.iter().map(|row| line(row).trim_end().to_owned()).collect()
}

/// The first row of a table.
pub(crate) fn heads<const N: usize>(names: [&str; N]) -> [Cell; N] {
    names.map(|name| Cell::styled(name, Style::new().dimmed()))
}

/// Text cut to a number of columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept = text.chars().take(columns.saturating_sub(1));
    kept.chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (millis, text) in [
            (0, "0ms"),
            (12, "12ms"),
            (1234, "1.2s"),
            (42_000, "42s"),
            (185_000, "3m 05s"),
            (7_500_000, "2h 05m"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "m", "10x", "1.5h", "-1s", "99999999999999999999s", "9999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(age(Duration::from_secs(7300)), "2h");
    }

    #[test]
    fn sizes_are_rounded() {
        for (bytes, text) in
            [(512, "512 B"), (4200, "4.2 kB"), (31_400_000, "31 MB"), (2_000_000_000, "2.0 GB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn columns_are_aligned_whatever_their_style() {
        let green = Cell::styled("ok", Style::new().green());
        let rows = [heads(["NAME", "STATE"]), [green, "fine".into()], ["longer".into(), "".into()]];
        let lines = table(&rows);
        let plain: Vec<_> = lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(plain, ["  NAME    STATE", "  ok      fine", "  longer"]);
    }

    #[test]
    fn text_of_others_cannot_take_over_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n\tc"), "a\u{fffd}[2Jb\u{fffd}\tc");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }

    #[test]
    fn arns_are_cut_to_what_tells_them_apart() {
        let message = "registered 1 targets in (target-group arn:aws:elasticloadbalancing:us-east-1:0:targetgroup/a/7f)";
        assert_eq!(brief(message), "registered 1 targets in (target-group targetgroup/a/7f)");
        assert_eq!(brief("no arn here"), "no arn here");
    }
}
