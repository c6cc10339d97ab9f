//! From exec to the first probe, and what follows a kill -9 in the middle of a rollback.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;

use crate::{
    place::{Place, until},
    process::{Child, Core},
    receiver::Receiver,
    server::{self, Server, monotonic},
    statistics::{median, quantile},
    subject::{Load, Ports, backstop, configure_backstop, head, start_backstop},
    table::{Report, Table, millis},
};

pub(crate) fn start(quick: bool, report: &mut Report) -> anyhow::Result<()> {
    let trials = if quick { 3 } else { 7 };
    let mut table =
        Table::new("From exec to the first probe, and to all", &["probes, one a second each", "first", "all"]);
    for services in [1, 1000] {
        let (mut first, mut all) = (Vec::new(), Vec::new());
        for _ in 0..trials {
            let mut server = Server::start()?;
            let place = Place::new()?;
            let receiver = Receiver::start()?;
            let ports = Ports { server: server.port, receiver: receiver.port };
            configure_backstop(Load::of_services(services), ports, "", &place)?;
            let began = monotonic();
            let _child = start_backstop(Core::Subject, &place)?;
            until("the first probe came", || Ok(server.count()? > 0))?;
            first.push(monotonic() - began);
            until("every probe came", || Ok(server.count()? >= services as u64))?;
            all.push(monotonic() - began);
        }
        table.row([services.to_string(), millis(median(&first)), millis(median(&all))]);
    }
    report.add(table);
    Ok(())
}

pub(crate) fn recovery(quick: bool, report: &mut Report) -> anyhow::Result<()> {
    let trials = if quick { 2 } else { 6 };
    // Side by side, since each mostly waits.
    let times: Vec<anyhow::Result<Recovered>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..trials).map(|_| scope.spawn(kill_and_go_on)).collect();
        running.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    let times = times.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut table = Table::new(
        &format!("After kill -9 in the middle of a rollback's restart; {trials} times"),
        &["", "median", "longest"],
    );
    let looked: Vec<Duration> = times.iter().map(|one| one.looked).collect();
    let went_on: Vec<Duration> = times.iter().map(|one| one.went_on).collect();
    table.row([
        "start to the world looked at again".to_owned(),
        millis(median(&looked)),
        millis(quantile(&looked, 1.0)),
    ]);
    table.row(["its answer to the next step".to_owned(), millis(median(&went_on)), millis(quantile(&went_on, 1.0))]);
    report.add(table);
    Ok(())
}

struct Recovered {
    looked: Duration,
    went_on: Duration,
}

/// Writes what happened when, on the wall clock.
const NOTE: &str =
    "#!/bin/sh\nset -eu\nhome=$(dirname \"$0\")\nnote() { echo \"$1 $(date +%s%N)\" >>\"$home/notes\"; }\n";
const CURRENT: &str = "note current\ncat \"$home/live\"\nnote answered\n";
const PREVIOUS: &str = "echo v1\n";
const ROLL_BACK: &str = "note begin\nsleep 2\necho \"$BACKSTOP_VERSION_TO\" >\"$home/live\"\nnote end\n";

fn kill_and_go_on() -> anyhow::Result<Recovered> {
    let mut server = Server::start()?;
    let receiver = Receiver::start()?;
    let place = Place::new()?;
    let ports = Ports { server: server.port, receiver: receiver.port };
    place.write("live", "v1\n")?;
    let current = place.write_script("current", &format!("{NOTE}{CURRENT}"))?;
    let previous = place.write_script("previous", &format!("{NOTE}{PREVIOUS}"))?;
    let roll_back = place.write_script("roll_back", &format!("{NOTE}{ROLL_BACK}"))?;
    let service = format!(
        "- name: api
  target: {{command: {{current: [{}], previous: [{}], roll_back: [{}]}}}}
  probes: {{ready: {{http: 'http://127.0.0.1:{}{}', every: 500ms, timeout: 500ms}}}}
  thresholds: {{down_for: 1s, confirm_every: 200ms}}
",
        current.display(),
        previous.display(),
        roll_back.display(),
        server.port,
        server::path(0)
    );
    place.write("backstop.yaml", &(head(ports, &place)? + &service))?;
    let mut daemon = start_backstop(Core::Any, &place)?;
    until_live(&place, "v1")?;
    let marked = backstop(Core::Any, &place).args(["deploys", "mark", "api", "v1", "good"]).output()?;
    anyhow::ensure!(marked.status.success(), "mark v1 as good: {}", String::from_utf8_lossy(&marked.stderr));
    place.write("live", "v2\n")?;
    until_live(&place, "v2")?;
    until_rolled_out(&place)?;
    server.fail(0)?;
    until("the rollback's command runs", || Ok(!notes(&place, "begin")?.is_empty()))?;
    daemon.kill();
    let killed = wall();
    let _daemon: Child = start_backstop(Core::Any, &place)?;
    let after = |what: &str| -> anyhow::Result<Option<Duration>> {
        Ok(notes(&place, what)?.into_iter().find(|at| *at > killed))
    };
    until("the rollback goes on", || Ok(after("begin")?.is_some()))?;
    let looked = after("current")?.context("see the world looked at before anything was done")?;
    let went_on = after("begin")?.context("see the rollback go on")?;
    let answered = notes(&place, "answered")?.into_iter().rfind(|at| *at < went_on);
    let answered = answered.filter(|at| *at > killed).context("see an answer before anything was done")?;
    Ok(Recovered { looked: looked - killed, went_on: went_on - answered })
}

fn until_live(place: &Place, version: &str) -> anyhow::Result<()> {
    until(&format!("{version} is known to be live"), || {
        let output = backstop(Core::Any, place).args(["deploys", "api", "--json"]).output()?;
        std::thread::sleep(Duration::from_millis(200));
        let deploys: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let deploys = deploys["services"][0]["deploys"].as_array();
        let live = deploys.into_iter().flatten().find(|deploy| deploy["live"] == true);
        Ok(live.is_some_and(|deploy| deploy["release"]["version"] == version))
    })
}

/// What fails before a rollout's end belongs to the rollout, which has time to settle.
fn until_rolled_out(place: &Place) -> anyhow::Result<()> {
    until("the rollout of v2 is over", || {
        let output = backstop(Core::Any, place).args(["status", "--json"]).output()?;
        std::thread::sleep(Duration::from_millis(200));
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Ok(status["services"][0]["rolling_out"] == false)
    })
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// When `what` happened, each time.
fn notes(place: &Place, what: &str) -> anyhow::Result<Vec<Duration>> {
    let text = fs::read_to_string(place.path("notes")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' ')).filter(|(word, _)| *word == what);
    lines.map(|(_, nanos)| Ok(Duration::from_nanos(nanos.parse().context("read a note")?))).collect()
}
