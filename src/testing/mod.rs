//! The simulator: the real core against one simulated world, in virtual time, from a seed.
//!
//! A heap of times, one world, no tokio. The store knows acknowledged, lost and unknown commits; the
//! process is killed before or after any effect; targets fail, hang and do things by half; people act at the wrong
//! moment. Every action is held against the invariants as it is handed out. The same seed gives the same run.

mod bench;
mod invariants;
mod policy;
mod random;
mod scenario;
mod simulator;
mod world;

pub use bench::{Bench, Ends, SERVICE};
pub use invariants::Violation;
pub use scenario::{Chaos, Fault, Outage, Scenario};
pub use simulator::{Kill, Report, Told, simulate};
