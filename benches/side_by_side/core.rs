//! Samples through window, conditions and tree on one core.

use std::time::Duration;

use crate::{
    support::fleet::{Fleet, ROUND, thread_time},
    table::{Report, Table},
};

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
