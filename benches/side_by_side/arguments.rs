//! What is to be measured.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Backstop beside Monit, beside blackbox_exporter with Prometheus and Alertmanager, and beside a bare loop.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// These parts alone; may be repeated. Without it, all but the soak
    #[arg(long, value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// Shorter windows and fewer trials: rough figures
    #[arg(long)]
    pub(crate) quick: bool,
    /// How long the soak lasts
    #[arg(long, default_value_t = 30, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    pub(crate) minutes: u64,
    /// Writes the table between the marks in this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Processor time of one probe at 100, 1,000 and 5,000 a second
    Cpu,
    /// Resident memory at 1 and 1,000 probes
    Memory,
    /// The schedule of 999 probes while one target hangs
    Schedule,
    /// From a fault to its page
    Page,
    /// Samples through window, conditions and tree
    Core,
    /// From exec to the first probe
    Start,
    /// After kill -9 in the middle of a rollback
    Recovery,
    /// Memory over a long time at 1,000 probes a second
    Soak,
}

impl Arguments {
    pub(crate) fn parts(&self) -> Vec<Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| if self.only.is_empty() { *part != Part::Soak } else { self.only.contains(part) }).collect()
    }
}

impl Part {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "processor time",
            Self::Memory => "memory",
            Self::Schedule => "schedule",
            Self::Page => "fault to page",
            Self::Core => "core throughput",
            Self::Start => "start",
            Self::Recovery => "recovery",
            Self::Soak => "soak",
        }
    }

    /// Whether others are measured beside Backstop.
    pub(crate) const fn needs_others(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory | Self::Schedule | Self::Page)
    }
}
