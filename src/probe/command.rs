//! One run of a program: exit status 0 passes.

use std::time::Duration;

use crate::{
    config::form::CommandCheck,
    core::sample::{Outcome, Reason},
    runtime::child::{self, ChildEnd, ChildSpec, ChildStatus},
};

/// A program that checks something.
#[derive(Debug, Clone)]
pub struct CommandProbe {
    spec: ChildSpec,
}

impl CommandProbe {
    /// Prepares the run.
    pub fn new(check: &CommandCheck) -> Self {
        Self {
            spec: ChildSpec {
                command: check.run.0.clone(),
                directory: check.directory.clone(),
                environment: check.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
                deadline: Duration::ZERO,
                step: None,
            },
        }
    }

    /// Runs it once; after `timeout` it and everything it started is ended.
    pub async fn sample(&self, timeout: Duration) -> Outcome {
        match child::run(ChildSpec { deadline: timeout, ..self.spec.clone() }).await {
            Ok(end) => judge(&end, timeout),
            Err(error) => Outcome::Missed(Reason::new(&error.to_string())),
        }
    }
}

fn judge(end: &ChildEnd, timeout: Duration) -> Outcome {
    let how = match end.status {
        ChildStatus::Exited(0) => return Outcome::Passed,
        ChildStatus::Exited(status) => format!("exit status {status}"),
        ChildStatus::Signalled(signal) => format!("ended by signal {signal}"),
        ChildStatus::TimedOut => format!("did not end within {timeout:?}"),
    };
    Outcome::Failed(Reason::new(&end.last_line().map_or_else(|| how.clone(), |line| format!("{how}: {line}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_end_means() {
        let end =
            |status, stdout: &str, stderr: &str| ChildEnd { status, stdout: stdout.into(), stderr: stderr.into() };
        let failed = |text: &str| Outcome::Failed(Reason::new(text));
        for (end, expected) in [
            (end(ChildStatus::Exited(0), "noise", "noise"), Outcome::Passed),
            (end(ChildStatus::Exited(3), "", ""), failed("exit status 3")),
            (end(ChildStatus::Exited(1), "out\n", "first\nlast\n\n"), failed("exit status 1: last")),
            (end(ChildStatus::Exited(1), "only out\n", " \n"), failed("exit status 1: only out")),
            (end(ChildStatus::Signalled(11), "", ""), failed("ended by signal 11")),
            (end(ChildStatus::TimedOut, "", "working"), failed("did not end within 2s: working")),
        ] {
            assert_eq!(judge(&end, Duration::from_secs(2)), expected, "{end:?}");
        }
    }
}
