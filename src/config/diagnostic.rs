//! What is wrong with a configuration, where, and how to mend it.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// How grave a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// The configuration cannot be used.
    Error,
    /// It can, and something looks unintended.
    Warning,
}

/// One mistake. It never holds a value that came from a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub gravity: Gravity,
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The place; [`None`] where the file as a whole is meant.
    pub place: Option<Place>,
    /// Where in the configuration and what.
    pub message: String,
    /// How to mend it; never empty.
    pub help: String,
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line, without secrets, perhaps cropped.
    pub excerpt: String,
    /// The bytes of `excerpt` that are meant.
    pub marked: Range<usize>,
}

impl Diagnostic {
    /// As people read it, without a line break at its end; `styled` puts ANSI colours in.
    pub fn render(&self, styled: bool) -> String {
        let level = match self.gravity {
            Gravity::Error => Level::ERROR,
            Gravity::Warning => Level::WARNING,
        };
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let title = level.primary_title(self.message.as_str());
        let help = Level::HELP.message(self.help.as_str());
        let Some(place) = &self.place else {
            let group = title.element(annotate_snippets::Origin::path(&*self.file)).element(help);
            return renderer.render(&[group]);
        };
        let snippet = Snippet::source(place.excerpt.as_str())
            .line_start(place.line)
            .path(&*self.file)
            .annotation(AnnotationKind::Primary.span(place.marked.clone()));
        renderer.render(&[title.element(snippet).element(help)])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

/// Everything that is wrong with one configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// Errors and warnings, at most [`super::limits::DIAGNOSTICS_LIMIT`].
    pub list: Vec<Diagnostic>,
    /// How many more there were.
    pub left_out: usize,
}

impl Diagnostics {
    /// A single one.
    pub(crate) fn one(diagnostic: Diagnostic) -> Self {
        Self { list: vec![diagnostic], left_out: 0 }
    }

    /// Whether an error is among them.
    pub fn has_errors(&self) -> bool {
        self.left_out > 0 || self.list.iter().any(|diagnostic| diagnostic.gravity == Gravity::Error)
    }

    /// How many of each, in words; empty if there are none.
    pub fn counted(&self) -> String {
        let errors = self.list.iter().filter(|diagnostic| diagnostic.gravity == Gravity::Error).count();
        let warnings = self.list.len() - errors;
        let words = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            count => Some(format!("{count} {word}s")),
        };
        let counted = [words(errors, "error"), words(warnings, "warning")].into_iter().flatten().collect::<Vec<_>>();
        match (counted.join(" and "), self.left_out) {
            (counted, 0) => counted,
            (counted, more) => format!("{counted}, and {more} more"),
        }
    }

    /// All of them as people read them, an empty line between each two; empty if there are none.
    pub fn render(&self, styled: bool) -> String {
        let mut parts: Vec<String> = self.list.iter().map(|diagnostic| diagnostic.render(styled)).collect();
        if self.left_out > 0 {
            parts.push(format!("and {} more; mend these first", self.left_out));
        }
        parts.join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_is_counted() {
        let of = |gravity: Gravity| Diagnostic {
            gravity,
            file: "a.yaml".into(),
            place: None,
            message: String::new(),
            help: String::new(),
        };
        let counted = |errors: usize, warnings: usize, left_out: usize| {
            let errors = std::iter::repeat_n(Gravity::Error, errors);
            let list = errors.chain(std::iter::repeat_n(Gravity::Warning, warnings)).map(of).collect();
            Diagnostics { list, left_out }.counted()
        };
        for (found, expected) in [
            (counted(0, 0, 0), ""),
            (counted(0, 1, 0), "1 warning"),
            (counted(2, 1, 0), "2 errors and 1 warning"),
            (counted(1, 0, 7), "1 error, and 7 more"),
        ] {
            assert_eq!(found, expected);
        }
    }
}
