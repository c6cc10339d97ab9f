//! What may be written on the command line for operating by hand.

use std::path::PathBuf;

use clap::{Args, Subcommand, builder::PossibleValuesParser};

use crate::core::{gate::Gate, policy::ReportKind, verdict::PlanKind};

fn report_kinds() -> PossibleValuesParser {
    ReportKind::ALL.map(ReportKind::as_str).into()
}

/// Every plan, by name. Those that are not there yet are known all the same, and refused by that reason.
fn plans() -> PossibleValuesParser {
    PlanKind::ALL.map(PlanKind::as_str).into()
}

/// What `--plan` takes, for the help.
fn plan_help() -> String {
    let later: Vec<_> = PlanKind::ALL.into_iter().filter(|plan| !plan.is_available()).map(PlanKind::as_str).collect();
    format!("By this plan; {} are not in this version yet", later.join(" and "))
}

fn gates() -> PossibleValuesParser {
    let gates = Gate::ALL.iter().copied().filter(|gate| gate.can_be_overridden());
    gates.map(Gate::as_str).collect::<Vec<_>>().into()
}

#[derive(Debug, Args)]
pub(super) struct Report {
    /// The service
    pub(super) service: String,
    /// What is reported
    #[arg(value_parser = report_kinds())]
    pub(super) kind: String,
    /// More of it, in words; kept and shown
    #[arg(long, value_name = "TEXT")]
    pub(super) detail: Option<String>,
    /// Take reports of this kind back
    #[arg(long, conflicts_with = "detail")]
    pub(super) retract: bool,
}

#[derive(Debug, Args)]
// Left to itself clap shows what was written as if it were required.
#[command(override_usage = "backstop pause [OPTIONS] --reason <TEXT> [SERVICE]")]
pub(super) struct Pause {
    /// The service; all of them where it is left out
    pub(super) service: Option<String>,
    /// For so long, as in 1h or 90m; until it is resumed where it is left out
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    pub(super) for_seconds: Option<u64>,
    /// Why; kept and shown
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
}

fn seconds(text: &str) -> Result<u64, String> {
    match crate::config::duration(text)?.as_secs() {
        0 => Err("a pause lasts at least a second".to_owned()),
        seconds => Ok(seconds),
    }
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The service; the pause of all where it is left out
    pub(super) service: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Pin {
    /// The service
    pub(super) service: String,
    /// The version, as its target names it
    pub(super) version: String,
    /// Why; kept and shown
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Unpin {
    /// The service
    pub(super) service: String,
    /// The version
    pub(super) version: String,
}

#[derive(Debug, Args)]
pub(super) struct Abort {
    /// The incident, as in api-17
    pub(super) incident: String,
    /// Why; kept and shown
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RollBack {
    /// The service
    pub(super) service: String,
    /// To this version, instead of the one that Backstop would go back to
    #[arg(long, value_name = "VERSION")]
    pub(super) to: Option<String>,
    #[arg(long, help = plan_help(), value_parser = plans(), default_value = "quick")]
    pub(super) plan: String,
    /// Show every gate and every step, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Let this gate's no or unknown not hold it; may be given several times
    #[arg(long = "override", value_name = "GATE", value_parser = gates(), requires = "reason")]
    pub(super) overrides: Vec<String>,
    /// Why; kept and shown
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// With --dry-run: as JSON
    #[arg(long, requires = "dry_run")]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The service
    pub(super) service: String,
    /// Wait for the outcome, also of one that is under way already; exit 0 only if it is verified
    #[arg(long)]
    pub(super) wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct Notify {
    #[command(subcommand)]
    pub(super) command: NotifyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum NotifyCommand {
    /// Send a test page by one channel now, straight from the configuration
    Test {
        /// The channel
        channel: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Where one page for each command is written; made if it is not there
    pub(super) directory: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn pauses_are_read_as_people_write_them() {
        for (text, expected) in
            [("90s", 90), ("30m", 1800), ("1h", 3600), ("1h 30m", 5400), ("2d", 172_800), ("1w", 604_800)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "0s", "-1h", "soon", "10", "500ms", "1 month"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
