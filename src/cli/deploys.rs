//! `backstop deploys`: what became live, and what is known of it.

use serde_json::json;

use super::{
    Failure,
    arguments::{Access, Deploys, DeploysCommand},
    client::{Daemon, decode},
    incident::done,
    output, render,
};
use crate::serve::answers::Services;

pub(super) async fn run(access: &Access, deploys: &Deploys) -> Result<(), Failure> {
    let daemon = Daemon::of(access)?;
    match &deploys.command {
        Some(DeploysCommand::Mark { service, version, mark }) => {
            let what = format!("mark {version} of {service}");
            let way = ["services", service, "deploys", version, "mark"];
            done(&daemon.post(&what, &way, &json!({"mark": mark})).await?)
        }
        Some(DeploysCommand::Report { service, version }) => {
            let what = format!("report a deploy of {version} to {service}");
            done(&daemon.post(&what, &["services", service, "deploys"], &json!({"version": version})).await?)
        }
        None => list(&daemon, deploys).await,
    }
}

async fn list(daemon: &Daemon, deploys: &Deploys) -> Result<(), Failure> {
    let services = if let Some(service) = &deploys.service {
        vec![service.clone()]
    } else {
        let all: Services = decode(&daemon.get("list the services", &["services"], &[]).await?)?;
        all.services.iter().map(|service| service.name.to_string()).collect()
    };
    let mut answers = Vec::with_capacity(services.len());
    for service in &services {
        answers
            .push(daemon.get(&format!("list the deploys of {service}"), &["services", service, "deploys"], &[]).await?);
    }
    if deploys.json {
        return output::print_json(&json!({"services": answers}));
    }
    let decoded = answers.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    output::print(&render::deploys(&decoded, output::layout()))
}
