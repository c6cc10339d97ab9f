//! The binary: everything is in the library.

use std::process::ExitCode;

use backstop::runtime::child::{begin, supervise};

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(argument) if argument == supervise::ARGUMENT => return supervise::main(),
        Some(argument) if argument == begin::ARGUMENT => return begin::main(),
        _ => {}
    }
    // It fails only if a provider is there already, which is as good.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    backstop::cli::main(std::env::args_os())
}
