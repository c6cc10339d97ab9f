//! A watch goes on under a changed policy: what is asked and taken as before keeps its windows, streaks and answers.

use std::{collections::BTreeSet, sync::Arc};

use super::{Dirty, Watch, atom};
use crate::core::{
    name::{SignalIndex, SignalName},
    policy::{Atom, ServicePolicy},
    time::{BootTime, Now},
    window::View,
};

impl Watch {
    /// The watch of the changed `policy`. A signal keeps its windows and its streak where neither its own policy nor the
    /// windows that are asked of it changed, and it is not among the `redefined`: those measure something else by now.
    /// An atom keeps its hysteresis where it is the same question about such a signal. A "for" goes on only where no
    /// condition changed; otherwise it begins anew.
    #[must_use]
    pub fn carried_over(mut self, policy: &Arc<ServicePolicy>, redefined: &BTreeSet<SignalName>, now: Now) -> Self {
        let old = Arc::clone(&self.policy);
        let mut next = Self::new(Arc::clone(policy), now);
        let mut places: Vec<Option<SignalIndex>> = vec![None; old.signals.len()];
        for (place, signal) in (0_u16..).zip(&policy.signals) {
            let Some(before) = old.signal_index(signal.name.as_str()) else { continue };
            let place = SignalIndex(place);
            if redefined.contains(&signal.name)
                || old.signals[before.get()] != *signal
                || views(&old, before) != views(policy, place)
            {
                continue;
            }
            std::mem::swap(&mut next.signals[place.get()], &mut self.signals[before.get()]);
            next.signals[place.get()].quiet = false;
            places[before.get()] = Some(place);
        }
        for (state, atom) in next.atoms.iter_mut().zip(&policy.atoms) {
            if let Some(before) = old.atoms.iter().position(|before| moved(before, &places).as_ref() == Some(atom)) {
                std::mem::swap(state, &mut self.atoms[before]);
                state.signal = atom::signal_of(atom);
                state.due = BootTime::START;
            }
        }
        let all_kept = places.iter().enumerate().all(|(place, kept)| kept.is_some_and(|kept| kept.get() == place));
        if all_kept && old.atoms == policy.atoms && old.conditions == policy.conditions {
            next.sustained = self.sustained;
            next.conditions = self.conditions;
            next.counting = true;
            if old.tree == policy.tree {
                next.verdict = self.verdict;
            }
        }
        next.forgiven_at = self.forgiven_at;
        next.dirty = Dirty::Several;
        next
    }
}

/// The windows that are asked of a signal: of its counts, and of its histogram.
fn views(policy: &ServicePolicy, signal: SignalIndex) -> (Vec<View>, Vec<View>) {
    let atoms = || policy.atoms.iter().filter(|atom| atom::signal_of(atom) == Some(signal));
    let slow = atoms().filter(|atom| matches!(atom, Atom::Latency { .. }));
    (
        atoms().filter_map(atom::rate_limit).map(atom::view_of).collect(),
        slow.filter_map(atom::rate_limit).map(atom::view_of).collect(),
    )
}

/// The same question where signals stand in other places; none if it is about a signal that was not kept.
fn moved(atom: &Atom, places: &[Option<SignalIndex>]) -> Option<Atom> {
    let mut moved = atom.clone();
    if let Atom::Failing { signal, .. } | Atom::ErrorRate { signal, .. } | Atom::Latency { signal, .. } = &mut moved {
        *signal = places[signal.get()]?;
    }
    Some(moved)
}
