//! Takes samples of the world: http, tcp, command, Prometheus, exposition pages, the version endpoint.
//!
//! Every sample ends as passed, failed or missed. The line between the last two is drawn in one place, [`fault::Fault`]:
//! whatever the watchdog's own machine, resolver or metrics server did wrong is missed, and never the service's failure.

pub mod command;
pub mod fault;
pub mod http;
pub mod metrics;
pub mod net;
pub mod prometheus;
pub mod requests;
pub mod schedule;
pub mod selector;
pub mod self_check;
mod setup;
pub mod tcp;
pub mod version;

pub use setup::SetupError;
