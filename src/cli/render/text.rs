//! Wrapping, colour, and how times, spans and shares are written.

use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

use crate::core::{answer::Answer, time::WallTime, verdict::VerdictKind};

/// Columns where the output is no terminal.
const DEFAULT_WIDTH: usize = 100;

/// Fewer columns than this are written over: text wrapped more narrowly cannot be read.
const LEAST_WIDTH: usize = 60;

/// More columns than this are left empty: the eye loses the line.
const GREATEST_WIDTH: usize = 140;

/// What the output looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub(crate) width: usize,
    colour: bool,
}

impl Layout {
    /// For a terminal of so many columns, or for none.
    pub fn new(columns: Option<usize>, colour: bool) -> Self {
        Self { width: columns.unwrap_or(DEFAULT_WIDTH).clamp(LEAST_WIDTH, GREATEST_WIDTH), colour }
    }

    /// `text` in a style, where there is colour.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A heading, on a line of its own after an empty one.
    pub(super) fn heading(self, out: &mut String, text: &str) {
        let _infallible = writeln!(out, "\n{}", self.paint(Style::new().bold(), text));
    }

    /// `text` after `first`, wrapped, with further lines under its beginning. `first` may hold colour; it takes
    /// `first_width` columns.
    pub(crate) fn hang(self, out: &mut String, first: &str, first_width: usize, text: &str) {
        let room = self.width.saturating_sub(first_width).max(20);
        let mut lines = wrap(text, room).into_iter();
        let line = format!("{first}{}", lines.next().unwrap_or_default());
        out.push_str(line.trim_end());
        out.push('\n');
        for line in lines {
            let _infallible = writeln!(out, "{:first_width$}{line}", "");
        }
    }

    /// `label` and `text` in two columns, below a heading.
    pub(super) fn field(self, out: &mut String, label: &str, text: &str) {
        self.hang(out, &format!("  {label:<10}"), 12, text);
    }
}

/// What calls for action.
pub(crate) const ALARM: Style = AnsiColor::Red.on_default().bold();
/// What calls for a look.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// What is well.
pub(crate) const WELL: Style = AnsiColor::Green.on_default();
/// What is there for completeness.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// How a verdict looks.
pub(crate) const fn verdict_style(verdict: VerdictKind) -> Style {
    match verdict {
        VerdictKind::RollBack => ALARM,
        VerdictKind::Consider | VerdictKind::Monitor => WARNING,
        VerdictKind::Healthy => WELL,
    }
}

/// A verdict as a person would say it.
pub(crate) const fn verdict_words(verdict: VerdictKind) -> &'static str {
    match verdict {
        VerdictKind::RollBack => "ROLL BACK",
        VerdictKind::Consider => "CONSIDER ROLLING BACK",
        VerdictKind::Monitor => "MONITOR",
        VerdictKind::Healthy => "HEALTHY",
    }
}

/// An answer whose weight shows without colour. `good` is the answer that nobody has to look at.
pub(crate) fn answer_cell(layout: Layout, answer: Answer, good: Answer) -> String {
    let (word, style) = match answer {
        Answer::Unknown => ("unknown", WARNING),
        answer if answer == good => (answer.as_str(), FAINT),
        Answer::Yes => ("YES", ALARM),
        Answer::No => ("NO", ALARM),
    };
    layout.paint(style, &format!("{word:<7}"))
}

/// Breaks `text` at spaces so that no line is wider than `width`; a longer word stands alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// A span in its two greatest units: `400ms`, `12s`, `4m 12s`, `2d 4h`.
pub(crate) fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    if seconds < 1.0 {
        return format!("{:.0}ms", seconds * 1000.0);
    }
    if seconds < 10.0 && seconds.fract() >= 0.05 {
        return format!("{seconds:.1}s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite, not negative, and rounded")]
    let whole = seconds.round() as u64;
    let units = [(whole / 86_400, 'd'), (whole / 3600 % 24, 'h'), (whole / 60 % 60, 'm'), (whole % 60, 's')];
    let first = units.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let mut text = format!("{}{}", units[first].0, units[first].1);
    if let Some((count, unit)) = units.get(first + 1).filter(|(count, _)| *count > 0) {
        let _infallible = write!(text, " {count}{unit}");
    }
    text
}

/// A share as a percentage with up to two decimals, never rounded to another side of a limit by much: `5%`, `12.4%`,
/// `0.83%`.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", decimal(share * 100.0))
}

/// Up to two decimals, without zeros at the end.
pub(super) fn decimal(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// `2026-01-07 10:30:00 UTC`.
pub(super) fn time(at: WallTime) -> String {
    written(at, "%Y-%m-%d %H:%M:%S UTC")
}

/// `2026-01-07 10:30:00`, for columns that say UTC above.
pub(super) fn time_cell(at: WallTime) -> String {
    written(at, "%Y-%m-%d %H:%M:%S")
}

/// How the moments of one incident are written: with their days only where there are several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    format: &'static str,
    /// Columns of one.
    pub(super) width: usize,
}

impl Moments {
    pub(super) fn of(mut moments: impl Iterator<Item = WallTime>) -> Self {
        let day = |at| written(at, "%Y-%m-%d");
        let first = moments.next().map(day);
        if moments.all(|at| Some(day(at)) == first) {
            Self { format: "%H:%M:%S", width: 8 }
        } else {
            Self { format: "%Y-%m-%d %H:%M:%S", width: 19 }
        }
    }

    pub(super) fn write(self, at: WallTime) -> String {
        written(at, self.format)
    }
}

fn written(at: WallTime, format: &str) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .map_or_else(|_| at.to_string(), |timestamp| timestamp.strftime(format).to_string())
}

/// "1 gate", "2 gates".
pub(super) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Takes away what could move the cursor or change colours: versions, reasons and questions come from outside.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, expected) in [
            (0.0, "0ms"),
            (0.4, "400ms"),
            (1.0, "1s"),
            (1.52, "1.5s"),
            (12.3, "12s"),
            (59.9, "1m"),
            (252.0, "4m 12s"),
            (3600.0, "1h"),
            (187_200.0, "2d 4h"),
            (f64::NAN, "?"),
            (-1.0, "?"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn shares_are_short() {
        for (share, expected) in
            [(0.05, "5%"), (0.124, "12.4%"), (0.0083, "0.83%"), (0.0, "0%"), (1.0, "100%"), (-0.00001, "0%")]
        {
            assert_eq!(percent(share), expected);
        }
    }

    #[test]
    fn long_text_hangs_under_its_beginning() {
        let mut out = String::new();
        Layout::new(Some(60), false).hang(&mut out, "  no       ", 11, &"word ".repeat(12));
        let expected = format!("  no       {}\n           word word\n", "word ".repeat(10).trim_end());
        assert_eq!(out, expected);
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(plain("v1\u{1b}[2J\n"), "v1 [2J ");
    }
}
