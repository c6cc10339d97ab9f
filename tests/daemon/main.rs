//! The whole daemon: the real binary with a configuration, before a real service and a real Prometheus, on loopback.
//!
//! Nothing here asserts how long anything takes: what is waited for has minutes, so that a loaded machine passes too. How
//! long it did take is written to `target/tmp/times`, which `tests/run` shows.
#![expect(clippy::print_stderr, reason = "a failed test shows what the daemon said")]

mod approval;
mod by_hand;
mod ending;
mod errors;
mod hardship;
mod impaired;
mod killed;
mod quiet;
mod reload;
mod rollback;
mod start;
mod store;
mod tools;
mod world;
