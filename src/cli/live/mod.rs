//! `backstop check --live FILE`: asks everything that a rollback would need, now, and tells what would fail tonight.
//!
//! It changes nothing and pages nobody. It reaches, all at once: every target (a cluster's API server is asked for each
//! permission that a plan needs; directories, links and programs are looked at; `current` and `previous` are run), every
//! signal (one sample of each, Prometheus included), the version endpoints, `self_check`, and the hosts of channels and
//! heartbeat (`HEAD /`, and any answer will do: no page is sent and no heartbeat counted).

mod files;
mod outside;
mod signals;
mod target;

use std::{future::Future, pin::Pin, process::ExitCode, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet, time};

use super::{Exit, Failure, arguments::Check, check, output};
use crate::{
    config::{self, SystemSecrets, form::Config},
    probe::net::Network,
    runtime::clock::Clock,
};

/// One look at one thing may take so long: a list of a large cluster, and the slowest feature's own timeout on top.
const LOOK_WITHIN: Duration = Duration::from_secs(45);
/// Looks at once; fewer than a process may have descriptors by default.
const LOOKS_AT_ONCE: usize = 256;

/// Something that would fail tonight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    /// Which key, as in `services(shop).target.kubernetes`.
    #[serde(rename = "where")]
    pub(super) place: String,
    /// How grave it is.
    pub(super) gravity: Gravity,
    /// What is wrong.
    pub(super) what: String,
    /// How to mend it.
    pub(super) mend: String,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Gravity {
    /// What is configured would not be done.
    Fails,
    /// It would be done with less to show for it.
    Lacks,
}

impl Finding {
    pub(super) fn fails(place: &str, what: impl std::fmt::Display, mend: impl Into<String>) -> Self {
        Self { place: place.to_owned(), gravity: Gravity::Fails, what: what.to_string(), mend: mend.into() }
    }

    /// As one line.
    fn line(&self) -> String {
        let word = match self.gravity {
            Gravity::Fails => "fails",
            Gravity::Lacks => "lacks",
        };
        // Answers of others may have more than one line.
        format!("{word}  {}: {}; mend: {}", self.place, self.what, self.mend).replace(['\n', '\r'], " ")
    }
}

/// One look: the key that it is about, and what it finds.
pub(super) struct Look {
    place: String,
    findings: Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>,
}

impl Look {
    pub(super) fn new(place: impl Into<String>, findings: impl Future<Output = Vec<Finding>> + Send + 'static) -> Self {
        Self { place: place.into(), findings: Box::pin(findings) }
    }
}

/// What was found, for programs.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    looks: usize,
    findings: &'a [Finding],
}

pub(super) fn run(arguments: &Check) -> Result<ExitCode, Failure> {
    let path = &arguments.file;
    let checked = config::check(path, Some(&SystemSecrets));
    let diagnostics = checked.diagnostics.render(true);
    if !diagnostics.is_empty() {
        check::tell(&diagnostics);
    }
    let Some(config) = checked.config else {
        check::tell(&format!("\n{}: {}", path.display(), checked.diagnostics.counted()));
        return Ok(ExitCode::from(Exit::CONFIGURATION.code()));
    };
    let runtime = crate::runtime::runtime(&config)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("start the command: {error}")))?;
    let (looks, findings) = runtime.block_on(look(config));
    // What hangs in a file system is not waited for.
    runtime.shutdown_background();
    if arguments.json {
        output::print_json(&Report { file: path.display().to_string(), looks, findings: &findings })?;
    } else {
        output::print(&told(&path.display().to_string(), looks, &findings))?;
    }
    let fails = findings.iter().any(|finding| finding.gravity == Gravity::Fails);
    Ok(if fails { ExitCode::from(Exit::FAILED.code()) } else { ExitCode::SUCCESS })
}

fn told(file: &str, looks: usize, findings: &[Finding]) -> String {
    let mut text: String = findings.iter().map(|finding| finding.line() + "\n").collect();
    let count = |gravity: Gravity| findings.iter().filter(|finding| finding.gravity == gravity).count();
    text += &match (count(Gravity::Fails), count(Gravity::Lacks)) {
        (0, 0) => format!("{file}: {looks} looks, and nothing would fail tonight\n"),
        (0, lacks) => format!("{file}: {looks} looks, nothing would fail tonight, {lacks} would lack something\n"),
        (fails, 0) => format!("{file}: {looks} looks, {fails} would fail tonight\n"),
        (fails, lacks) => {
            format!("{file}: {looks} looks, {fails} would fail tonight, {lacks} would lack something\n")
        }
    };
    text
}

/// Takes every look at once, and gives each its time.
async fn look(config: Config) -> (usize, Vec<Finding>) {
    let config = Arc::new(config);
    let (network, clock) = (Network::new(), Clock::new());
    let looks: Vec<Look> = files::looks(&config)
        .into_iter()
        .chain(target::looks(&config, target::installation(&config).await.as_deref()))
        .chain(signals::looks(&config, &network, &clock))
        .chain(outside::looks(&config, &network, &clock))
        .collect();
    (looks.len(), take(looks, LOOK_WITHIN).await)
}

async fn take(looks: Vec<Look>, within: Duration) -> Vec<Finding> {
    let turns = Arc::new(Semaphore::new(LOOKS_AT_ONCE));
    let mut taken = JoinSet::new();
    for (order, Look { place, findings }) in looks.into_iter().enumerate() {
        let turns = Arc::clone(&turns);
        taken.spawn(async move {
            let _turn = turns.acquire().await.expect("it is never closed");
            let found = time::timeout(within, findings).await.unwrap_or_else(|_| {
                let what = format!("no answer within {within:?}");
                vec![Finding::fails(&place, what, "find out what hangs there")]
            });
            (order, found)
        });
    }
    let mut found = taken.join_all().await;
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().flat_map(|(_, findings)| findings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hangs_is_told_and_holds_nothing_up() {
        let found = |place: &str| vec![Finding::fails(place, "it is broken", "mend it")];
        let mut looks = vec![Look::new("slow", std::future::pending())];
        looks.extend((0..LOOKS_AT_ONCE).map(|_| Look::new("hanging", std::future::pending())));
        looks.push(Look::new("last", std::future::ready(found("last"))));
        let findings = take(looks, Duration::from_millis(20)).await;
        assert_eq!(findings.len(), LOOKS_AT_ONCE + 2);
        assert!(findings[0].what.contains("no answer within 20ms"), "{:?}", findings[0]);
        assert_eq!(findings.last(), found("last").last(), "in the order of the configuration");
    }

    #[test]
    fn a_finding_is_one_line() {
        let finding = Finding::fails("services(shop).target", "it said\nno", "ask again");
        assert_eq!(finding.line(), "fails  services(shop).target: it said no; mend: ask again");
        let lacks = Finding { gravity: Gravity::Lacks, ..finding.clone() };
        assert!(told("f", 3, &[]).ends_with("nothing would fail tonight\n"));
        assert!(told("f", 3, std::slice::from_ref(&lacks)).ends_with("1 would lack something\n"));
        assert_eq!(told("f", 3, &[finding, lacks]).lines().count(), 3);
    }
}
