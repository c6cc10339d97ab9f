//! The shell around the core: the loop, timers, carrying out effects, supervised child processes. It decides nothing.

mod announce;
pub mod child;
pub mod clock;
mod completions;
mod edges;
mod effects;
mod exchange;
mod files;
mod gathering;
mod history;
mod log;
mod looks;
mod manager;
mod publish;
mod reload;
mod render;
mod start;
mod threads;
mod turn;

pub use reload::{ConfigurationFile, ContentDigest};
pub use start::{RunError, Running, start};
pub use threads::runtime;
