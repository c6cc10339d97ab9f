//! The user's own commands: how they are run, and what their output must be.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{AVAILABLE_LIMIT, TargetError};
use crate::{
    config::form::CommandLine,
    core::{
        name::{ServiceName, Version},
        operation::{OperationOutcome, StepKey},
    },
    runtime::child::{self, ChildEnd, ChildSpec, OUTPUT_LIMIT_BYTES},
};

/// Longest version; no tool's is longer than a digest with its name.
const VERSION_LIMIT_BYTES: usize = 256;

/// A command's key in the configuration, itself, and what it is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool<'a> {
    pub(super) name: &'static str,
    pub(super) command: &'a CommandLine,
    /// From which version and to which, where known.
    pub(super) versions: Option<(&'a Version, &'a Version)>,
    pub(super) deadline: Duration,
}

/// What all commands of one service share.
#[derive(Debug)]
pub(super) struct Toolbox {
    service: ServiceName,
    run_directory: PathBuf,
}

impl Toolbox {
    pub(super) fn new(service: ServiceName, run_directory: PathBuf) -> Self {
        Self { service, run_directory }
    }

    pub(super) fn run_directory(&self) -> &Path {
        &self.run_directory
    }

    pub(super) fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Runs a command that changes something, under a step's key; any status but 0 is an error.
    pub(super) async fn change(&self, tool: Tool<'_>, key: &StepKey) -> Result<ChildEnd, TargetError> {
        self.run(tool, None, Some((self.run_directory.clone(), key.clone()))).await
    }

    /// The same in a directory.
    pub(super) async fn change_in(
        &self,
        tool: Tool<'_>,
        directory: &Path,
        key: &StepKey,
    ) -> Result<ChildEnd, TargetError> {
        self.run(tool, Some(directory.to_owned()), Some((self.run_directory.clone(), key.clone()))).await
    }

    /// Runs a command that only looks; any status but 0 is an error.
    pub(super) async fn ask(&self, tool: Tool<'_>) -> Result<ChildEnd, TargetError> {
        self.run(tool, None, None).await
    }

    async fn run(
        &self,
        tool: Tool<'_>,
        directory: Option<PathBuf>,
        step: Option<(PathBuf, StepKey)>,
    ) -> Result<ChildEnd, TargetError> {
        let mut environment = vec![("BACKSTOP_SERVICE".to_owned(), self.service.as_str().into())];
        if let Some((from, to)) = tool.versions {
            environment.push(("BACKSTOP_VERSION_FROM".to_owned(), from.as_str().into()));
            environment.push(("BACKSTOP_VERSION_TO".to_owned(), to.as_str().into()));
        }
        let spec = ChildSpec { command: tool.command.0.clone(), directory, environment, deadline: tool.deadline, step };
        let end = child::run(spec).await.map_err(|source| TargetError::Run { name: tool.name, source })?;
        if end.succeeded() {
            return Ok(end);
        }
        let said = end.last_line().unwrap_or_default().to_owned();
        Err(TargetError::Ended { name: tool.name, status: end.status, said })
    }

    pub(super) async fn traffic(
        &self,
        name: &'static str,
        command: Option<&CommandLine>,
        key: &StepKey,
        deadline: Duration,
    ) -> OperationOutcome {
        let Some(command) = command else { return TargetError::NotConfigured(name).outcome() };
        match self.change(Tool { name, command, versions: None, deadline }, key).await {
            Ok(_) => OperationOutcome::Done(format!("`{name}` succeeded")),
            Err(error) => error.outcome(),
        }
    }
}

/// The version on the first line of what was printed.
pub(super) fn first_version(name: &'static str, end: &ChildEnd) -> Result<Version, TargetError> {
    let line = bounded(name, end)?.lines().next().unwrap_or_default();
    version(name, line)
}

/// One version a line, empty lines left out, no more than [`AVAILABLE_LIMIT`].
pub(super) fn versions(name: &'static str, end: &ChildEnd) -> Result<Vec<Version>, TargetError> {
    let lines = bounded(name, end)?.lines().filter(|line| !line.trim().is_empty());
    lines.take(AVAILABLE_LIMIT).map(|line| version(name, line)).collect()
}

fn bounded<'a>(name: &'static str, end: &'a ChildEnd) -> Result<&'a str, TargetError> {
    if end.stdout.len() > OUTPUT_LIMIT_BYTES {
        return Err(TargetError::Printed { name, why: format!("it is more than {OUTPUT_LIMIT_BYTES} bytes") });
    }
    Ok(&end.stdout)
}

fn version(name: &'static str, line: &str) -> Result<Version, TargetError> {
    let text = line.trim();
    let refused = |why: String| Err(TargetError::Printed { name, why });
    if text.is_empty() {
        return refused("there is no version on its first line".to_owned());
    }
    if text.len() > VERSION_LIMIT_BYTES {
        return refused(format!("a line of {} bytes is no version", text.len()));
    }
    if text.contains(|character: char| {
        character.is_whitespace() || character.is_control() || character == char::REPLACEMENT_CHARACTER
    }) {
        return refused(format!("{text:?} is no version"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::child::ChildStatus;

    fn printed(stdout: &str) -> ChildEnd {
        ChildEnd { status: ChildStatus::Exited(0), stdout: stdout.to_owned(), stderr: String::new() }
    }

    #[test]
    fn versions_and_what_is_none() {
        assert_eq!(first_version("current", &printed(" v1.2.3 \nmore")).expect("a version").as_str(), "v1.2.3");
        for (text, expected) in [
            ("", "no version on its first line"),
            ("\nv1", "no version on its first line"),
            ("Error: not logged in", "is no version"),
            ("v\u{1b}[1m", "is no version"),
            ("\u{fffd}\u{fffd}", "is no version"),
            (&"x".repeat(300), "a line of 300 bytes"),
            (&format!("v1\n{}", "x".repeat(OUTPUT_LIMIT_BYTES)), "more than"),
        ] {
            let error = first_version("current", &printed(text)).expect_err("no version").to_string();
            assert!(error.contains(expected) && error.contains("`current`"), "{error}");
        }
        let all = versions("previous", &printed("v3\n\n v2\r\nv1\n")).expect("versions");
        assert_eq!(all, ["v3", "v2", "v1"].map(Version::from));
        versions("previous", &printed("v3\nsome words\n")).expect_err("a line is no version");
        let many = (0..1000).map(|number| format!("v{number}")).collect::<Vec<_>>().join("\n");
        assert_eq!(versions("previous", &printed(&many)).expect("versions").len(), AVAILABLE_LIMIT);
    }
}
