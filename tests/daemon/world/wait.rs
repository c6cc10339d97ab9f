//! Waiting without guessing: look again and again until it is so.

use std::time::{Duration, Instant};

/// Far longer than anything here takes, on a machine that does much else besides.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until there is something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    panic!("{what}: not within {PATIENCE:?}");
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}

/// Goes on for `time`: for showing that something does *not* happen.
pub(crate) fn all_along(time: Duration, mut check: impl FnMut()) {
    let began = Instant::now();
    while began.elapsed() < time {
        check();
        std::thread::sleep(LOOK_EVERY);
    }
}
