//! Why a signal cannot be taken as it is configured.

use super::{http, prometheus::ServerError, selector::SelectorError};

/// Why a signal cannot be taken as it is configured: a mistake to be mended there. Follows "failed to".
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Its request.
    #[error(transparent)]
    Http(#[from] http::SetupError),
    /// One of its selectors.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// Its Prometheus server.
    #[error(transparent)]
    Prometheus(#[from] ServerError),
}
