//! What may be written on the command line.

use std::path::PathBuf;

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};
use secrecy::SecretString;

use super::arguments_by_hand::{Abort, Completions, Man, Notify, Pause, Pin, Report, Resume, RollBack, Unpin, Verify};
use crate::core::release::Mark;

/// Stands watch beside production and undoes a bad release.
#[derive(Debug, Parser)]
#[command(name = "backstop", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 refused by a gate, 78 configuration.")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) access: Access,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Where the configuration is, if nothing else is said.
pub(super) const CONFIGURATION: &str = "/etc/backstop/backstop.yaml";

/// What `BACKSTOP_CONFIG` names.
fn usual_configuration() -> PathBuf {
    std::env::var_os("BACKSTOP_CONFIG")
        .filter(|name| !name.is_empty())
        .map_or_else(|| CONFIGURATION.into(), PathBuf::from)
}

/// An empty name is none: a variable that is set to nothing counts as one that is not set.
fn configuration() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|name| PathBuf::from(if name.is_empty() { CONFIGURATION.into() } else { name }))
}

/// The heading over how a daemon is reached.
const REACHING: &str = "Reaching the daemon";

/// Where the configuration is, and how a daemon is reached.
#[derive(Debug, Args)]
pub(super) struct Access {
    // The variable is a default like the other: what is only there by it is no argument that a usage line would repeat.
    #[arg(long, global = true, value_name = "FILE", value_parser = configuration())]
    #[arg(default_value_os_t = usual_configuration(), hide_default_value = true)]
    #[arg(help = format!("The configuration [env: BACKSTOP_CONFIG] [default: {CONFIGURATION}]"))]
    pub(super) config: PathBuf,
    /// The daemon's URL; without it the Unix socket is used
    #[arg(long, global = true, value_name = "URL", help_heading = REACHING)]
    #[arg(conflicts_with = "socket")]
    pub(super) server: Option<String>,
    /// The token for --server; the variable keeps it out of the list of processes
    #[arg(long, global = true, value_name = "TOKEN", env = "BACKSTOP_TOKEN", hide_env_values = true)]
    #[arg(help_heading = REACHING)]
    pub(super) token: Option<SecretString>,
    /// The daemon's Unix socket, instead of the one that the configuration names
    #[arg(long, global = true, value_name = "PATH", help_heading = REACHING)]
    pub(super) socket: Option<PathBuf>,
}

/// Commands that reach no daemon: how one is reached is not shown with them.
const WITHOUT_DAEMON: [&str; 9] =
    ["run", "check", "schema", "demo", "history", "notify", "completions", "man", "store"];

/// The command line as it is parsed and shown.
pub(super) fn command() -> clap::Command {
    let command = Arguments::command();
    let reaching = command.get_arguments().filter(|one| one.get_help_heading() == Some(REACHING));
    let hidden: Vec<clap::Arg> = reaching.map(|one| one.clone().hide(true)).collect();
    WITHOUT_DAEMON.iter().fold(command, |command, name| command.mut_subcommand(name, |one| one.args(hidden.clone())))
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon
    Run,
    /// Check a configuration and tell every mistake in it
    Check(Check),
    /// Print the configuration's JSON Schema
    Schema,
    /// Watch a small shop of its own being deployed, broken and rolled back, within a minute
    Demo(Demo),
    /// Show every service: what is live, what the tree says, whether a rollback would be possible
    Status(Status),
    /// Show how a service's verdict came about, with every number, and what would have changed it
    Explain(Explain),
    /// Look at incidents, and decide about rollbacks that wait for a human
    Incident(Incident),
    /// List deploys, report one, or say what is known of a release
    Deploys(Deploys),
    /// List the rollbacks of the history file
    History(History),
    /// Report something about a service, or take it back
    Report(Report),
    /// Begin no new plan, for one service or for all
    Pause(Pause),
    /// Take a pause back
    Resume(Resume),
    /// Keep a version: while it is live nothing is rolled back from it
    Pin(Pin),
    /// Take a pin away
    Unpin(Unpin),
    /// End the plan of an incident safely
    Abort(Abort),
    /// Roll a service back by hand
    Rollback(RollBack),
    /// Verify what is live, as after a rollback
    Verify(Verify),
    /// Try the ways by which people are told
    Notify(Notify),
    /// Print completions for a shell
    Completions(Completions),
    /// Write the manual's pages into a directory, or print the first one
    Man(Man),
    /// Look after the store
    Store(Store),
    /// The demonstration's shop
    #[command(hide = true)]
    DemoShop {
        /// The link to the live release
        current: PathBuf,
        /// Where it listens on 127.0.0.1
        port: u16,
    },
    /// The demonstration's restart command
    #[command(hide = true)]
    DemoRestart {
        /// Where the demonstration listens
        socket: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Again each second, until Ctrl-C
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file
    pub(super) file: PathBuf,
    /// Leave ${env:…} and ${file:…} unresolved
    #[arg(long)]
    pub(super) no_secrets: bool,
    /// Reach everything that it names, now, and tell what would fail tonight; changes nothing and pages nobody
    #[arg(long, conflicts_with = "no_secrets")]
    pub(super) live: bool,
    /// What --live finds as JSON
    #[arg(long, requires = "live")]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// What is wrong with the second release
    #[arg(long, value_enum, default_value_t = Fault::Errors)]
    pub(super) fault: Fault,
    /// Go on afterwards, until Ctrl-C
    #[arg(long)]
    pub(super) stay: bool,
}

/// What is wrong with the demonstration's second release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// After a few seconds it answers nothing but 503
    Down,
    /// 12% of its answers are errors
    Errors,
    /// It takes many times as long
    Slow,
    /// 0.8% of its answers are errors: no reason to roll back
    Flaky,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The service
    pub(super) service: String,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Incident {
    #[command(subcommand)]
    pub(super) command: IncidentCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum IncidentCommand {
    /// List incidents, newest first
    List {
        /// Only this service's
        #[arg(long, value_name = "SERVICE")]
        service: Option<String>,
        /// Only those that are not over
        #[arg(long)]
        open: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an incident: its findings, plans, timeline and tree
    Show {
        /// The incident, as in api-17
        incident: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let the rollback happen that waits for a human
    Approve {
        /// The incident
        incident: String,
        /// The approval that you saw; refused if another one waits by now
        #[arg(long, value_name = "NUMBER")]
        approval: Option<u32>,
    },
    /// Do not roll this deploy back
    Deny {
        /// The incident
        incident: String,
        /// The approval that you saw; refused if another one waits by now
        #[arg(long, value_name = "NUMBER")]
        approval: Option<u32>,
        /// Why; kept with the incident
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Deploys {
    /// Only this service's
    pub(super) service: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Option<DeploysCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeploysCommand {
    /// Say what is known of a release: good ones can be gone back to, bad ones never
    Mark {
        /// The service
        service: String,
        /// The version, as its target names it
        version: String,
        /// What is known
        #[arg(value_parser = mark, value_name = "good|bad|clear")]
        mark: Mark,
    },
    /// Tell that a deploy begins or has just been made
    Report {
        /// The service
        service: String,
        /// The version; the live one's announces a restart
        version: String,
    },
}

fn mark(text: &str) -> Result<Mark, String> {
    match text {
        "good" => Ok(Mark::Good),
        "bad" => Ok(Mark::Bad),
        "clear" => Ok(Mark::Clear),
        _ => Err("expected good, bad or clear".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(super) struct Store {
    #[command(subcommand)]
    pub(super) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy the store as it is now into a new file, beside a running daemon or without one
    Backup {
        /// The copy; it must not be there yet
        file: PathBuf,
        /// The store, instead of the one that the configuration names
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
    },
    /// Put a backup in the store's place, while no daemon runs; what was there is moved aside
    Restore {
        /// The backup; it stays as it is
        backup: PathBuf,
        /// The store, instead of the one that the configuration names
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// The history file, instead of the one that the configuration names
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Only this service's
    #[arg(long, value_name = "SERVICE")]
    pub(super) service: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}
