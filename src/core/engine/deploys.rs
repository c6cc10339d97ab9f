//! Deploys: noticing them, following their rollouts, and letting releases soak.

use std::time::Duration;

use super::{
    page::Draft,
    service::{Service, rollout_since},
    sight::same_version,
    turn::Turn,
};
use crate::core::{
    durable::Rollout,
    entry::Fact,
    gate::{Gate, words},
    name::Version,
    page::PageKind,
    policy::Finding,
    release::{Deploy, DeploySource, Observation, Release, Standing},
    saga::StepStatus,
    time::{BootTime, Now},
    verdict::VerdictKind,
};

/// Where no version endpoint can confirm that the new release answers, and no probe failed meanwhile, a rollout counts
/// as over after this share of its settling time: by then a restart would have shown.
const UNCONFIRMED_SHARE_OF_SETTLE: u32 = 8;

/// A version endpoint says another version so many times in a row before it counts as a deploy, where the target cannot
/// tell: while a release is exchanged, and behind a balancer, older and newer instances answer by turns.
const ENDPOINT_ANSWERS_NEEDED: u32 = 3;

/// Healthy time is put into the journal so many times on the way to known-good: a restart loses at most one such part.
const SOAK_PARTS: u32 = 10;

/// Someone said that a deploy or restart is coming.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    pub(super) version: Version,
    pub(super) at: BootTime,
    pub(super) until: BootTime,
    pub(super) by: String,
}

impl Service {
    /// Until when an announced restart may take, while it does.
    pub(super) fn announced_until(&self, now: Now) -> Option<BootTime> {
        self.rollout.announced.as_ref().map(|announced| announced.until).filter(|until| *until > now.boot)
    }

    /// Compares what the target says is live with what the journal says.
    pub(super) fn notice_deploys(&mut self, turn: &mut Turn<'_>, observation: &Observation) {
        let Some(current) = observation.current.clone() else { return };
        let record = turn.record(&self.name);
        match record.live() {
            None => self.deployed(turn, current, DeploySource::FirstSeen, None),
            Some(live) if live.deploy.release.agrees_with(&current) => {
                // An attempt that has not come back may still change what is live.
                if self.flying.is_none() {
                    self.sight.seen_to_stay(live.deploy.number);
                }
            }
            Some(_) if self.is_left_by_a_rollback(turn, &current.version) => {
                self.deployed(turn, current, DeploySource::Rollback, None);
            }
            Some(_) => {
                let announced = self.rollout.announced.take_if(|one| same_version(&one.version, &current.version));
                match announced {
                    Some(one) => self.deployed(turn, current, DeploySource::Reported, Some(one.by)),
                    None => self.deployed(turn, current, DeploySource::Target, None),
                }
            }
        }
    }

    /// Whether a plan of ours made this version live, or may have without having seen it, and nobody's deploy was seen at
    /// the target since: then it is no deploy of somebody, and no place to go further back from. What only a version
    /// endpoint said, or we believed to have switched to, is no proof that somebody came between. Nor is it that a target
    /// says to have taken a switch back, until a look after the plan's end found it so, or somebody announced the version:
    /// whoever puts that live then did it, not we.
    fn is_left_by_a_rollback(&self, turn: &Turn<'_>, version: &Version) -> bool {
        let durable = &turn.ledger.durable;
        let plans = || durable.incidents.values().filter(|one| one.service == self.name).flat_map(|one| &one.plans);
        let may_have_led_here = |from: u64| {
            plans().filter(|plan| plan.ended.is_some() && plan.deploy == from && same_version(&plan.to, version)).any(
                |plan| {
                    let status = plan.switch_status();
                    let is_taken_back = self.sight.stayed(from) || self.sight.is_expected(version);
                    status.may_have_changed_the_world() || (status == StepStatus::Undone && !is_taken_back)
                },
            )
        };
        for known in durable.service(&self.name).deploys.iter().rev() {
            let Deploy { number, release, source, .. } = &known.deploy;
            let is_ours = *source == DeploySource::Rollback;
            if (is_ours && same_version(&release.version, version)) || may_have_led_here(*number) {
                return true;
            }
            if !is_ours && *source != DeploySource::VersionEndpoint {
                return false;
            }
        }
        false
    }

    /// A version endpoint is the only witness where the target cannot tell what is live: as long as a link was never seen
    /// that is not there yet, of a service that runs without it. Where it ever could, it is only silent for a moment (a
    /// link that is just being exchanged): what is live is what it told last, until it tells again.
    pub(super) fn notice_version(&mut self, turn: &mut Turn<'_>, version: &Version) {
        let is_driven = turn.open_incident(&self.name).is_some_and(|one| one.active_plan().is_some());
        let cannot_tell = self.sight.observation().is_some_and(|seen| seen.current.is_none());
        if is_driven || !cannot_tell || self.target_tells_current(turn) {
            self.sight.forget_answers();
            return;
        }
        let live = turn.record(&self.name).live().map(|live| &live.deploy.release.version);
        if live.is_some_and(|live| same_version(live, version)) {
            self.sight.forget_answers();
            return;
        }
        let source = match live {
            None => DeploySource::FirstSeen,
            Some(_) if self.is_left_by_a_rollback(turn, version) => DeploySource::Rollback,
            Some(_) => DeploySource::VersionEndpoint,
        };
        if self.sight.said_in_a_row(version) >= ENDPOINT_ANSWERS_NEEDED {
            self.sight.forget_answers();
            self.deployed(turn, Release::of(version.clone()), source, None);
        }
    }

    /// Whether the target ever told what is live, to this process or to one before.
    fn target_tells_current(&self, turn: &Turn<'_>) -> bool {
        let told = |deploy: &Deploy| match deploy.source {
            DeploySource::FirstSeen => !deploy.by_endpoint_alone,
            DeploySource::Target | DeploySource::Reported => true,
            DeploySource::VersionEndpoint | DeploySource::Rollback => false,
        };
        self.sight.tells_current() || turn.record(&self.name).deploys.iter().any(|one| told(&one.deploy))
    }

    /// A release became live.
    pub(super) fn deployed(&mut self, turn: &mut Turn<'_>, release: Release, source: DeploySource, by: Option<String>) {
        let record = turn.record(&self.name);
        let number = record.next_deploy();
        let standing = record.standing(&release.version);
        let baseline = match source {
            DeploySource::FirstSeen => Vec::new(),
            // After a rollback one compares with what was before the bad deploy, not with the bad deploy.
            DeploySource::Rollback => record.live().map(|live| live.baseline.clone()).unwrap_or_default(),
            // What was measured is not the release's that the target had live: what was before that counts on.
            _ if self.is_contradicted(turn.now) => record.live().map(|live| live.baseline.clone()).unwrap_or_default(),
            _ => self.watch.baseline(turn.now),
        };
        let version = release.version.clone();
        let by_endpoint_alone = source == DeploySource::FirstSeen && !self.sight.tells_current();
        let deploy = Deploy { number, release, at: turn.now.wall, source, by, by_endpoint_alone };
        turn.append(Some(&self.name), Fact::Deployed { deploy });
        self.sight.nothing_is_expected();
        if !baseline.is_empty() {
            turn.append(Some(&self.name), Fact::BaselineTaken { deploy: number, latency_seconds: baseline });
        }
        self.soak = super::service::Soak::default();
        self.rollout.since = Some((number, turn.now.boot));
        self.rollout.failed_at = self.watch.failing_since();
        match source {
            DeploySource::FirstSeen => {
                turn.append(Some(&self.name), Fact::RolloutEnded { deploy: number, healthy: true });
            }
            DeploySource::Rollback => {
                self.void_approval(turn, &format!("{version} is live"));
                return;
            }
            _ => {
                // What was seen of the release before does not accuse this one, not even until its rollout ends.
                self.watch.cut(turn.now);
                self.evaluate(turn);
                self.overtaken_by_deploy(turn, &version);
            }
        }
        if standing == Standing::KnownBad {
            self.meet_known_bad(turn, &version);
        }
        self.tell_nothing_to_go_back_to(turn, &version);
    }

    fn tell_nothing_to_go_back_to(&self, turn: &mut Turn<'_>, version: &Version) {
        let gates = self.situation(turn).reports();
        let known_good = gates.iter().find(|report| report.gate == Gate::KnownGood);
        if let Some(report) = known_good.filter(|report| report.answer == crate::core::answer::Answer::No) {
            let summary = format!("{}: {version} could not be rolled back if it had to be: {}", self.name, report.why);
            let finding = Finding::NothingToGoBackTo;
            let draft = Draft::finding(PageKind::IncidentEscalated, Some(&self.name), finding, summary);
            turn.page(self.advise(turn, draft));
        }
    }

    /// Where the target has no other release there is none to mark; what the configuration says goes first.
    pub(super) fn advise(&self, turn: &Turn<'_>, draft: Draft) -> Draft {
        let finding = Finding::NothingToGoBackTo;
        let is_alone = self.sight.observation().is_some_and(|seen| seen.available.is_empty());
        if is_alone && turn.policy.escalation.action(finding) == finding.default_action() {
            draft.action(
                "The target has no other release, so there is none to mark: once this one is known to be good, the next \
                 deploy can be rolled back.",
            )
        } else {
            draft
        }
    }

    /// Ends a rollout at its first healthy answer, or when its time is over.
    pub(super) fn follow_rollout(&mut self, turn: &mut Turn<'_>) {
        self.follow_announcement(turn);
        let Some(live) = turn.record(&self.name).live() else { return };
        if live.rollout == Rollout::Settled {
            return;
        }
        let (number, failing_already) = (live.deploy.number, live.rollout == Rollout::Failing);
        let since = rollout_since(&self.rollout, live, turn.now, turn.steady());
        let version = live.deploy.release.version.clone();
        let target_says_failing = self.sight.observation().is_some_and(|seen| seen.failing.is_some());
        let healthy = !target_says_failing && self.is_healthy_since(turn, since, Some(&version));
        let is_over = turn.now.boot >= since.after(self.policy.gates.settle);
        // What nobody saw is no failure: a rollout fails by probes that were seen to fail, or because the target says so.
        let is_seen_failing = self.watch.is_seen_failing(turn.now)
            && self.watch.failed_critical_samples_since(since) >= self.policy.thresholds.down_after;
        // What answers, but does not say which version it is, is no failing rollout either.
        let healthy = healthy || (is_over && !target_says_failing && self.answers_since(since));
        let fails = target_says_failing || (is_over && is_seen_failing);
        if healthy || (fails && !failing_already) {
            turn.append(Some(&self.name), Fact::RolloutEnded { deploy: number, healthy });
            if healthy {
                self.watch.cut(turn.now);
            }
            self.evaluate(turn);
        } else if !failing_already {
            self.wake_by(since.after(self.policy.gates.settle));
        }
    }

    fn follow_announcement(&mut self, turn: &mut Turn<'_>) {
        let Some(announced) = &self.rollout.announced else { return };
        let (at, until) = (announced.at, announced.until);
        if turn.now.boot >= until || (self.rollout.failed_at > Some(at) && self.is_healthy_since(turn, at, None)) {
            self.rollout.announced = None;
            self.evaluate(turn);
        } else {
            self.wake_by(until);
        }
    }

    /// Whether every critical probe passed since the rollout began, and after its last failure.
    pub(super) fn answers_since(&self, since: BootTime) -> bool {
        let after_failure = self.rollout.failed_at.filter(|failed| *failed >= since);
        self.watch.failing_since().is_none() && self.watch.critical_probes_passed_since(after_failure.unwrap_or(since))
    }

    /// Whether the release that began to roll out at `since` is known to answer.
    fn is_healthy_since(&self, turn: &Turn<'_>, since: BootTime, version: Option<&Version>) -> bool {
        let after_failure = self.rollout.failed_at.filter(|failed| *failed >= since);
        if !self.answers_since(since) {
            return false;
        }
        match version {
            Some(version) if self.policy.checks_version => {
                self.sight.live_version_after(since).is_some_and(|seen| same_version(seen, version))
            }
            _ => {
                let unconfirmed = self.policy.gates.settle / UNCONFIRMED_SHARE_OF_SETTLE;
                after_failure.is_some() || turn.now.boot >= since.after(unconfirmed)
            }
        }
    }

    /// Counts healthy time, and makes a release known-good when it has had enough.
    pub(super) fn follow_soak(&mut self, turn: &mut Turn<'_>) {
        let served = self.served_since_asked();
        let Some(live) = turn.record(&self.name).live() else { return };
        let standing = turn.record(&self.name).standings.get(&live.deploy.release.version);
        if live.rollout != Rollout::Settled
            || standing.is_some_and(|known| known.by_hand)
            || matches!(standing.map(|known| known.standing), Some(Standing::KnownGood | Standing::KnownBad))
        {
            return;
        }
        let (number, version) = (live.deploy.number, live.deploy.release.version.clone());
        let (saved, saved_requests) = (Duration::from_millis(live.soaked_ms), live.soaked_requests);
        let counted_to = self.soak.counted_to.replace(turn.now.boot);
        // What runs is another release, or may be: how that does says nothing of this one.
        let is_untold = self.sight.observation().is_some_and(|seen| seen.untold.is_some());
        if is_untold || self.contradicted_since.is_some() {
            return;
        }
        match self.watch.verdict().kind {
            VerdictKind::Healthy => {}
            VerdictKind::Monitor => return,
            VerdictKind::Consider | VerdictKind::RollBack => {
                self.soak.unsaved = Duration::ZERO;
                self.soak.unsaved_requests = 0;
                if !saved.is_zero() {
                    turn.append(Some(&self.name), Fact::Soaked { deploy: number, healthy_ms: 0, requests: 0 });
                }
                return;
            }
        }
        // Only what passed while assessing went on regularly counts: a suspended machine soaks nothing.
        let passed = counted_to.map_or(Duration::ZERO, |from| turn.now.boot.since(from));
        self.soak.unsaved += passed.min(super::service::ASSESS_EVERY * 2);
        self.soak.unsaved_requests = self.soak.unsaved_requests.saturating_add(served.unwrap_or(0));
        let healthy = saved + self.soak.unsaved;
        let requests = served.map(|_| saved_requests.saturating_add(self.soak.unsaved_requests));
        let needed = self.policy.gates.known_good_after;
        let is_enough = requests.is_none_or(|served| served >= self.policy.gates.known_good_min_requests);
        if healthy >= needed && is_enough {
            let served = requests.map(|served| format!(" and served {served} requests")).unwrap_or_default();
            let why = format!("was healthy here for {}{served}", words(needed));
            let standing = Standing::KnownGood;
            turn.append(Some(&self.name), Fact::StandingChanged { version, standing, why });
        } else if self.soak.unsaved >= needed / SOAK_PARTS {
            self.soak.unsaved = Duration::ZERO;
            self.soak.unsaved_requests = 0;
            let healthy_ms = u64::try_from(healthy.as_millis()).unwrap_or(u64::MAX);
            let requests = requests.unwrap_or(0);
            turn.append(Some(&self.name), Fact::Soaked { deploy: number, healthy_ms, requests });
        }
    }

    /// How many requests were served since this was last asked; none where they are not measured. Whatever was served while
    /// nothing soaked is asked for too, so that it counts for nothing later.
    fn served_since_asked(&mut self) -> Option<u64> {
        let served = self.watch.requests_since_cut()?;
        let counted = std::mem::replace(&mut self.soak.counted_requests, served);
        // A cut in between: its count begins at 0.
        Some(served.checked_sub(counted).unwrap_or(served))
    }
}
