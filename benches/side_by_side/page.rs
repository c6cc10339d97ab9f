//! From a service's first failing answer to the page about it.

use std::time::Duration;

use crate::{
    place::{Place, until},
    process::{Child, Core},
    receiver::Receiver,
    server::Server,
    statistics::{median, quantile},
    subject::{Load, Ports, Subject, configure_backstop, start_backstop},
    support::Random,
    table::{Report, Table, millis},
};

/// The failing answer that decides: the third in a row.
const DECIDING: usize = 3;

pub(crate) fn page(quick: bool, report: &mut Report) -> anyhow::Result<()> {
    let trials = if quick { 8 } else { 30 };
    let mut table = Table::new(
        &format!("From a 503 to its page: three failed probes, one a second; {trials} faults"),
        &["", "fault to page: median", "longest", "deciding sample to page: median", "longest"],
    );
    let ways: [(&str, Option<&str>); 3] = [
        ("Backstop", Some("")),
        (
            "Backstop, `confirm_every: 1s` (no quicker after the first failure)",
            Some("  thresholds: {confirm_every: 1s}\n"),
        ),
        ("blackbox_exporter + Prometheus + Alertmanager, all at 1 s", None),
    ];
    for (name, of_service) in ways {
        let mut server = Server::start()?;
        let receiver = Receiver::start()?;
        let place = Place::new()?;
        let ports = Ports { server: server.port, receiver: receiver.port };
        let load = Load::of_services(trials);
        let _children: Vec<Child> = match of_service {
            Some(rest) => {
                configure_backstop(load, ports, rest, &place)?;
                vec![start_backstop(Core::Subject, &place)?]
            }
            None => Subject::Chain.start(load, ports, &place)?,
        };
        std::thread::sleep(Duration::from_secs(6));
        let (fault, deciding) = times(&mut server, &receiver, trials)?;
        table.row([
            name.to_owned(),
            millis(median(&fault)),
            millis(quantile(&fault, 1.0)),
            millis(median(&deciding)),
            millis(quantile(&deciding, 1.0)),
        ]);
    }
    report.add(table);
    Ok(())
}

/// Breaks one service after another, and waits for every page. From the fault, and from the deciding answer.
fn times(server: &mut Server, receiver: &Receiver, trials: usize) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let mut random = Random(7);
    let mut faults = Vec::with_capacity(trials);
    for place in 0..trials {
        // Anywhere in a second of everybody's schedule.
        std::thread::sleep(Duration::from_secs_f64(0.2 + random.share()));
        faults.push(server.fail(place)?);
    }
    until("every page came", || Ok((0..trials).all(|place| receiver.paged(place).is_some())))?;
    let mut times = (Vec::new(), Vec::new());
    for (place, fault) in faults.into_iter().enumerate() {
        let paged = receiver.paged(place).unwrap_or_default();
        let failures = server.heal(place)?;
        let deciding = failures.get(DECIDING - 1).copied().unwrap_or(paged);
        times.0.push(paged.saturating_sub(fault));
        times.1.push(paged.saturating_sub(deciding));
    }
    Ok(times)
}
