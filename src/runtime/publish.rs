//! Pins finished views to the board: what was decided at once, what only moves numbers a few times a second.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::render::{Renderer, View};
use crate::{
    core::{
        action::Action,
        durable::IncidentRecord,
        engine::{State, incident_view},
        entry::{Entry, Fact},
        event::Sequence,
        name::{IncidentId, ServiceIndex, ServiceName},
        policy::Policy,
        time::{BootTime, Now},
        view::{ConfigurationTrouble, DaemonView, IncidentView},
    },
    serve::{Publisher, metrics::Metrics},
};

/// Numbers move all the time; what readers see of them is renewed so often.
pub(super) const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// What was decided is shown at once, but no more often than this: a page that follows from it takes longer, and many
/// decisions in a row are rendered once.
const DECIDED_EVERY: Duration = Duration::from_millis(50);
/// Services whose views are renewed in one go because something happened to them: a thousand must not hold the loop up.
const VIEWS_AT_ONCE: usize = 64;
/// And of those to which nothing happened: how old things are moves all the time, and nothing else does.
const QUIET_VIEWS_AT_ONCE: usize = 16;

/// What was published last, and what is due.
pub(super) struct Press {
    publisher: Publisher,
    metrics: Arc<Metrics>,
    /// When everything that moves was renewed.
    renewed_at: Option<BootTime>,
    /// When something was renewed.
    published_at: Option<BootTime>,
    /// Services of which something was put into the journal since.
    decided: BTreeSet<ServiceName>,
    /// Something was put into the journal that concerns every open incident.
    decided_on_all: bool,
    /// Somebody is about to be told that what they asked for is done.
    hurries: bool,
    /// So many services are still to be renewed, deploys included, whatever happened to each; and the next of them. Only
    /// the first renewal does all of them in one go: before it nobody is shown anything, and nothing is watched.
    left_to_renew: usize,
    next_renewed: usize,
    /// Incidents as they were shown. Of one that is over only what is told of it grows: a sync suspended in it may be
    /// resumed long after.
    incidents: BTreeMap<IncidentId, Arc<IncidentView>>,
    next_quiet: usize,
    next_stirred: ServiceIndex,
    renderer: Renderer,
    /// Entries that are not durable yet, oldest first. The core appends nothing more once too many wait for the store.
    uncommitted: VecDeque<(Sequence, Arc<Entry>)>,
}

impl Press {
    pub(super) fn new(publisher: Publisher, metrics: Arc<Metrics>) -> Self {
        Self {
            publisher,
            metrics,
            renewed_at: None,
            published_at: None,
            decided: BTreeSet::new(),
            decided_on_all: false,
            hurries: false,
            left_to_renew: usize::MAX,
            next_renewed: 0,
            incidents: BTreeMap::new(),
            next_quiet: 0,
            next_stirred: ServiceIndex(0),
            renderer: Renderer::default(),
            uncommitted: VecDeque::new(),
        }
    }

    /// Takes down what was appended, and remembers whom it concerns.
    pub(super) fn appended(&mut self, actions: &[Action]) {
        // Whoever is told that it is done looks next, and finds it done.
        self.hurries |= actions.iter().any(|action| matches!(action, Action::Reply { .. })) && self.something_waits();
        for action in actions {
            if let Action::Append { sequence, entry } = action {
                self.uncommitted.push_back((*sequence, Arc::clone(entry)));
                match &entry.service {
                    Some(service) if self.decided.contains(service) => {}
                    Some(service) => drop(self.decided.insert(service.clone())),
                    // Only the outbox is shorter by it.
                    None if matches!(entry.fact, Fact::PageSettled { .. }) => {}
                    // Of any service something may be gone; and each shows a pause of all.
                    None if matches!(
                        entry.fact,
                        Fact::Forgotten { .. } | Fact::Paused { .. } | Fact::Resumed { .. }
                    ) =>
                    {
                        self.renew_all();
                    }
                    None => self.decided_on_all = true,
                }
            }
        }
    }

    /// Nothing is left out, over as many renewals as it takes. It goes on where it is: with one after the other of these
    /// every service has its turn.
    fn renew_all(&mut self) {
        self.left_to_renew = usize::MAX;
        self.decided_on_all = true;
    }

    /// Hands what has become durable to the readers of events: nobody is told of what a crash could still undo.
    pub(super) fn committed(&mut self, up_to: Sequence) {
        while let Some((sequence, entry)) = self.uncommitted.pop_front_if(|(sequence, _)| *sequence <= up_to) {
            self.publisher.committed(sequence, &entry);
        }
    }

    /// From here on the services are those of `policy`.
    pub(super) fn reload(&mut self, policy: &Policy) {
        self.publisher.reload(policy);
        self.metrics.reload(policy);
        self.next_quiet = 0;
        self.next_renewed = 0;
        self.renderer.begin_anew();
        self.renew_all();
    }

    /// The state was folded anew: nothing that was shown is to be relied on.
    pub(super) fn folded_anew(&mut self) {
        self.incidents.clear();
        self.renderer.begin_anew();
        self.renew_all();
    }

    /// The process is about to end.
    pub(super) fn ending(&self) {
        self.publisher.ending();
    }

    /// Whether anything was published.
    pub(super) const fn has_begun(&self) -> bool {
        self.published_at.is_some()
    }

    /// After how long something is to be shown that waits, if something does.
    pub(super) fn due_in(&self, now: Now) -> Option<Duration> {
        let since = self.published_at.map(|at| now.boot.since(at)).filter(|_| self.something_waits())?;
        Some(if self.hurries { Duration::ZERO } else { DECIDED_EVERY.saturating_sub(since) })
    }

    fn something_waits(&self) -> bool {
        self.left_to_renew > 0 || self.decided_on_all || !self.decided.is_empty()
    }

    /// Notes that the loop turned, and says whether anything is to be renewed.
    pub(super) fn is_due(&self, now: Now) -> bool {
        self.publisher.turned(now.boot);
        self.numbers_are_due(now) || self.decisions_are_due(now)
    }

    fn numbers_are_due(&self, now: Now) -> bool {
        self.renewed_at.is_none_or(|at| now.boot.since(at) >= PUBLISH_EVERY)
    }

    fn decisions_are_due(&self, now: Now) -> bool {
        self.published_at.is_none() || self.due_in(now).is_some_and(|due| due.is_zero())
    }

    /// Renews what is due. `configuration` says why the one on disk is not in force, where it is not.
    pub(super) fn publish(&mut self, state: &mut State, configuration: Option<ConfigurationTrouble>, now: Now) {
        let is_first = self.published_at.is_none();
        let (numbers_are_due, decisions_are_due) = (self.numbers_are_due(now), self.decisions_are_due(now));
        if !numbers_are_due && !decisions_are_due {
            return;
        }
        self.published_at = Some(now.boot);
        if decisions_are_due {
            self.show_decisions(state, is_first, now);
        }
        if numbers_are_due {
            self.renewed_at = Some(now.boot);
            let count = state.service_count();
            for index in state.take_stirred(self.next_stirred, VIEWS_AT_ONCE) {
                self.show_service(state, index, now);
                self.next_stirred = place(index.get() + 1);
            }
            for _ in 0..count.min(QUIET_VIEWS_AT_ONCE) {
                self.show_service(state, place(self.next_quiet % count), now);
                self.next_quiet = (self.next_quiet + 1) % count;
            }
        }
        let daemon = self.renderer.render(View::Daemon, now.boot, || state.daemon_view(now));
        if let Some(daemon) = daemon {
            let daemon = DaemonView { configuration, ..daemon };
            self.metrics.daemon(&daemon);
            self.publisher.daemon(daemon);
        }
        if is_first {
            self.publisher.started();
        }
    }

    /// Shows what was decided, of the services that it concerns. What concerns all of them shows in their incidents at
    /// once, and in their numbers when those are renewed.
    fn show_decisions(&mut self, state: &mut State, is_first: bool, now: Now) {
        self.hurries = false;
        let on_all = std::mem::take(&mut self.decided_on_all);
        let decided: BTreeSet<ServiceName> = self.decided.iter().take(VIEWS_AT_ONCE).cloned().collect();
        self.decided.retain(|service| !decided.contains(service));
        self.show_incidents(state, now, |service| on_all || decided.contains(service));
        let count = state.service_count();
        let room = (VIEWS_AT_ONCE - decided.len()).max(QUIET_VIEWS_AT_ONCE);
        let at_once = if is_first { count } else { self.left_to_renew.min(count).min(room) };
        let swept = (0..at_once).map(|ahead| (self.next_renewed + ahead) % count);
        let mut places: BTreeSet<usize> = swept.collect();
        self.left_to_renew = self.left_to_renew.min(count) - at_once;
        self.next_renewed = (self.next_renewed + at_once).checked_rem(count).unwrap_or_default();
        if !decided.is_empty() {
            places.extend((0..count).filter(|&index| decided.contains(state.service_name(place(index)))));
        }
        for index in places.into_iter().map(place) {
            let deploys = self.renderer.render(View::Deploys(index), now.boot, || state.deploys_view(index));
            if let Some(deploys) = deploys {
                self.publisher.deploys(index, deploys);
            }
            self.show_service(state, index, now);
        }
    }

    fn show_service(&mut self, state: &mut State, index: ServiceIndex, now: Now) {
        let view = self.renderer.render(View::Service(index), now.boot, || state.service_view(now, index));
        let Some(view) = view else { return };
        self.metrics.service(index, &view, state.durable().open_incident(&view.name));
        self.publisher.service(index, view);
    }

    /// Renders the incidents of these services anew, except those that are over as they were shown, and lets go of what the state
    /// has forgotten.
    fn show_incidents(&mut self, state: &State, now: Now, concerns: impl Fn(&ServiceName) -> bool) {
        let incidents = &state.durable().incidents;
        self.incidents.retain(|id, _| incidents.contains_key(id));
        for (id, incident) in incidents {
            let is_shown = self.incidents.get(id).is_some_and(|shown| {
                let is_over = shown.resolved_at.is_some();
                !concerns(&incident.service) || is_over && tells_all(shown, incident)
            });
            let view = View::Incident(id.clone());
            if !is_shown && let Some(view) = self.renderer.render(view, now.boot, || incident_view(incident)) {
                self.incidents.insert(id.clone(), Arc::new(view));
            }
        }
        let mut shown: Vec<_> = self.incidents.values().cloned().collect();
        shown.sort_by(|one, other| other.opened_at.cmp(&one.opened_at).then_with(|| other.id.cmp(&one.id)));
        self.publisher.incidents(shown);
    }
}

/// Whether nothing was told of an incident since it was shown so.
fn tells_all(shown: &IncidentView, incident: &IncidentRecord) -> bool {
    let last = shown.timeline.last().map(|line| (line.at, line.text.as_str()));
    last == incident.timeline.last().map(|(at, text)| (*at, text.as_str()))
}

fn place(index: usize) -> ServiceIndex {
    ServiceIndex(u32::try_from(index).expect("the configuration bounds services"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::{
            durable::Durable,
            event::{Event, Request, RequestId, Sequence},
            time::{MachineStart, WallTime},
        },
        serve::{Board, board},
    };

    /// A state of these services, its press, and what readers see.
    fn shown(names: &[&str], now: Now) -> (State, Press, Board) {
        let mut text = String::from("services:\n");
        for name in names {
            text.push_str(&format!(
                "- name: {name}\n  target: {{releases: {{directory: /a/{name}, current: /b/{name}, restart: ['true']}}}}\n  \
                 probes: {{ready: {{tcp: '127.0.0.1:1'}}}}\n"
            ));
        }
        let checked = crate::config::check_bytes("a.yaml", text.into_bytes(), None);
        let policy = checked.config.expect("a good configuration").policy;
        let metrics = Arc::new(Metrics::new(&policy).expect("metrics"));
        let (publisher, board) = board(&policy, Arc::new(|| BootTime::from_nanos(0)));
        let state = State::new(policy, "press", MachineStart(1), Durable::default(), now);
        (state, Press::new(publisher, metrics), board)
    }

    /// What a person asks for is put into the journal.
    /// Returns what then follows, the answer among it.
    fn pause(state: &mut State, press: &mut Press, service: Option<&str>, now: Now) -> Vec<Action> {
        let request =
            Request::Pause { service: service.map(Into::into), for_seconds: None, reason: "a drill".to_owned() };
        let mut actions = Vec::new();
        state.step(now, Event::Requested { id: RequestId(1), by: "ann".to_owned(), request }, &mut actions);
        press.appended(&actions);
        actions.clear();
        state.step(now, Event::Committed(state.durable().last), &mut actions);
        assert!(actions.iter().any(|action| matches!(action, Action::Reply { .. })), "{actions:?}");
        actions
    }

    #[test]
    fn what_was_decided_shows_at_once_but_not_in_a_flood_and_the_rest_stays() {
        let start = Now { boot: BootTime::from_nanos(1), wall: WallTime::from_millis(1_780_000_000_000) };
        let (mut state, mut press, board) = shown(&["a", "b"], start);
        let at = |millis: u64| start.after(Duration::from_millis(millis));
        let view = |name: &str| board.service(name).flatten().expect("it was published");
        assert!(board.ready().is_err());
        press.publish(&mut state, None, start);
        assert!(board.ready().is_ok(), "the first renewal leaves nothing out");
        assert_eq!(press.due_in(start), None, "nothing waits");

        let (other, incidents) = (view("b"), board.incidents());
        drop(pause(&mut state, &mut press, Some("a"), at(20)));
        assert_eq!(press.due_in(at(20)), Some(Duration::from_millis(30)), "not sooner than this after the last one");
        press.publish(&mut state, None, at(20));
        assert!(view("a").now.paused.is_none());
        press.publish(&mut state, None, at(50));
        assert!(view("a").now.paused.is_some(), "long before numbers are renewed");
        assert!(Arc::ptr_eq(&other, &view("b")), "nothing was decided about it");
        assert_eq!(board.incidents().len(), incidents.len());
        assert_eq!(press.due_in(at(50)), None);

        // A pause of all shows in the daemon's own state at once, and in each service's.
        drop(pause(&mut state, &mut press, None, at(120)));
        assert_eq!(press.due_in(at(120)), Some(Duration::ZERO));
        press.publish(&mut state, None, at(120));
        assert!(board.daemon().paused.is_some());
        assert!(view("b").now.paused.is_some());

        // Who is told that it is done looks at once: that goes before the rest between two renewals.
        let reply = pause(&mut state, &mut press, Some("b"), at(130));
        assert_eq!(press.due_in(at(130)), Some(Duration::from_millis(40)));
        press.appended(&reply);
        assert_eq!(press.due_in(at(130)), Some(Duration::ZERO));
        press.publish(&mut state, None, at(130));
        assert!(!Arc::ptr_eq(&other, &view("b")));
        press.appended(&reply);
        assert_eq!(press.due_in(at(130)), None, "there is nothing to hurry with");
        assert_eq!(state.durable().last, Sequence(3));
    }

    /// A thousand services must not hold the loop up each time that something old is forgotten.
    #[test]
    fn what_concerns_all_is_renewed_over_many_rounds() {
        const SERVICES: usize = 300;
        let start = Now { boot: BootTime::from_nanos(1), wall: WallTime::from_millis(1_780_000_000_000) };
        let names: Vec<String> = (0..SERVICES).map(|number| format!("s{number:03}")).collect();
        let (mut state, mut press, board) = shown(&names.iter().map(String::as_str).collect::<Vec<_>>(), start);
        press.publish(&mut state, None, start);
        let views = || -> Vec<_> {
            let view = |name: &String| board.service(name).flatten().expect("the first renewal leaves nothing out");
            names.iter().map(view).collect()
        };
        let forgotten = || {
            let fact = Fact::Forgotten { before: WallTime::default(), services: Vec::new() };
            let entry = Entry { at: WallTime::default(), boot: None, service: None, fact };
            [Action::Append { sequence: Sequence(1), entry: Arc::new(entry) }]
        };
        let first = views();
        press.appended(&forgotten());
        let (mut now, mut rounds) = (start, 0);
        while let Some(due) = press.due_in(now) {
            now = now.after(due);
            let before = views();
            press.publish(&mut state, None, now);
            let renewed = before.iter().zip(&views()).filter(|(before, after)| !Arc::ptr_eq(before, after)).count();
            // When numbers are due, too, the quiet ones' come on top.
            assert!((1..=VIEWS_AT_ONCE + QUIET_VIEWS_AT_ONCE).contains(&renewed), "{renewed} in one round");
            rounds += 1;
            // Something more is forgotten on the way: nobody's turn is put off by it.
            if rounds == 2 {
                press.appended(&forgotten());
            }
        }
        assert!(first.iter().zip(&views()).all(|(before, after)| !Arc::ptr_eq(before, after)), "all in the end");
        assert_eq!(rounds, 2 + SERVICES.div_ceil(VIEWS_AT_ONCE));
    }

    #[test]
    fn readers_of_events_hear_only_of_what_is_durable() {
        let policy = Policy {
            services: Vec::new(),
            channels: Vec::new(),
            escalation: crate::core::policy::Escalation::default(),
            keep: Duration::ZERO,
            checks_itself: false,
        };
        let (publisher, board) = crate::serve::board(&policy, Arc::new(|| BootTime::START));
        let metrics = Arc::new(Metrics::new(&policy).expect("metrics"));
        let mut press = Press::new(publisher, metrics);
        let (mut reader, _place) = board.follow().expect("a place");
        let append = |number: u64| {
            let fact = Fact::Resumed { by: number.to_string() };
            let entry = Entry { at: WallTime::default(), boot: None, service: None, fact };
            Action::Append { sequence: Sequence(number), entry: Arc::new(entry) }
        };
        press.appended(&[append(1), append(2), append(3)]);
        assert!(reader.try_recv().is_err(), "nothing is durable yet");
        press.committed(Sequence(2));
        let heard: Vec<u64> = std::iter::from_fn(|| reader.try_recv().ok()).map(|(sequence, _)| sequence.0).collect();
        assert_eq!(heard, [1, 2]);
        press.committed(Sequence(3));
        assert_eq!(reader.try_recv().map(|(sequence, _)| sequence.0).ok(), Some(3));
    }
}
