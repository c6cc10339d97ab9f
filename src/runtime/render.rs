//! Rendering a view may panic like any other code of the core. Then the others are shown all the same, and the watch goes on.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::core::{
    name::{IncidentId, ServiceIndex},
    time::BootTime,
};

/// A view that could not be rendered is tried again after so long: it may have been what it showed just then, and each try
/// that panics is two lines of the log.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Which view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum View {
    Service(ServiceIndex),
    Deploys(ServiceIndex),
    Incident(IncidentId),
    Daemon,
}

/// Renders views, each by itself.
#[derive(Debug, Default)]
pub(super) struct Renderer {
    failed: BTreeMap<View, BootTime>,
}

impl Renderer {
    /// What `render` makes; none if that panics, or did within [`AGAIN_AFTER`]. What is shown then stays as it was.
    pub(super) fn render<T>(&mut self, view: View, now: BootTime, render: impl FnOnce() -> T) -> Option<T> {
        if self.failed.get(&view).is_some_and(|failed| now.since(*failed) < AGAIN_AFTER) {
            return None;
        }
        // Views are made of the state and change nothing in it but what is reckoned anew each time.
        let rendered = catch_unwind(AssertUnwindSafe(render)).ok();
        if rendered.is_some() {
            self.failed.remove(&view);
        } else {
            tracing::error!(?view, "failed to render a view: it panicked; what is shown is older");
            self.failed.insert(view, now);
        }
        rendered
    }

    /// Whatever failed is tried again at once: it is made of something else now.
    pub(super) fn begin_anew(&mut self) {
        self.failed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_panics_is_left_out_and_tried_again_later() {
        let mut renderer = Renderer::default();
        let begin = BootTime::from_nanos(0);
        let (ill, well) = (View::Service(ServiceIndex(0)), View::Service(ServiceIndex(1)));
        let mut tries = 0;
        for second in 0..120 {
            let now = begin.after(Duration::from_secs(second));
            let shown = renderer.render(ill.clone(), now, || -> u64 {
                tries += 1;
                assert!(second >= 100, "a mistake in a view");
                second
            });
            assert_eq!(shown, (second >= 120).then_some(second));
            assert_eq!(renderer.render(well.clone(), now, || second), Some(second), "the others are shown");
        }
        assert_eq!(tries, 2, "at once, and after a minute");
        let now = begin.after(Duration::from_secs(120));
        assert_eq!(renderer.render(ill.clone(), now, || 7), Some(7));
        assert_eq!(renderer.render(ill, now, || 8), Some(8), "it is well again");
    }

    #[test]
    fn of_another_state_everything_is_tried_at_once() {
        let mut renderer = Renderer::default();
        let now = BootTime::from_nanos(0);
        assert_eq!(renderer.render(View::Daemon, now, || -> u64 { panic!("a mistake in a view") }), None);
        renderer.begin_anew();
        assert_eq!(renderer.render(View::Daemon, now, || 7), Some(7));
    }
}
