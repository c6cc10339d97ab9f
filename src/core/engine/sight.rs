//! What was last seen of a service's target and of its version endpoint.

use std::time::Duration;

use crate::core::{
    name::Version,
    release::{LiveInstances, Observation},
    sample::Reason,
    time::{BootTime, Now},
};

/// A look that has not come back after this is asked for again; the runtime ends its own looks sooner.
const LOOK_LOST_AFTER: Duration = Duration::from_secs(60);

/// A target that could not be seen for so long is told: rolling back would not be possible just now.
const TROUBLE_TOLD_AFTER: Duration = Duration::from_secs(30);

/// What was last seen.
#[derive(Debug, Default)]
pub(super) struct Sight {
    asked_at: Option<BootTime>,
    seen: Option<(BootTime, Observation)>,
    looked_at: Option<BootTime>,
    /// When the last look began that told what is live, or could not see the target at all.
    told_at: Option<BootTime>,
    trouble: Option<Reason>,
    /// Why instances of the live release fail, in the last look that saw the target.
    instances: Option<String>,
    troubled_since: Option<BootTime>,
    /// Since when what is live has not been seen, where it could have been.
    unseen_since: Option<BootTime>,
    live_version: Option<(BootTime, Version)>,
    /// Whether the target ever told what is live, since this process watches it.
    tells_current: bool,
    /// The deploy that was still live in a look after the last plan's end.
    stays: Option<u64>,
    /// The version that somebody announced since the last plan's end, until another one is live.
    expected: Option<Version>,
    /// What the version endpoint said last, and how often in a row, while the target could not tell.
    in_a_row: Option<(Version, u32)>,
}

impl Sight {
    /// Notes that a look is wanted. False if one is under way.
    pub(super) fn ask(&mut self, now: Now) -> bool {
        if self.asked_at.is_some_and(|asked| now.boot.since(asked) < LOOK_LOST_AFTER) {
            return false;
        }
        self.asked_at = Some(now.boot);
        true
    }

    /// Takes a look in. True if it was asked for, or saw anything else than the one before.
    pub(super) fn looked(&mut self, now: Now, observation: Result<Observation, Reason>, began: BootTime) -> bool {
        let observation = observation.and_then(Observation::there);
        let was_asked = self.asked_at.take().is_some();
        let is_news = match (&observation, &self.trouble) {
            (Ok(new), None) => self.seen.as_ref().is_none_or(|(_, seen)| seen != new),
            _ => true,
        };
        self.looked_at = Some(began);
        // Where it does not tell, a deploy may have begun of which it will.
        if observation.as_ref().map_or(true, |seen| seen.untold.is_none()) {
            self.told_at = Some(began);
        }
        match observation {
            Ok(observation) => {
                self.tells_current |= observation.current.is_some();
                let partly = || observation.partial_failure().map(LiveInstances::words);
                self.instances = observation.failing.clone().or_else(partly);
                self.seen = Some((began, observation));
                self.trouble = None;
                self.troubled_since = None;
            }
            Err(reason) => {
                self.troubled_since.get_or_insert(now.boot);
                self.trouble = Some(reason);
            }
        }
        self.unseen_since = self.unseen().is_some().then(|| self.unseen_since.unwrap_or(now.boot));
        was_asked || is_news
    }

    /// A look came back that began before what is live was changed by us.
    pub(super) fn overtaken(&mut self) {
        self.asked_at = None;
    }

    /// A look that began while no plan was under way found that deploy live still.
    pub(super) fn seen_to_stay(&mut self, deploy: u64) {
        self.stays = Some(deploy);
    }

    /// A plan begins: whether its deploy stays is another question from here on.
    pub(super) fn plan_begins(&mut self) {
        self.stays = None;
        self.expected = None;
    }

    /// Somebody says that this version comes.
    pub(super) fn expect(&mut self, version: Version) {
        self.expected = Some(version);
    }

    /// Another one came, or this one.
    pub(super) fn nothing_is_expected(&mut self) {
        self.expected = None;
    }

    /// Whether somebody said so, since the last plan's end.
    pub(super) fn is_expected(&self, version: &Version) -> bool {
        self.expected.as_ref().is_some_and(|expected| same_version(expected, version))
    }

    /// Whether that deploy was seen to be live still after the last plan's end. What an earlier process saw is not known.
    pub(super) fn stayed(&self, deploy: u64) -> bool {
        self.stays == Some(deploy)
    }

    pub(super) fn version_seen(&mut self, now: Now, version: Result<Version, Reason>) {
        if let Ok(version) = version {
            self.live_version = Some((now.boot, version));
        }
    }

    /// Whether the target told what is live, in any look since this process watches it.
    pub(super) fn tells_current(&self) -> bool {
        self.tells_current
    }

    /// How often in a row the version endpoint has said this by now.
    pub(super) fn said_in_a_row(&mut self, version: &Version) -> u32 {
        let before = self.in_a_row.take().filter(|(said, _)| said == version).map_or(0, |(_, times)| times);
        let times = before.saturating_add(1);
        self.in_a_row = Some((version.clone(), times));
        times
    }

    /// What the version endpoint said so far is no witness of anything.
    pub(super) fn forget_answers(&mut self) {
        self.in_a_row = None;
    }

    /// The last look that saw something, unless a later one failed.
    pub(super) fn observation(&self) -> Option<&Observation> {
        self.seen.as_ref().map(|(_, observation)| observation).filter(|_| self.trouble.is_none())
    }

    /// Why the target could not be seen, if the last look failed.
    pub(super) fn trouble(&self) -> Option<&Reason> {
        self.trouble.as_ref()
    }

    /// Why the last look did not see what is live, where it could have: the target could not be seen, or did not tell.
    pub(super) fn unseen(&self) -> Option<&str> {
        let untold = || self.observation().and_then(|seen| seen.untold.as_deref());
        self.trouble.as_ref().map(Reason::as_str).or_else(untold)
    }

    /// Why and since when the target could not be seen, if it has not been for long.
    pub(super) fn long_trouble(&self, now: Now) -> Option<&Reason> {
        let since = self.troubled_since.filter(|since| now.boot.since(*since) >= TROUBLE_TOLD_AFTER)?;
        self.trouble.as_ref().filter(|_| since <= now.boot)
    }

    /// What was live at the target when it was last seen, and what the service said last that it is; in words.
    pub(super) fn last_seen(&self, or: &str) -> String {
        let current = self.observation().and_then(|seen| seen.current.as_ref()).map(|release| &release.version);
        let said = self.live_version.as_ref().map(|(_, version)| version);
        match (current, said) {
            (Some(current), Some(said)) => {
                format!("When last seen, the target had {current} live, and the service said that it is {said}.")
            }
            (Some(current), None) => format!("When last seen, the target had {current} live."),
            (None, Some(said)) => format!("When last asked, the service said that it is {said}; {or}"),
            (None, None) => or.to_owned(),
        }
    }

    /// Why instances of the live release fail, and whether the target can be seen just now.
    pub(super) fn instances_failing(&self) -> Option<(&str, bool)> {
        self.instances.as_deref().map(|why| (why, self.trouble.is_none()))
    }

    /// Why the target has not been seen for so long, if it has not: neither looked at, nor told what is live.
    pub(super) fn out_of_sight(&self, now: Now, lasting: Duration) -> Option<&str> {
        let since = self.unseen_since?;
        self.unseen().filter(|_| now.boot.since(since) >= lasting)
    }

    /// When the last look at the target began, whatever came of it.
    pub(super) fn looked_at(&self) -> Option<BootTime> {
        self.looked_at
    }

    /// When the last look began that did not leave open what is live, whatever came of it.
    pub(super) fn told_at(&self) -> Option<BootTime> {
        self.told_at
    }

    /// What the version endpoint said after `since`.
    pub(super) fn live_version_after(&self, since: BootTime) -> Option<&Version> {
        self.live_version.as_ref().filter(|(at, _)| *at >= since).map(|(_, version)| version)
    }
}

/// Whether two names mean the same version: `v1.2.3` as a directory and `1.2.3` at the endpoint do.
pub(super) fn same_version(one: &Version, other: &Version) -> bool {
    let bare = |version: &'_ Version| -> String {
        let text = version.as_str();
        match text.strip_prefix('v') {
            Some(rest) if rest.starts_with(|first: char| first.is_ascii_digit()) => rest.to_owned(),
            _ => text.to_owned(),
        }
    };
    one == other || bare(one) == bare(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_v_before_a_digit_is_no_difference() {
        let same = |one: &str, other: &str| same_version(&one.into(), &other.into());
        assert!(same("v1.2.3", "1.2.3") && same("1.2.3", "v1.2.3") && same("vega", "vega"));
        assert!(!same("vega", "ega") && !same("v1.2.3", "1.2.4"));
    }
}
