//! The world around the core: what it samples, sees and changes.

use std::time::Duration;

use super::{Bench, COUNT_EVERY_TICKS, Ends, TICK};
use crate::core::{
    action::{Action, Actions},
    event::Event,
    name::{ServiceIndex, SignalIndex, Version},
    operation::{Attempt, Look, Operation, OperationOutcome, Receipt, StepKey},
    page::DeliveryOutcome,
    release::{GitState, Observation, Release, SyncState, Workload},
    sample::{LatencyCounts, Measurement, Outcome, Reason, RequestCounts, Sample},
    time::BootTime,
};

impl Bench {
    pub(super) fn tick(&mut self) {
        self.now = self.now.after(TICK);
        self.ticks += 1;
        let due = |(at, _): &(BootTime, Attempt)| *at <= self.now.boot;
        let (over, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.silent).into_iter().partition(due);
        self.silent = waiting;
        for (_, attempt) in over {
            let outcome = OperationOutcome::Unknown(Reason::new("no end in time"));
            self.feed(Event::OperationEnded { key: attempt.key, outcome });
        }
        self.look(None);
        self.sample_others();
        let check = match self.ready {
            Some(true) => Outcome::Passed,
            Some(false) => Outcome::Failed(Reason::new("connection refused")),
            None => Outcome::Missed(Reason::new("no descriptors left")),
        };
        self.sample(ServiceIndex(0), 0, Measurement::Check(check));
        if self.ticks.is_multiple_of(COUNT_EVERY_TICKS) {
            let (total, errors) = self.requests;
            let counts = if self.requests_missed {
                Measurement::RequestsMissed(Reason::new("connection refused"))
            } else {
                let latency = self.is_slow.map(|is_slow| {
                    let counts = if is_slow { [0, 0, total, 0] } else { [total, 0, 0, 0] };
                    Ok(LatencyCounts { bounds: [0.05, 0.1, 0.5, f64::INFINITY].into(), counts: counts.into() })
                });
                Measurement::Requests(RequestCounts { total, errors, latency })
            };
            self.sample(ServiceIndex(0), 1, counts);
        }
        if self.state.next_wake().is_some_and(|wake| wake <= self.now.boot) {
            self.feed(Event::Woke);
        }
    }

    fn sample_others(&mut self) {
        for place in 0..self.others.len() {
            let (every, next) = self.others[place];
            if self.now.boot < next {
                continue;
            }
            let service = ServiceIndex(u32::try_from(place + 1).expect("few services"));
            self.others[place].1 = self.now.boot.after(every);
            let outcome =
                if self.others_ready { Outcome::Passed } else { Outcome::Failed(Reason::new("connection refused")) };
            self.sample(service, 0, Measurement::Check(outcome));
            let observation = Ok(Observation {
                current: Some(Release::of("v1")),
                untold: None,
                available: Vec::new(),
                rolling_out: false,
                failing: None,
                ..Observation::default()
            });
            let look = Look { observation, receipt: None, began: self.now.boot };
            self.feed(Event::Looked { service, key: None, look });
        }
    }

    pub(super) fn sample(&mut self, service: ServiceIndex, signal: u16, measurement: Measurement) {
        let sample =
            Sample { service, signal: SignalIndex(signal), taken_at: self.now.boot, lag: Duration::ZERO, measurement };
        self.feed(Event::Sample(sample));
    }

    /// What the platform shows, if there is one.
    fn workload(&self) -> Option<Box<Workload>> {
        if self.workload.is_none() && self.sync.is_none() {
            return None;
        }
        let seen = self.workload.clone().unwrap_or_default();
        Some(Box::new(Workload { sync: self.sync.clone().or_else(|| seen.sync.clone()), ..seen }))
    }

    pub(super) fn look(&mut self, key: Option<StepKey>) {
        let observation = match self.live {
            None => Err(Reason::new("timed out")),
            Some(_) if self.gone.is_some() => {
                Ok(Observation { gone: self.gone.map(str::to_owned), ..Observation::default() })
            }
            Some(live) => Ok(Observation {
                current: (self.tells_current && self.untold.is_none())
                    .then(|| Release { configuration: self.configuration.map(str::to_owned), ..Release::of(live) }),
                untold: self.untold.map(str::to_owned),
                available: ["v3", "v2", "v1"].into_iter().filter(|one| *one != live).map(Release::of).collect(),
                workload: self.workload(),
                ..Observation::default()
            }),
        };
        let receipt = key.as_ref().map(|key| if self.lost.contains(key) { Receipt::Succeeded } else { self.receipt });
        self.feed(Event::Looked {
            service: ServiceIndex(0),
            key,
            look: Look { observation, receipt, began: self.now.boot },
        });
    }

    pub(super) fn carry_out(&mut self, actions: Actions) {
        let mut last = None;
        for action in actions {
            match action {
                Action::Append { sequence, entry } => {
                    last = Some(sequence);
                    self.journal.push((sequence, entry));
                }
                Action::Look { key: Some(_), .. } if self.looks_hang => {}
                Action::Look { key: Some(key), .. } => self.look(Some(key)),
                Action::Operate { attempt, .. } => self.operate(attempt),
                Action::Deliver { page, channel, .. } => {
                    let is_dead = self.dead_channel == Some(channel.as_str());
                    let outcome = if is_dead || self.deliveries_fail > 0 || self.stuck_pages == Some(page.kind) {
                        self.deliveries_fail = self.deliveries_fail.saturating_sub(1);
                        DeliveryOutcome::Retry {
                            reason: Reason::new("503"),
                            retry_after_seconds: self.retry_after_seconds,
                        }
                    } else {
                        self.pages.push((*page).clone());
                        DeliveryOutcome::Delivered
                    };
                    self.delivered.push_back(Event::DeliveryEnded { page: page.id.clone(), channel, outcome });
                }
                Action::Reply { id, reply } => self.replies.push((id, reply)),
                Action::Gather { incident, .. } => self.gathers.push(incident),
                Action::KeepHistory { records } => self.history.extend(records),
                Action::SetCadence { service, every, .. } if service.get() > 0 => {
                    self.others[service.get() - 1] = (every, self.now.boot.after(every));
                }
                Action::Look { key: None, .. } | Action::SetCadence { .. } | Action::WriteEvidence { .. } => {}
            }
        }
        if let Some(last) = last {
            self.uncommitted = Some(last);
        }
        if !self.commits_wait
            && let Some(last) = self.uncommitted.take()
        {
            self.feed(Event::Committed(last));
        }
    }

    fn operate(&mut self, attempt: Attempt) {
        self.operations.push(attempt.clone());
        let ends = self.ends.pop_front().unwrap_or_else(|| self.then_ends.clone());
        let switches = match (&attempt.operation, &ends) {
            (Operation::Switch { to, .. }, Ends::Well | Ends::HalfDone | Ends::Lost) => Some(to.clone()),
            _ => None,
        };
        if let Some(to) = switches {
            self.live = ["v1", "v2", "v3"].into_iter().find(|known| Version::from(*known) == to);
        }
        if let (Some(sync), Ends::Well | Ends::HalfDone | Ends::Lost) = (&mut self.sync, &ends) {
            match &attempt.operation {
                Operation::SuspendSync { .. } if sync.state == SyncState::Active => {
                    let incident = attempt.key.incident.clone();
                    sync.state = SyncState::Suspended { incident, git: GitState::Holds };
                }
                Operation::ResumeSync { .. } => sync.state = SyncState::Active,
                _ => {}
            }
        }
        let outcome = match ends {
            Ends::Well | Ends::Lying => OperationOutcome::Done(String::new()),
            Ends::Failing | Ends::HalfDone => OperationOutcome::Failed(Reason::new("exit status 1")),
            Ends::Overtaken => OperationOutcome::Overtaken(Reason::new("switch: v3 is live by now")),
            Ends::Silent | Ends::Lost => {
                if let Ends::Lost = ends {
                    self.lost.insert(attempt.key.clone());
                }
                self.silent.push((self.now.boot.after(attempt.deadline), attempt));
                return;
            }
        };
        self.feed(Event::OperationEnded { key: attempt.key, outcome });
    }
}
