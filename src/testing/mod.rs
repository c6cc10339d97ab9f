//! The simulator: the real core against one simulated world, in virtual time, from a seed.
//!
//! A heap of times, one world, no tokio. The store knows acknowledged, lost and unknown commits, and is full for a while;
//! the process is killed before or after any effect, panics, and stays away for long; the machine is suspended and its
//! wall clock stepped; signals fail, are slow, missing and contradict each other; targets fail, hang, lie and do things by
//! half; channels are down; people act at the wrong moment. Every action is held against the invariants as it is handed
//! out, and each fault is counted when it really happens. The same seed gives the same run.

mod bench;
mod failpoint;
mod instances;
mod invariants;
mod owner;
mod policy;
mod random;
mod scenario;
mod simulator;
mod tally;
mod world;

pub use bench::{Bench, Ends, SERVICE};
pub use failpoint::Failpoint;
pub use invariants::Violation;
pub use owner::{GitOps, Parent};
pub use scenario::{Blindness, Chaos, Cure, Fault, Outage, PartialFailure, Scenario, VersionEndpoint};
pub use simulator::{Kill, Report, Told, simulate};
pub use tally::Tally;
