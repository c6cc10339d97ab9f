//! What is told at a target itself, where its platform has a place for that.

use crate::core::time::WallTime;

/// Something to be told. It informs people, and nothing hangs on it: one that cannot be told is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The same when the same is told again, as after a restart; unique within one installation.
    pub id: String,
    /// When it became so.
    pub at: WallTime,
    /// What kind of thing happened, as one word: `RollbackStarted`.
    pub reason: &'static str,
    /// In words.
    pub message: String,
    /// Whether it is bad news.
    pub is_warning: bool,
}
