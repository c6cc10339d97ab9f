//! Everything that is decided, from sample to record: pure, synchronous, without I/O, clock, randomness or tokio.
//!
//! Time comes in with each event; effects go out as data. What is absent here on purpose: sockets, files, threads,
//! `Instant::now`, logging, and iteration over the standard hash map (its order is random).

pub mod action;
pub mod answer;
pub mod counter;
pub mod entry;
pub mod event;
pub mod name;
pub mod operation;
pub mod page;
pub mod policy;
pub mod reading;
pub mod release;
pub mod sample;
pub mod statistics;
pub mod time;
pub mod verdict;
pub mod watch;
pub mod window;
