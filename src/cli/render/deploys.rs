//! Deploys, service by service.

use super::{
    table::{finish, row, table},
    text::{Layout, plain, time_cell},
};
use crate::{core::release::DeploySource, serve::answers::Deploys};

/// A table for each service.
pub fn deploys(services: &[Deploys], layout: Layout) -> String {
    let mut parts = Vec::new();
    for service in services {
        let mut part = format!("{}\n", plain(service.service.as_str()));
        if service.deploys.is_empty() {
            part += "no deploy is known yet\n";
        } else {
            part += &one(service, layout);
        }
        parts.push(part);
    }
    if parts.is_empty() { "no services\n".to_owned() } else { parts.join("\n") }
}

fn one(service: &Deploys, layout: Layout) -> String {
    let mut rows =
        table(layout, &["", "DEPLOY", "VERSION", "SINCE (UTC)", "NOTICED BY", "STANDING", "WHY"], &[0, 2, 3]);
    for deploy in &service.deploys {
        let source = match deploy.source {
            DeploySource::FirstSeen => "first look",
            DeploySource::Target => "target",
            DeploySource::VersionEndpoint => "version endpoint",
            DeploySource::Reported => "report",
            DeploySource::Rollback => "rollback",
        };
        let source = deploy.by.as_ref().map_or_else(|| source.to_owned(), |by| format!("{source} of {by}"));
        row(
            &mut rows,
            [
                if deploy.live { "live".to_owned() } else { String::new() },
                deploy.number.to_string(),
                deploy.release.to_string(),
                time_cell(deploy.at),
                source,
                deploy.standing.as_str().replace('_', " "),
                match &deploy.pinned {
                    Some(pin) => {
                        format!("{}{}pinned by {}", deploy.why, if deploy.why.is_empty() { "" } else { "; " }, pin.by)
                    }
                    None => deploy.why.clone(),
                },
            ],
        );
    }
    finish(&rows)
}
