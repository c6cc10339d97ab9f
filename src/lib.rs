//! Backstop stands watch beside production and undoes a bad release.
//!
//! The data flows one way: probe, sample, window, condition, decision tree, verdict, gates, plan, steps, verification,
//! record. Everything decided is in [`core`], which is pure; the other modules read the world and carry effects out.

pub mod cli;
pub mod config;
pub mod core;
mod demo;
mod names;
pub mod notify;
pub mod probe;
pub mod record;
pub mod runtime;
pub mod serve;
pub mod store;
pub mod target;
#[cfg(feature = "testing")]
pub mod testing;
