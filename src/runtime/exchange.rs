//! Puts another configuration in force between two turns of the loop: core, edges, board and tokens together, or nothing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{
    reload::{Done, Exchange, Refused},
    start::RunError,
    turn::{Loop, SAMPLE_QUEUE_LIMIT},
};
use crate::core::{
    action::Actions,
    engine::Reload,
    name::{ServiceIndex, SignalIndex},
    policy::Policy,
};

impl Loop {
    /// Puts it in force, if the core can take it now.
    pub(super) fn exchange(&mut self, exchange: Exchange, actions: &mut Actions) -> Result<(), RunError> {
        let Exchange { mut prepared, difference, reply } = exchange;
        // What was sampled under the old configuration is counted under it. The old prober's queue ends with it.
        self.take_samples(SAMPLE_QUEUE_LIMIT, actions)?;
        let now = self.hands.clock.now();
        let old = Arc::clone(&self.hands.edges.config);
        let policy = Arc::clone(&prepared.config.policy);
        let reload =
            Reload { policy: Arc::clone(&policy), retargeted: difference.retargeted, redefined: difference.redefined };
        let state = &mut self.state;
        let reloaded = match catch_unwind(AssertUnwindSafe(|| state.reload(now, &reload, actions))) {
            Ok(Ok(reloaded)) => reloaded,
            Ok(Err(refused)) => {
                // Whoever waited for it is gone only when the process ends.
                let _ = reply.send(Err(refused.into()));
                return Ok(());
            }
            Err(_) => {
                actions.clear();
                let _ = reply.send(Err(Refused::Panicked));
                return self.fold_anew();
            }
        };
        self.register.reload(&policy, |name| {
            let find = |policy: &Policy| policy.services.iter().find(|service| service.name == *name).cloned();
            find(&old.policy) == find(&policy)
                && !reload.retargeted.contains(name)
                && !reload.redefined.contains_key(name)
        });
        self.hands.completions = self.hands.completions.next();
        let kept = |service: ServiceIndex, signal: SignalIndex| kept_signal(&old.policy, &reload, service, signal);
        prepared.adopt(&self.hands.edges.prober.checker(), kept);
        let (sender, samples) = mpsc::channel(SAMPLE_QUEUE_LIMIT);
        self.samples = samples;
        self.hands.edges =
            prepared.begin(&sender, &self.hands.completions, (&self.installation, &self.steps), self.state.durable());
        let config = Arc::clone(&self.hands.edges.config);
        self.tokens.replace(&config.server.tokens);
        self.press.reload(&policy);
        self.press.appended(actions);
        self.hands.carry_out(actions);
        let _ = reply.send(Ok(Done { config, reloaded }));
        Ok(())
    }
}

/// Where a signal stood under the old policy, if it is taken just as it was.
fn kept_signal(
    old: &Policy,
    reload: &Reload,
    service: ServiceIndex,
    signal: SignalIndex,
) -> Option<(ServiceIndex, SignalIndex)> {
    let after = &reload.policy.services[service.get()];
    let policy = &after.signals[signal.get()];
    let place = old.service_index(after.name.as_str())?;
    let before = &old.services[place.get()];
    let index = before.signal_index(policy.name.as_str())?;
    let redefined = reload.redefined.get(&after.name).is_some_and(|names| names.contains(&policy.name));
    (before.signals[index.get()] == *policy && !redefined).then_some((place, index))
}
