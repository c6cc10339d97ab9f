//! The types of single values, each parsed from text at the edge.
//!
//! Parsers never repeat their input in an error: the caller knows whether it may be shown.

mod address;
mod duration;
mod name;
mod number;
mod selector;
mod url;

pub(crate) use address::{host_port, socket_address};
pub(crate) use duration::{DURATION_PATTERN, duration, shown_duration};
pub(crate) use name::{NAME_PATTERN, environment_name, header_name, name};
pub(crate) use number::{FACTOR_PATTERN, LatencyAbove, PERCENT_PATTERN, latency_above, percent};
pub(crate) use selector::selector;
pub(crate) use url::{http_url, pointer, url_with_scheme};

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What is wrong, without the text itself; follows "this".
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) help: String,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}
