//! The binary: everything is in the library.

use std::process::ExitCode;

use backstop::runtime::child::supervise;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == supervise::ARGUMENT) {
        return supervise::main();
    }
    // It fails only if a provider is there already, which is as good.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    backstop::cli::main(std::env::args_os())
}
