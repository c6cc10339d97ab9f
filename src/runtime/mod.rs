//! The shell around the core: the loop, timers, carrying out effects, supervised child processes.

pub mod child;
pub mod clock;
