//! Certificates that will expire: told while there is time to renew them.
//!
//! An expired one turns every client away, which the probes see as the service's failure; by then it is too late to be
//! told gently.

use std::{collections::BTreeMap, time::Duration};

use super::{page::Draft, service::Service, turn::Turn};
use crate::core::{
    durable::CertificateRecord,
    entry::Fact,
    name::{SignalIndex, SignalName},
    page::PageKind,
    policy::Finding,
    time::{BootTime, Now, WallTime},
    watch::SignalView,
};

/// People are told when a certificate expires within each of these, in days. Automatic renewal begins a month before the
/// end, as a rule: at two weeks it has failed for two weeks, and there is still time for a person. Then again when it is
/// urgent, and on the last day.
pub const TOLD_WITHIN_DAYS: [u16; 3] = [14, 3, 1];

/// A certificate counts as renewed once no signal has seen it for so long. Several instances may stand behind one address,
/// each with its own: they take turns with every sample, and an old one that is still served is seen within the hour.
const RENEWED_AFTER: Duration = Duration::from_secs(3600);

/// A wall clock that is wrong by less than this brings no bound so near that it has to be told again.
const WRONG_BY: Duration = Duration::from_secs(86_400);

/// Certificates of one signal that are remembered; instances that are rolled over one by one have fewer.
const SEEN_LIMIT: usize = 64;

/// What a signal saw of certificates.
#[derive(Debug)]
struct Seen {
    /// When the last one expires.
    last: WallTime,
    /// When the first one was seen: since then an old one would have been, too.
    begun: BootTime,
    /// When each was last seen, by its end; those of the last [`RENEWED_AFTER`].
    lately: BTreeMap<WallTime, BootTime>,
}

/// What each signal saw of certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates(BTreeMap<SignalIndex, Seen>);

impl Certificates {
    pub(super) fn seen(&mut self, now: BootTime, signal: SignalIndex, expires: WallTime) {
        let seen = self.0.entry(signal).or_insert_with(|| Seen { last: expires, begun: now, lately: BTreeMap::new() });
        seen.last = expires;
        seen.lately.insert(expires, now);
        seen.lately.retain(|_, at| now.since(*at) < RENEWED_AFTER);
        if seen.lately.len() > SEEN_LIMIT
            && let Some(oldest) = seen.lately.iter().min_by_key(|(_, at)| **at).map(|(expires, _)| *expires)
        {
            seen.lately.remove(&oldest);
        }
    }

    /// Whether that one was seen by no signal for long enough, while `signal` was sampled.
    fn is_renewed(&self, now: BootTime, signal: SignalIndex, expires: WallTime) -> bool {
        let is_late = |at: BootTime| now.since(at) >= RENEWED_AFTER;
        let sampled = self.0.get(&signal).is_some_and(|seen| is_late(seen.begun) && seen.last != expires);
        sampled && self.0.values().all(|seen| seen.lately.get(&expires).is_none_or(|at| is_late(*at)))
    }
}

/// Whether `expires` is so near that people are told.
pub fn is_expiring(expires: WallTime, now: WallTime) -> bool {
    bound(expires, now).is_some()
}

/// The shortest bound that was passed.
fn bound(expires: WallTime, now: WallTime) -> Option<u16> {
    let left = expires.since(now);
    TOLD_WITHIN_DAYS.into_iter().filter(|&days| left <= Duration::from_secs(u64::from(days) * 86_400)).min()
}

impl Service {
    /// Every signal as people see it, with its certificate.
    pub(super) fn signal_views(&self, now: Now) -> Vec<SignalView> {
        let mut views = self.watch.signals(now);
        for (signal, seen) in &self.certificates.0 {
            views[signal.get()].certificate_expires = Some(seen.last);
        }
        views
    }

    /// Tells of certificates that will expire, each once for each bound, and when one was replaced.
    pub(super) fn follow_certificates(&mut self, turn: &mut Turn<'_>) {
        if self.certificates.0.is_empty() {
            return;
        }
        let seen: Vec<(SignalIndex, WallTime)> =
            self.certificates.0.iter().map(|(signal, seen)| (*signal, seen.last)).collect();
        for (signal, expires) in &seen {
            self.certificate_replaced(turn, *signal, *expires);
        }
        for (signal, expires) in &seen {
            self.certificate_expires(turn, *signal, *expires);
        }
        self.drop_certificates(turn);
    }

    fn certificate_replaced(&self, turn: &mut Turn<'_>, signal: SignalIndex, expires: WallTime) {
        let name = &self.policy.signals[signal.get()].name;
        let Some(told) = turn.record(&self.name).certificates.get(name).copied() else { return };
        if !self.certificates.is_renewed(turn.now.boot, signal, told.expires) {
            return;
        }
        turn.append(Some(&self.name), Fact::CertificateReplaced { signal: name.clone() });
        if !is_expiring(expires, turn.now.wall) {
            let summary = format!("{}: the certificate that {name} sees was renewed, until {expires}", self.name);
            let finding = Finding::CertificateExpiring;
            let draft = Draft::finding(PageKind::SignalRestored, Some(&self.name), finding, summary);
            turn.page(draft.action("Nothing to do."));
        }
    }

    fn certificate_expires(&self, turn: &mut Turn<'_>, signal: SignalIndex, expires: WallTime) {
        let Some(within_days) = bound(expires, turn.now.wall) else { return };
        // Several signals may see one certificate, and one signal several by turns; each is told of once. What was told
        // at a time that has not come yet was told by a clock that was wrong, and is told again.
        let not_before = turn.now.wall.after(WRONG_BY);
        let is_same = |told: &CertificateRecord| {
            told.expires == expires && told.within_days <= within_days && told.at.is_none_or(|at| at <= not_before)
        };
        let record = turn.record(&self.name);
        if record.certificates_told.iter().chain(record.certificates.values()).any(is_same) {
            return;
        }
        let signal = &self.policy.signals[signal.get()].name;
        turn.append(Some(&self.name), Fact::CertificateTold { signal: signal.clone(), expires, within_days });
        let left = expires.since(turn.now.wall);
        let summary = format!("{}: the certificate that {signal} sees {}", self.name, words(left, expires));
        let finding = Finding::CertificateExpiring;
        turn.page(Draft::finding(PageKind::IncidentEscalated, Some(&self.name), finding, summary));
    }

    /// Of signals that are no longer taken nothing is known any more.
    fn drop_certificates(&self, turn: &mut Turn<'_>) {
        let told = turn.record(&self.name).certificates.keys();
        let gone: Vec<SignalName> =
            told.filter(|signal| self.policy.signal_index(signal.as_str()).is_none()).cloned().collect();
        for signal in gone {
            turn.append(Some(&self.name), Fact::CertificateReplaced { signal });
        }
    }
}

/// How long it still holds, in the unit that says enough.
fn words(left: Duration, expires: WallTime) -> String {
    let hours = left.as_secs() / 3600;
    match hours {
        0 if left.is_zero() => format!("has expired, at {expires}"),
        0 => format!("expires within the hour, at {expires}"),
        1..48 => format!("expires in {hours} h, at {expires}"),
        _ => format!("expires in {} days, at {expires}", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    #[test]
    fn bounds_and_words() {
        let now = WallTime::from_millis(1_780_000_000_000);
        for (left, expected, said) in [
            (15 * DAY, None, "expires in 15 days"),
            (14 * DAY + 1, None, "expires in 14 days"),
            (14 * DAY, Some(14), "expires in 14 days"),
            (3 * DAY + 1, Some(14), "expires in 3 days"),
            (3 * DAY, Some(3), "expires in 3 days"),
            (DAY + HOUR, Some(3), "expires in 25 h"),
            (DAY, Some(1), "expires in 24 h"),
            (HOUR - 1, Some(1), "expires within the hour"),
            (0, Some(1), "has expired"),
        ] {
            let left = Duration::from_secs(left);
            let expires = now.after(left);
            assert_eq!(bound(expires, now), expected, "{left:?}");
            let words = words(left, expires);
            assert!(words.starts_with(said), "{words}");
        }
    }
}
