//! Yes, no or unknown, with Kleene's strong three-valued logic.
//!
//! Source: S. C. Kleene, *Introduction to Metamathematics* (1952), §64. Unknown is neither health nor failure: it
//! never turns into yes, and it turns into no only where another operand already decides.

use serde::{Deserialize, Serialize};

/// What a condition or a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// There is evidence for it.
    Yes,
    /// There is evidence against it.
    No,
    /// There is not enough evidence either way.
    Unknown,
}

impl Answer {
    /// Yes if both are, no if either is, else unknown.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    /// Yes if either is, no if both are, else unknown.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Unknown,
        }
    }

    /// The word as it stands in the API and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

impl std::ops::Not for Answer {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Answer {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Answer::{self, No, Unknown, Yes};

    const ALL: [Answer; 3] = [Yes, No, Unknown];

    #[test]
    fn kleene_tables() {
        let and = ALL.map(|left| ALL.map(|right| left.and(right)));
        assert_eq!(and, [[Yes, No, Unknown], [No, No, No], [Unknown, No, Unknown]]);
        let or = ALL.map(|left| ALL.map(|right| left.or(right)));
        assert_eq!(or, [[Yes, Yes, Yes], [Yes, No, Unknown], [Yes, Unknown, Unknown]]);
    }

    #[test]
    fn de_morgan_holds() {
        for left in ALL {
            for right in ALL {
                assert_eq!(!left.and(right), (!left).or(!right));
            }
        }
    }
}
