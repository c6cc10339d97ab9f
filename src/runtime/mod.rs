//! The shell around the core: the loop, timers, carrying out effects, supervised child processes. It decides nothing.

pub mod child;
pub mod clock;
mod effects;
mod files;
mod log;
mod looks;
mod publish;
mod start;
mod turn;

pub use start::{RunError, Running, start};
