//! How a command fails: what is told, and the exit code.

use std::fmt;

/// An exit code of design §11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// It was tried and failed.
    pub const FAILED: Self = Self(1);
    /// The command line is wrong.
    pub const USAGE: Self = Self(2);
    /// A gate refused it.
    pub const GATE: Self = Self(3);
    /// The configuration is wrong (`EX_CONFIG` of sysexits).
    pub const CONFIGURATION: Self = Self(78);

    /// The number.
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, phrased to follow "failed to". Empty when everything was told already.
    pub what: String,
    /// What might help.
    pub hint: Option<String>,
    /// Whether it was that the daemon could not be reached.
    pub unreached: bool,
}

impl Failure {
    /// Exit 1.
    pub fn failed(what: impl fmt::Display) -> Self {
        Self { exit: Exit::FAILED, what: what.to_string(), hint: None, unreached: false }
    }

    /// Exit 78.
    pub fn configuration(what: impl fmt::Display) -> Self {
        Self { exit: Exit::CONFIGURATION, ..Self::failed(what) }
    }

    /// Exit 78, where the diagnostics were printed already.
    pub const fn told(exit: Exit) -> Self {
        Self { exit, what: String::new(), hint: None, unreached: false }
    }

    /// The same with another exit code.
    #[must_use]
    pub const fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.what.is_empty() {
            writeln!(formatter, "backstop: failed to {}", self.what)?;
        }
        match &self.hint {
            Some(hint) => writeln!(formatter, "  hint: {hint}"),
            None => Ok(()),
        }
    }
}
