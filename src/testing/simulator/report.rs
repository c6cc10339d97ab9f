//! What a run says of itself.

use super::{Fact, Report, SHOWN_ENTRIES, ServiceName, Simulation, Told, Violation};

impl Simulation<'_> {
    /// A violation with the end of the journal: what has to be read to mend it.
    pub(super) fn explain(&self, violation: &Violation) -> Violation {
        let at = self.now().wall.since(self.scenario.starts_at).as_secs_f64();
        Violation(format!("{violation} (at {at:.3} s)\n{}", self.lines().join("\n")))
    }

    /// The end of the journal as people read it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .journal
            .iter()
            .rev()
            .filter(|(_, entry)| !matches!(entry.fact, Fact::PageSettled { .. } | Fact::Soaked { .. }))
            .take(SHOWN_ENTRIES)
            .map(|(sequence, entry)| {
                let seconds = entry.at.since(self.scenario.starts_at).as_secs_f64();
                let service = entry.service.as_ref().map_or("", |name| name.as_str());
                let fact = match &entry.fact {
                    Fact::PageQueued { page, .. } => format!("page {}: {}", page.kind.as_str(), page.summary),
                    fact => format!("{fact:?}"),
                };
                let fact: String = fact.chars().take(300).collect();
                format!("{:>5} {seconds:>8.3} {service} {fact}", sequence.0)
            })
            .collect();
        lines.reverse();
        lines
    }

    pub(super) fn report(&self) -> Result<Report, Violation> {
        self.invariants.rest(&self.disk, self.mode, self.now().wall)?;
        self.check_against_the_truth()?;
        let mut fingerprint = 0xcbf2_9ce4_8422_2325_u64;
        for (_, entry) in &self.journal {
            let text = serde_json::to_string(&**entry).expect("an entry is plain data");
            for byte in text.bytes() {
                fingerprint = (fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Ok(Report {
            effects: self.effects,
            outcomes: self.invariants.plans.iter().filter_map(|(_, outcome)| *outcome).collect(),
            rolled_back: self.invariants.plans.iter().map(|(service, _)| service.clone()).collect(),
            told: self.told(),
            nights: self.nights(),
            open: self.disk.incidents.values().filter(|incident| incident.is_open()).count() as u64,
            incidents: self.disk.services.values().map(|service| service.incident_count).sum(),
            fingerprint,
            kills: self.killed,
            journal: self.lines(),
        })
    }

    pub(super) fn told(&self) -> Vec<Told> {
        let queued = self.journal.iter().filter_map(|(_, entry)| match &entry.fact {
            Fact::PageQueued { page, .. } => self.invariants.delivered.get(&page.id),
            _ => None,
        });
        queued
            .map(|page| Told {
                kind: page.kind,
                severity: page.severity,
                finding: page.finding,
                service: page.service.clone(),
                summary: page.summary.clone(),
            })
            .collect()
    }

    pub(super) fn nights(&self) -> Vec<(ServiceName, bool)> {
        let looks = self.journal.iter().filter_map(|(_, entry)| match (&entry.fact, &entry.service) {
            (Fact::NightlyLook { told, .. }, Some(service)) => Some((service.clone(), *told)),
            _ => None,
        });
        looks.collect()
    }

    /// A service with which nothing was ever wrong is never rolled back; each attempt restarts at most once.
    pub(super) fn check_against_the_truth(&self) -> Result<(), Violation> {
        for (service, world) in self.policy.services.iter().zip(&self.worlds) {
            let rolled_back = self.invariants.plans.iter().any(|(name, _)| *name == service.name);
            let accused = self.invariants.accused_by_people.contains(&service.name);
            if rolled_back && !accused && !world.ever_bad() {
                return Err(Violation(format!("{} was rolled back, and nothing was wrong with it", service.name)));
            }
            if let Some((key, count)) = world.restarts.iter().find(|(_, count)| **count > 1) {
                return Err(Violation(format!("{key} restarted the service {count} times")));
            }
        }
        Ok(())
    }
}
