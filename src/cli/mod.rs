//! The command line; one file a command.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 usage, 3 refused by
//! a gate, 78 configuration.

mod arguments;
mod arguments_by_hand;
mod by_hand;
pub mod check;
mod client;
mod configuration;
mod demo;
mod deploys;
mod explain;
mod failure;
mod history;
mod incident;
mod live;
mod logging;
mod manual;
mod notify;
pub(crate) mod output;
mod permission;
pub mod render;
mod rollback;
mod run;
pub mod schema;
mod status;
mod store;
mod stored;

pub use arguments::{Arguments, Fault};
pub use failure::{Exit, Failure};
pub(crate) use run::end_on_signals;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use arguments::{Command, command};
use clap::{FromArgMatches as _, error::ErrorKind};

use crate::config::{Secrets, SystemSecrets};

/// Parses the arguments (the program's name first), does what they say, and tells how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = command().try_get_matches_from(arguments);
    let arguments = match matches.and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches)) {
        Ok(arguments) => arguments,
        // A token in the environment counts as an argument, and then clap lists every command's name, hidden ones too.
        Err(message) if message.kind() == ErrorKind::MissingSubcommand => {
            let _closed_pipe = write!(anstream::stderr(), "{}", command().render_help().ansi());
            return ExitCode::from(Exit::USAGE.code());
        }
        Err(message) => {
            // Help and version go to standard output with 0, mistakes to standard error with 2.
            let _closed_pipe = message.print();
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(Exit::USAGE.code()));
        }
    };
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            output::tell(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

fn dispatch(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let access = &arguments.access;
    match &arguments.command {
        Command::Run => run::run(&access.config),
        Command::Check(check) if check.live => return live::run(check),
        Command::Check(check) => {
            let secrets: Option<&dyn Secrets> = if check.no_secrets { None } else { Some(&SystemSecrets) };
            return Ok(check::run(&check.file, secrets, &mut anstream::stdout(), &mut anstream::stderr()));
        }
        Command::Schema => {
            let mut text = Vec::new();
            schema::run(&mut text).map_err(|error| Failure::failed(format!("write the schema: {error}")))?;
            output::print(&String::from_utf8_lossy(&text))
        }
        Command::Demo(demo) => demo::run(demo),
        Command::Status(status) => client::block_on(status::run(access, status)),
        Command::Explain(explain) => client::block_on(explain::run(access, explain)),
        Command::Incident(incident) => client::block_on(incident::run(access, &incident.command)),
        Command::Deploys(deploys) => client::block_on(deploys::run(access, deploys)),
        Command::History(history) => history::run(access, history),
        Command::Report(report) => client::block_on(by_hand::report(access, report)),
        Command::Pause(pause) => client::block_on(by_hand::pause(access, pause)),
        Command::Resume(resume) => client::block_on(by_hand::resume(access, resume)),
        Command::Pin(pin) => client::block_on(by_hand::pin(access, pin)),
        Command::Unpin(unpin) => client::block_on(by_hand::unpin(access, unpin)),
        Command::Abort(abort) => client::block_on(by_hand::abort(access, abort)),
        Command::Rollback(order) => client::block_on(rollback::run(access, order)),
        Command::Verify(verify) => client::block_on(by_hand::verify(access, verify)),
        Command::Notify(notify) => client::block_on(notify::run(access, notify)),
        Command::Completions(completions) => manual::completions(completions),
        Command::Man(man) => manual::man(man),
        Command::Store(store) => store::run(access, &store.command),
        Command::DemoShop { current, port } => return Ok(crate::demo::shop(current, *port)),
        Command::DemoRestart { socket } => crate::demo::restart(socket).map_err(Failure::failed),
    }
    .map(|()| ExitCode::SUCCESS)
}
