//! The real daemon at 1,000 probes a second for a long time: its memory must not grow.

use std::time::{Duration, Instant};

use crate::{
    place::Place,
    process::resident_bytes,
    receiver::Receiver,
    server::Server,
    subject::{Load, Ports, Subject},
    table::{Report, Table, mebibytes},
};

const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Not looked at: what is loaded once is loaded.
const WARM_UP: Duration = Duration::from_secs(30);

pub(crate) fn soak(minutes: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut server = Server::start()?;
    let receiver = Receiver::start()?;
    let place = Place::new()?;
    let ports = Ports { server: server.port, receiver: receiver.port };
    let mut children = Subject::BackstopFree.start(Load::of_services(1000), ports, &place)?;
    std::thread::sleep(WARM_UP);
    let (began, before) = (Instant::now(), server.count()?);
    let mut samples: Vec<(f64, f64)> = Vec::new();
    while began.elapsed() < Duration::from_secs(60 * minutes) {
        std::thread::sleep(SAMPLE_EVERY);
        for child in &mut children {
            child.must_run()?;
        }
        let bytes = resident_bytes(&children)?;
        eprintln!("{:>6.0} s: {} MiB", began.elapsed().as_secs_f64(), mebibytes(bytes));
        samples.push((began.elapsed().as_secs_f64() / 60.0, bytes as f64 / 1024.0));
    }
    let a_second = (server.count()? - before) as f64 / began.elapsed().as_secs_f64();
    let third = samples.len().div_ceil(3);
    let first = median(&samples[..third]);
    let last = median(&samples[samples.len() - third..]);
    let mut table = Table::new(
        &format!("{minutes} minutes at {a_second:.0} probes a second: resident memory"),
        &["first third, median", "last third, median", "grew by", "slope"],
    );
    table.row([
        format!("{:.1} MiB", first / 1024.0),
        format!("{:.1} MiB", last / 1024.0),
        format!("{:+.1} %", (last / first - 1.0) * 100.0),
        format!("{:+.1} KiB a minute", slope(&samples)),
    ]);
    report.add(table);
    Ok(())
}

fn median(samples: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|sample| sample.1).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Of the line of least squares.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (time, value) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let over: f64 = samples.iter().map(|sample| (sample.0 - time) * (sample.1 - value)).sum();
    let under: f64 = samples.iter().map(|sample| (sample.0 - time).powi(2)).sum();
    if under == 0.0 { 0.0 } else { over / under }
}
