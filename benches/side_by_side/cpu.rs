//! Processor time for each probe, and memory.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    place::Place,
    process::{Usage, resident_bytes},
    receiver::Receiver,
    server::Server,
    subject::{
        Load, Ports,
        Subject::{self, Backstop, BackstopFree, Bare, Chain, Monit},
    },
    table::{Report, Table, mebibytes, micros, ratio},
};

/// What one subject used under one load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// For one probe.
    processor: Duration,
    /// Probes that came, a second.
    reached: f64,
    resident_bytes: u64,
}

/// Loads that were measured, so that none is measured twice.
#[derive(Debug)]
pub(crate) struct Loads {
    warm_up: Duration,
    window: Duration,
    used: BTreeMap<(Subject, Load), Used>,
}

impl Loads {
    pub(crate) fn new(quick: bool) -> Self {
        let seconds = |seconds| Duration::from_secs(seconds);
        let (warm_up, window) = if quick { (seconds(4), seconds(5)) } else { (seconds(6), seconds(18)) };
        Self { warm_up, window, used: BTreeMap::new() }
    }

    fn used(&mut self, subject: Subject, load: Load) -> anyhow::Result<Used> {
        if let Some(used) = self.used.get(&(subject, load)) {
            return Ok(*used);
        }
        let mut server = Server::start()?;
        let receiver = Receiver::start()?;
        let place = Place::new()?;
        let ports = Ports { server: server.port, receiver: receiver.port };
        let mut children = subject.start(load, ports, &place)?;
        std::thread::sleep(self.warm_up);
        let before = (Usage::of(&children)?, server.count()?, Instant::now());
        std::thread::sleep(self.window);
        let after = (Usage::of(&children)?, server.count()?, Instant::now());
        for child in &mut children {
            child.must_run()?;
        }
        let probes = after.1 - before.1;
        anyhow::ensure!(probes > 0, "see any probe of {} within {:?}", subject.name(), self.window);
        let used = Used {
            processor: Duration::from_secs_f64(after.0.since(&before.0).as_secs_f64() / probes as f64),
            reached: probes as f64 / (after.2 - before.2).as_secs_f64(),
            resident_bytes: resident_bytes(&children)?,
        };
        eprintln!(
            "{} at {}: {} µs, {:.0} a second, {} MiB",
            subject.name(),
            load.a_second(),
            micros(used.processor),
            used.reached,
            mebibytes(used.resident_bytes)
        );
        self.used.insert((subject, load), used);
        Ok(used)
    }
}

/// Probes a second, and how they are configured.
const LOADS: [Load; 3] = [Load::of_services(100), Load::of_services(1000), Load { services: 1000, probes: 5 }];

pub(crate) fn cpu(loads: &mut Loads, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Processor time for one plaintext HTTP probe on a fresh connection, decision included",
        &[
            "probes a second",
            "bare loop",
            "Backstop",
            "Backstop, all cores",
            "Monit",
            "Prometheus chain",
            "Backstop ÷ bare loop",
            "Monit ÷ Backstop",
            "chain ÷ Backstop",
        ],
    );
    for load in LOADS {
        let mut row = vec![load.a_second().to_string()];
        let mut used = BTreeMap::new();
        for subject in [Bare, Backstop, BackstopFree, Monit, Chain] {
            let one = loads.used(subject, load)?;
            let mut text = format!("{} µs", micros(one.processor));
            if one.reached < 0.98 * load.a_second() as f64 {
                text.push_str(&format!(" (reached {:.0})", one.reached));
            }
            row.push(text);
            used.insert(subject, one.processor.as_secs_f64());
        }
        for (one, other) in [(Backstop, Bare), (Monit, Backstop), (Chain, Backstop)] {
            row.push(ratio(used[&one] / used[&other]));
        }
        table.row(row);
    }
    report.add(table);
    Ok(())
}

pub(crate) fn memory(loads: &mut Loads, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Resident memory",
        &["probes a second", "Backstop", "Monit", "Prometheus chain", "Monit ÷ Backstop", "chain ÷ Backstop"],
    );
    for load in [Load::of_services(1), Load::of_services(1000)] {
        let [backstop, monit, chain] = [Backstop, Monit, Chain].map(|subject| loads.used(subject, load));
        let [backstop, monit, chain] = [backstop?, monit?, chain?].map(|used| used.resident_bytes);
        let mut row = vec![load.a_second().to_string()];
        row.extend([backstop, monit, chain].map(|bytes| format!("{} MiB", mebibytes(bytes))));
        row.extend([monit, chain].map(|bytes| ratio(bytes as f64 / backstop as f64)));
        table.row(row);
    }
    report.add(table);
    Ok(())
}
