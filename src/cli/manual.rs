//! `backstop completions` and `backstop man`.

use std::{fs, io, path::Path};

use super::{
    Failure,
    arguments::command,
    arguments_by_hand::{Completions, Man},
    output,
};

const ELSEWHERE: &str = "name a directory that you may write to; without one the first page is printed";

pub(super) fn completions(completions: &Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(completions.shell, &mut command(), "backstop", &mut text);
    output::print(&String::from_utf8_lossy(&text))
}

pub(super) fn man(man: &Man) -> Result<(), Failure> {
    let mut command = command();
    command.build();
    let Some(directory) = &man.directory else {
        return output::print(&String::from_utf8_lossy(&page(&command)?));
    };
    fs::create_dir_all(directory).map_err(|error| unwritable("make the directory", directory, &error))?;
    write(directory, &command, "backstop")
}

fn unwritable(what: &str, path: &Path, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => "something else than a directory is in its way",
        io::ErrorKind::NotFound => "a directory above it cannot be made",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => return Failure::failed(format!("{what} {}: {error}", path.display())).with_hint(ELSEWHERE),
    };
    Failure::failed(format!("{what} {}: {why}", path.display())).with_hint(ELSEWHERE)
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let written = clap_mangen::Man::new(command.clone()).render(&mut text);
    written.map_err(|error| Failure::failed(format!("write the manual: {error}")))?;
    Ok(text)
}

/// A page for the command, and one for each command below it; as deep as commands go.
fn write(directory: &Path, command: &clap::Command, name: &str) -> Result<(), Failure> {
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page(command)?).map_err(|error| unwritable("write", &path, &error))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        write(directory, below, &format!("{name}-{}", below.get_name()))?;
    }
    Ok(())
}
