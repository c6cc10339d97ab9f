//! Everything that is decided, from sample to record: pure, synchronous, without I/O, clock, randomness or tokio.
//!
//! Time comes in with each event; effects go out as data. What is absent here on purpose: sockets, files, threads,
//! `Instant::now`, logging, and iteration over the standard hash map (its order is random).

pub mod action;
pub mod answer;
pub mod counter;
pub mod durable;
pub mod engine;
pub mod entry;
pub mod event;
pub mod gate;
pub mod name;
pub mod operation;
pub mod page;
pub mod plan;
pub mod policy;
pub mod reading;
pub mod release;
pub mod saga;
pub mod sample;
pub mod statistics;
pub mod time;
pub mod verdict;
pub mod view;
pub mod watch;
pub mod window;
