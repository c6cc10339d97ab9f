//! The command `backstop`.

use std::process::ExitCode;

use backstop::runtime::child::supervise;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == supervise::ARGUMENT) {
        return supervise::main();
    }
    ExitCode::from(2)
}
