//! The schedule that 999 probes keep while one target hangs, by the arrival times at the server.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    place::Place,
    receiver::Receiver,
    server::Server,
    statistics::quantile,
    subject::{Load, Ports, Subject},
    table::{Report, Table, millis},
};

const PERIOD: Duration = Duration::from_secs(1);
/// The one that hangs, somewhere in the middle.
const HANGING: usize = 500;

/// By how much each of them was off.
struct Kept {
    /// The time between two of one probe's requests, against its period.
    intervals: Vec<Duration>,
    /// Each request, against that probe's own grid: its earliest request and whole periods from there.
    lateness: Vec<Duration>,
    /// Requests that came, of those that were due.
    came: f64,
}

pub(crate) fn schedule(quick: bool, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "999 probes, one a second each, while one more target hangs",
        &[
            "",
            "came, of those due",
            "time between two, off by: p50",
            "p99",
            "p99.9",
            "late against its own grid: p50",
            "p99",
            "p99.9",
        ],
    );
    for subject in [Subject::Backstop, Subject::Monit, Subject::Chain] {
        let mut server = Server::start()?;
        let receiver = Receiver::start()?;
        let place = Place::new()?;
        server.hang(HANGING)?;
        let ports = Ports { server: server.port, receiver: receiver.port };
        let _children = subject.start(Load::of_services(1000), ports, &place)?;
        std::thread::sleep(Duration::from_secs(if quick { 5 } else { 8 }));
        let time = Duration::from_secs(if quick { 8 } else { 30 });
        let kept = kept(&server.arrivals(time)?, time);
        let mut row = vec![subject.name().to_owned(), format!("{:.1} %", kept.came * 100.0)];
        row.extend([0.5, 0.99, 0.999].map(|share| millis(quantile(&kept.intervals, share))));
        // Whoever leaves requests out has no grid to be late against.
        let has_grid = kept.came > 0.99;
        row.extend(
            [0.5, 0.99, 0.999].map(
                |share| {
                    if has_grid { millis(quantile(&kept.lateness, share)) } else { "–".to_owned() }
                },
            ),
        );
        table.row(row);
    }
    report.add(table);
    Ok(())
}

fn kept(arrivals: &[(usize, Duration)], time: Duration) -> Kept {
    let mut probes: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    for (place, at) in arrivals {
        if *place != HANGING {
            probes.entry(*place).or_default().push(*at);
        }
    }
    let mut kept = Kept { intervals: Vec::new(), lateness: Vec::new(), came: 0.0 };
    let mut came = 0;
    for times in probes.values() {
        came += times.len();
        kept.intervals.extend(times.windows(2).map(|two| (two[1] - two[0]).abs_diff(PERIOD)));
        let numbers: Vec<u32> = times.iter().map(|at| whole_periods(*at - times[0])).collect();
        let begin = times.iter().zip(&numbers).map(|(at, number)| at.saturating_sub(PERIOD * *number)).min();
        let begin = begin.unwrap_or_default();
        kept.lateness
            .extend(times.iter().zip(&numbers).map(|(at, number)| at.saturating_sub(begin + PERIOD * *number)));
    }
    kept.came = came as f64 / (999.0 * time.as_secs_f64());
    kept
}

/// The nearest whole number of periods.
fn whole_periods(time: Duration) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of seconds of one run")]
    let periods = time.div_duration_f64(PERIOD).round() as u32;
    periods
}
