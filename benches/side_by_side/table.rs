//! Markdown tables, and where they go.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;

/// The marks in a file between which the report stands.
const BEGIN: &str = "<!-- side by side: begin -->";
const END: &str = "<!-- side by side: end -->";

/// One table.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &str, head: &[&str]) -> Self {
        Self { title: title.to_owned(), head: head.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.head.len(), "one cell for each column");
        self.rows.push(cells);
    }

    fn render(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("**{}**\n\n{}{rule}{rows}", self.title, line(&self.head))
    }
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Table>);

impl Report {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&mut self, table: Table) {
        eprintln!("{}", table.render());
        self.0.push(table);
    }

    pub(crate) fn render(&self) -> String {
        self.0.iter().map(Table::render).collect::<Vec<_>>().join("\n")
    }
}

/// Puts the tables between the marks in `path`, each in the place of the one that has the same title but for its numbers; what
/// was not measured now stays as it was.
pub(crate) fn write_between_marks(path: &Path, text: &str) -> anyhow::Result<()> {
    let old = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| {
        let (between, after) = rest.split_once(END)?;
        Some((before, between, after))
    });
    let (before, between, after) =
        parts.with_context(|| format!("find `{BEGIN}` and `{END}` in {}", path.display()))?;
    let merged = merged(between, text);
    fs::write(path, format!("{before}{BEGIN}\n{merged}{END}{after}"))
        .with_context(|| format!("write {}", path.display()))
}

/// The older tables with the newer ones in their places, and those that are new at the end.
fn merged(older: &str, newer: &str) -> String {
    let mut newer = tables(newer);
    let mut all = Vec::new();
    for (title, table) in tables(older) {
        match newer.iter().position(|(new, _)| *new == title) {
            Some(place) => all.push(newer.remove(place).1),
            None => all.push(table),
        }
    }
    all.extend(newer.into_iter().map(|(_, table)| table));
    all.join("\n\n") + "\n"
}

/// Tables as they were rendered, each with its title without numbers.
fn tables(text: &str) -> Vec<(String, String)> {
    let title = |table: &str| {
        let line = table.lines().next().unwrap_or_default();
        let title = line.trim_start_matches("**").split("**").next().unwrap_or_default();
        title.chars().filter(|letter| !letter.is_ascii_digit()).collect()
    };
    let mut tables: Vec<(String, String)> = Vec::new();
    for part in text.trim().split("\n\n**").filter(|part| !part.is_empty()) {
        let table = format!("**{}", part.trim().trim_start_matches("**"));
        tables.push((title(&table), table));
    }
    tables
}

pub(crate) fn micros(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6)
}

pub(crate) fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 100.0 { format!("{millis:.1} ms") } else { format!("{:.2} s", millis / 1e3) }
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

pub(crate) fn ratio(ratio: f64) -> String {
    format!("{ratio:.2} ×")
}
