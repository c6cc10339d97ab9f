//! `backstop incident`: incidents, and what people decide about them.

use serde_json::json;

use super::{
    Failure,
    arguments::{Access, IncidentCommand},
    client::{Daemon, decode},
    output, render, stored,
};
use crate::{
    core::view::{ApprovalView, IncidentView},
    serve::{
        answers::{Done, IncidentSummary, Incidents},
        no_incident,
    },
};

pub(super) async fn run(access: &Access, command: &IncidentCommand) -> Result<(), Failure> {
    let daemon = Daemon::of(access)?;
    match command {
        IncidentCommand::List { service, open, json } => {
            let mut query = Vec::new();
            if let Some(service) = service {
                query.push(("service", service.as_str()));
            }
            if *open {
                query.push(("open", "true"));
            }
            let answer = match daemon.get("list the incidents", &["incidents"], &query).await {
                Err(failure) if failure.unreached => {
                    let mut stored = stored::incidents(access, failure)?;
                    stored.retain(|incident| service.as_ref().is_none_or(|name| name == incident.service.as_str()));
                    stored.retain(|incident| !*open || incident.resolved_at.is_none());
                    encode(&Incidents { incidents: stored.iter().map(IncidentSummary::from).collect() })?
                }
                answer => answer?,
            };
            if *json {
                return output::print_json(&answer);
            }
            output::print(&render::incidents(&decode(&answer)?, output::layout()))
        }
        IncidentCommand::Show { incident, json } => {
            let answer = match daemon.get(&format!("show {incident}"), &["incidents", incident], &[]).await {
                Err(failure) if failure.unreached => {
                    let stored = stored::incidents(access, failure)?;
                    let found = stored.iter().find(|one| one.id.as_str() == incident);
                    let why = || no_incident(incident, stored.iter());
                    encode(found.ok_or_else(|| Failure::failed(format!("show {incident}: {}", why())))?)?
                }
                answer => answer?,
            };
            if *json {
                return output::print_json(&answer);
            }
            output::print(&render::incident(&decode(&answer)?, output::layout()))
        }
        IncidentCommand::Approve { incident, approval } => {
            let what = format!("approve {incident}");
            let approval = chosen(&daemon, &what, incident, *approval).await?;
            let body = json!({"approval": approval});
            done(&daemon.post(&what, &["incidents", incident, "approve"], &body).await?)
        }
        IncidentCommand::Deny { incident, approval, reason } => {
            let what = format!("deny {incident}");
            let approval = chosen(&daemon, &what, incident, *approval).await?;
            let body = json!({"approval": approval, "reason": reason});
            done(&daemon.post(&what, &["incidents", incident, "deny"], &body).await?)
        }
    }
}

/// The same JSON as the daemon would answer.
fn encode(value: &impl serde::Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::failed(format!("write JSON: {error}")))
}

/// The approval to decide: the one that was named, else the one that is open, so that the decision binds to what was
/// there when it was made.
async fn chosen(daemon: &Daemon, what: &str, incident: &str, approval: Option<u32>) -> Result<u32, Failure> {
    if let Some(approval) = approval {
        return Ok(approval);
    }
    let view: IncidentView = decode(&daemon.get(what, &["incidents", incident], &[]).await?)?;
    let why = match &view.approval {
        Some(approval) if approval.state == "open" => return Ok(approval.approval),
        _ if view.resolved_at.is_some() => format!("it is over ({})", view.state),
        None => "it does not wait for an approval".to_owned(),
        Some(ApprovalView { approval, state, by: Some(by), .. }) => format!("approval {approval} was {state} by {by}"),
        Some(ApprovalView { approval, state, by: None, .. }) => format!("approval {approval} is {state}"),
    };
    let hint = format!("`backstop incident show {incident}` tells how it stands");
    Err(Failure::failed(format!("{what}: {why}")).with_hint(hint))
}

pub(super) fn done(answer: &serde_json::Value) -> Result<(), Failure> {
    let done: Done = decode(answer)?;
    output::print(&format!("{}\n", done.message))
}
