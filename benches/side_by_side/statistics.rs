//! Order statistics.

use std::time::Duration;

/// The value that a share `quantile` of all does not exceed (nearest rank); zero of none.
pub(crate) fn quantile(values: &[Duration], quantile: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the list")]
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

/// The middle one.
pub(crate) fn median(values: &[Duration]) -> Duration {
    quantile(values, 0.5)
}
