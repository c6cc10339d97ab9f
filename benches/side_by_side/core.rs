//! Samples through window, conditions and tree on one core, and the memory that they are kept in.

use std::time::Duration;

use crate::{
    process::resident_bytes_of,
    support::{
        SIGNALS,
        fleet::{Fleet, ROUND, thread_time},
    },
    table::{Report, Table},
};

/// Signals whose memory is measured: so many that what the allocator keeps back is nothing beside it.
const MANY: usize = 30_000;

/// Rounds that fill every window of [`MANY`] signals, each sampled every two seconds: 800 s of samples on average.
const FILLING_ROUNDS: u32 = 120;

/// What a service's state in the core takes: windows, conditions and verdict of its three signals.
pub(crate) fn memory(report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Memory of one service's three signals in the core: a probe, a feature's check, and requests",
        &["counts of requests", "with histograms"],
    );
    let mut kept = Vec::new();
    let mut cells = Vec::new();
    for histogram in [false, true] {
        let before = resident_bytes_of(std::process::id())?;
        let mut fleet = Fleet::new(MANY, histogram);
        for _ in 0..FILLING_ROUNDS {
            fleet.round();
        }
        let bytes = resident_bytes_of(std::process::id())?.saturating_sub(before);
        cells.push(format!("{:.1} KiB", bytes as f64 / 1024.0 / (MANY / SIGNALS) as f64));
        // What it leaves free would be used by the next one.
        kept.push(fleet);
    }
    table.row(cells);
    report.add(table);
    Ok(())
}

pub(crate) fn throughput(quick: bool, report: &mut Report) -> anyhow::Result<()> {
    let time = Duration::from_secs(if quick { 1 } else { 4 });
    let mut table = Table::new(
        "Samples through window, conditions and tree, on one core, in random order",
        &["signals", "counts, a second", "with histograms, a second"],
    );
    for signals in [100, 10_000] {
        let [counts, histograms] = [false, true].map(|histogram| {
            let mut fleet = Fleet::new(signals, histogram);
            // Windows are filled first.
            fleet.round();
            let (began, mut rounds) = (thread_time(), 0_u32);
            while thread_time() - began < time {
                fleet.round();
                rounds += 1;
            }
            let a_second = f64::from(rounds) * ROUND as f64 / (thread_time() - began).as_secs_f64();
            format!("{:.1} million", a_second / 1e6)
        });
        table.row([signals.to_string(), counts, histograms]);
    }
    report.add(table);
    Ok(())
}
