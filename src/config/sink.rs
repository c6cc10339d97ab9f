//! Where mistakes are collected, so that all of them are told at once.

use std::sync::Arc;

use super::{
    diagnostic::{Diagnostic, Diagnostics, Gravity},
    limits::DIAGNOSTICS_LIMIT,
    node::Span,
    source::Source,
};
use crate::core::time::WallTime;

/// Collects mistakes. What is shown of the file is cut out at the end, when every secret in it is known.
pub(crate) struct Sink {
    source: Source,
    found: Vec<Found>,
    left_out: usize,
    now: Option<WallTime>,
    looks_here: bool,
}

struct Found {
    gravity: Gravity,
    span: Span,
    message: String,
    help: String,
}

impl Sink {
    /// An empty one for `source`; with `now`, what is over by then is told of.
    pub(crate) fn new(source: Source, now: Option<WallTime>) -> Self {
        Self { source, found: Vec::new(), left_out: 0, now, looks_here: false }
    }

    /// The same for the machine on which the configuration is to be used: what it names and is not here is told of.
    pub(crate) fn looking_here(self, looks_here: bool) -> Self {
        Self { looks_here, ..self }
    }

    /// Whether this is the machine on which the configuration is to be used.
    pub(crate) const fn looks_here(&self) -> bool {
        self.looks_here
    }

    /// Now, where that is known.
    pub(crate) fn now(&self) -> Option<WallTime> {
        self.now
    }

    /// The file that is read.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Keeps a span from being shown.
    pub(crate) fn hide(&mut self, span: &Span) {
        self.source.hide(span);
    }

    /// Takes an error.
    pub(crate) fn error(&mut self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.add(Found { gravity: Gravity::Error, span: span.clone(), message: message.into(), help: help.into() });
    }

    /// Takes a warning.
    pub(crate) fn warn(&mut self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.add(Found { gravity: Gravity::Warning, span: span.clone(), message: message.into(), help: help.into() });
    }

    /// Whether an error was taken.
    pub(crate) fn has_errors(&self) -> bool {
        self.left_out > 0 || self.found.iter().any(|found| found.gravity == Gravity::Error)
    }

    /// Counts an error that nobody would be shown.
    pub(crate) fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// Whether further errors are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.left_out > 0
    }

    fn add(&mut self, new: Found) {
        if self.found.len() < DIAGNOSTICS_LIMIT {
            self.found.push(new);
            return;
        }
        if new.gravity == Gravity::Warning {
            return;
        }
        // Warnings make room for errors, and are not missed.
        match self.found.iter().rposition(|found| found.gravity == Gravity::Warning) {
            Some(place) => self.found[place] = new,
            None => self.left_out += 1,
        }
    }

    /// Everything taken, in the order of the file.
    pub(crate) fn finish(mut self) -> Diagnostics {
        self.found.sort_by_key(|found| (found.span.start, found.gravity));
        let list = self
            .found
            .into_iter()
            .map(|found| Diagnostic {
                gravity: found.gravity,
                file: Arc::clone(self.source.name()),
                place: Some(self.source.place(&found.span)),
                message: found.message,
                help: found.help,
            })
            .collect();
        Diagnostics { list, left_out: self.left_out }
    }
}
