//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    backstop::cli::main(std::env::args_os())
}
