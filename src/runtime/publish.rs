//! Pins finished views to the board, a few times a second.

use std::{sync::Arc, time::Duration};

use crate::{
    core::{
        action::Action,
        engine::State,
        event::Sequence,
        name::ServiceIndex,
        policy::Policy,
        time::{BootTime, Now},
        view::DaemonView,
    },
    serve::{Publisher, metrics::Metrics},
};

/// The board is renewed so often.
pub(super) const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// Services whose view is renewed in one go because something happened to them: a thousand must not hold the loop up.
const VIEWS_AT_ONCE: usize = 64;
/// And of those to which nothing happened: their ages and clocks move all the time, and nothing else does.
const QUIET_VIEWS_AT_ONCE: usize = 16;

/// What was published last.
pub(super) struct Press {
    publisher: Publisher,
    metrics: Arc<Metrics>,
    published_at: Option<BootTime>,
    last: Sequence,
    next_quiet: usize,
    next_stirred: ServiceIndex,
    /// The next renewal leaves nothing out.
    renews_all: bool,
}

impl Press {
    pub(super) fn new(publisher: Publisher, metrics: Arc<Metrics>) -> Self {
        Self { publisher, metrics, published_at: None, last: Sequence(0), next_quiet: 0, next_stirred: ServiceIndex(0), renews_all: true }
    }

    /// Hands what was appended to the readers of events.
    pub(super) fn appended(&self, actions: &[Action]) {
        for action in actions {
            if let Action::Append { sequence, entry } = action {
                self.publisher.appended(*sequence, entry);
            }
        }
    }

    /// From here on the services are those of `policy`.
    pub(super) fn reload(&mut self, policy: &Policy) {
        self.publisher.reload(policy);
        self.metrics.reload(policy);
        self.next_quiet = 0;
        self.renews_all = true;
    }

    /// The process is about to end.
    pub(super) fn ending(&self) {
        self.publisher.ending();
    }

    /// Whether anything was published.
    pub(super) const fn has_begun(&self) -> bool {
        self.published_at.is_some()
    }

    /// Notes that the loop turned, and says whether the board is to be renewed.
    pub(super) fn is_due(&self, now: BootTime) -> bool {
        self.publisher.turned(now);
        self.published_at.is_none_or(|at| now.since(at) >= PUBLISH_EVERY)
    }

    /// Renews the board. `configuration` says why the one on disk is not in force, where it is not.
    pub(super) fn publish(&mut self, state: &mut State, configuration: Option<String>, now: Now) {
        let is_first = self.published_at.is_none();
        let renews_all = std::mem::take(&mut self.renews_all);
        self.published_at = Some(now.boot);
        let count = state.service_count();
        let decided = state.durable().last != self.last;
        if decided || renews_all {
            self.last = state.durable().last;
            self.publisher.incidents(state.incidents_view().into_iter().map(Arc::new).collect());
            for place in 0..count {
                let index = ServiceIndex(u32::try_from(place).expect("the configuration bounds services"));
                self.publisher.deploys(index, state.deploys_view(index));
            }
        }
        for index in state.take_stirred(self.next_stirred, if renews_all { count } else { VIEWS_AT_ONCE }) {
            self.next_stirred = ServiceIndex(index.0 + 1);
            if !renews_all {
                self.renew(state, index, now);
            }
        }
        for _ in 0..if renews_all { count } else { count.min(QUIET_VIEWS_AT_ONCE) } {
            let index = ServiceIndex(u32::try_from(self.next_quiet).expect("the configuration bounds services"));
            self.renew(state, index, now);
            self.next_quiet = (self.next_quiet + 1) % count;
        }
        let daemon = DaemonView { configuration, ..state.daemon_view(now) };
        self.metrics.daemon(&daemon);
        self.publisher.daemon(daemon);
        if is_first {
            self.publisher.started();
        }
    }

    fn renew(&self, state: &mut State, index: ServiceIndex, now: Now) {
        let view = state.service_view(now, index);
        self.metrics.conditions(index, &view);
        self.publisher.service(index, view);
    }
}
