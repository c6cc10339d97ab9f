//! Backstop beside Monit, beside blackbox_exporter with Prometheus and Alertmanager, and beside a bare loop of connect,
//! write, read, close: on one machine, in one run, against one small HTTP server on loopback.
//!
//! ```console
//! $ cargo bench --bench side_by_side
//! $ cargo bench --bench side_by_side -- --only cpu --quick
//! $ cargo bench --bench side_by_side -- --only soak --minutes 30
//! ```
//!
//! Where there are two cores or more, the server has the last one to itself and what is measured runs on the first;
//! blackbox_exporter with Prometheus and Alertmanager would not fit there, and get all of them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its table and its progress are for people to read")]

mod arguments;
mod bare;
mod core;
mod cpu;
mod page;
mod place;
mod process;
mod receiver;
mod recovery;
mod schedule;
mod server;
mod soak;
mod statistics;
mod subject;
mod table;

#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use self::{
    arguments::{Arguments, Part},
    cpu::Loads,
    subject::missing_packages,
    table::Report,
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ended = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [server::ROLE] => server::main(),
        [bare::ROLE, port, probes] => bare::main(port, probes),
        _ => run(&Arguments::parse()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side_by_side: failed to {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let parts = arguments.parts();
    if parts.iter().any(|part| part.needs_others()) {
        let missing = missing_packages();
        anyhow::ensure!(
            missing.is_empty(),
            "find what Backstop is measured beside: please install it (apt-get install --no-install-recommends {}), or \
             take --only with parts that need none of it (core, start, recovery, soak)",
            missing.join(" ")
        );
    }
    let mut report = Report::new();
    let mut loads = Loads::new(arguments.quick);
    for part in parts {
        eprintln!("== {}", part.name());
        let ended = match part {
            Part::Cpu => cpu::cpu(&mut loads, &mut report),
            Part::Memory => cpu::memory(&mut loads, &mut report),
            Part::Schedule => schedule::schedule(arguments.quick, &mut report),
            Part::Page => page::page(arguments.quick, &mut report),
            // First, while nothing that was freed before is used again.
            Part::Core => core::memory(&mut report).and_then(|()| core::throughput(arguments.quick, &mut report)),
            Part::Start => recovery::start(arguments.quick, &mut report),
            Part::Recovery => recovery::recovery(arguments.quick, &mut report),
            Part::Soak => soak::soak(arguments.minutes, &mut report),
        };
        ended.with_context(|| format!("measure {}", part.name()))?;
    }
    let text = report.render();
    println!("{text}");
    if let Some(path) = &arguments.write {
        table::write_between_marks(path, &text)?;
    }
    Ok(())
}
