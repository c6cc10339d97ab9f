//! Plans: the runbook's procedures as lists of steps. Each step has a deadline, and an undo where something undoes it.

mod choice;

pub use choice::{Circumstances, choose};

use std::time::Duration;

use super::{
    entry::{PlannedStep, StepAction},
    name::Version,
    operation::Operation,
    policy::ServicePolicy,
    release::{GitSync, Instance},
};

/// Looking whether a version is there changes nothing and reads only local state or a registry's index.
const ENSURE_DEADLINE: Duration = Duration::from_secs(60);
/// How long the version endpoint may take to say the older version once the probes pass.
const CHECK_VERSION_DEADLINE: Duration = Duration::from_secs(60);
/// Deleting a few instances; a platform that answers takes a second.
const RESTART_DEADLINE: Duration = Duration::from_secs(60);
/// Instances that a step's title names; the others are counted.
const NAMED_LIMIT: usize = 3;
/// Writing one small file.
const RECORD_DEADLINE: Duration = Duration::from_secs(30);

/// Turning a controller's sync off or on is one small write.
pub const SYNC_DEADLINE: Duration = Duration::from_secs(60);

/// The quick rollback: application only, under five minutes. `suspends` is the sync that has to be suspended first.
pub fn quick(policy: &ServicePolicy, from: &Version, to: &Version, suspends: Option<&GitSync>) -> Vec<PlannedStep> {
    let switch = Operation::Switch { from: from.clone(), to: to.clone() };
    let undo = Operation::Switch { from: to.clone(), to: from.clone() };
    let mut steps = vec![operate(
        "make sure the older version is there",
        Operation::EnsureAvailable { version: to.clone() },
        ENSURE_DEADLINE,
    )];
    if let Some(GitSync { owner, was, .. }) = suspends {
        let operation = Operation::SuspendSync { owner: owner.clone(), was: was.clone() };
        let undo = Some(Operation::ResumeSync { owner: owner.clone() });
        let title = format!("suspend the sync of {owner}");
        steps.push(PlannedStep { undo, ..operate(&title, operation, SYNC_DEADLINE) });
    }
    steps.extend([
        PlannedStep { undo: Some(undo), ..operate("roll back the target", switch, policy.rollout_timeout) },
        PlannedStep {
            optional: true,
            ..operate("wait for the rollout", Operation::WaitRollout { version: to.clone() }, policy.rollout_timeout)
        },
        watched("check health", StepAction::CheckHealth, policy.gates.settle),
    ]);
    if policy.checks_version {
        let action = StepAction::CheckVersion { version: to.clone() };
        steps.push(watched("check version", action, CHECK_VERSION_DEADLINE));
    }
    steps.push(watched("verify", StepAction::Verify, policy.verify.timeout));
    steps.push(watched("record", StepAction::Record, RECORD_DEADLINE));
    steps
}

/// Restart of what fails in a partial failure: these instances are deleted, and no others, however often the step is tried;
/// then it is watched whether what comes in their place serves. It cannot be undone, and need not be.
pub fn restart_failing(policy: &ServicePolicy, version: &Version, instances: &[Instance]) -> Vec<PlannedStep> {
    let names: Vec<&str> = instances.iter().take(NAMED_LIMIT).map(|one| one.name.as_str()).collect();
    let more = match instances.len().saturating_sub(NAMED_LIMIT) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let title = format!("delete what fails: {}{more}", names.join(", "));
    let operation = Operation::RestartFailing { version: version.clone(), instances: instances.to_vec() };
    vec![
        operate(&title, operation, RESTART_DEADLINE),
        watched("wait and verify", StepAction::Verify, policy.verify.timeout),
    ]
}

/// Gathering as one step, for people who ask what it would do. It runs beside whatever else is done, not as a plan's step.
pub fn gather(deadline: Duration) -> PlannedStep {
    watched("gather nodes, pods, events and logs into the incident's evidence", StepAction::CheckHealth, deadline)
}

fn operate(title: &str, operation: Operation, deadline: Duration) -> PlannedStep {
    PlannedStep {
        title: title.to_owned(),
        action: StepAction::Operate { operation },
        deadline,
        undo: None,
        optional: false,
    }
}

/// A step that the core itself watches, or that the plan's outcome does not hang on.
fn watched(title: &str, action: StepAction, deadline: Duration) -> PlannedStep {
    PlannedStep { title: title.to_owned(), action, deadline, undo: None, optional: true }
}
