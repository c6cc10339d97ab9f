//! Deploys, service by service.

use super::{
    table::{finish, row, table},
    text::{Layout, plain, time_cell},
};
use crate::{
    core::{
        release::DeploySource,
        view::{DeployView, PinView, UndeployedView},
    },
    serve::answers::Deploys,
};

/// A table for each service.
pub fn deploys(services: &[Deploys], layout: Layout) -> String {
    let mut parts = Vec::new();
    for service in services {
        let mut part = format!("{}\n", plain(service.service.as_str()));
        if service.known.deploys.is_empty() {
            part += "no deploy is known yet\n";
        } else {
            part += &deployed(&service.known.deploys, layout);
        }
        if !service.known.undeployed.is_empty() {
            part += "also known, though no deploy of it is:\n";
            part += &undeployed(&service.known.undeployed, layout);
        }
        parts.push(part);
    }
    if parts.is_empty() { "no services\n".to_owned() } else { parts.join("\n") }
}

fn deployed(deploys: &[DeployView], layout: Layout) -> String {
    let mut rows =
        table(layout, &["", "DEPLOY", "VERSION", "SINCE (UTC)", "NOTICED BY", "STANDING", "WHY"], &[0, 2, 3]);
    for deploy in deploys {
        let source = match deploy.source {
            DeploySource::FirstSeen => "first look",
            DeploySource::Target => "target",
            DeploySource::VersionEndpoint => "version endpoint",
            DeploySource::Reported => "report",
            DeploySource::Rollback => "rollback",
        };
        let source = deploy.by.as_ref().map_or_else(|| source.to_owned(), |by| format!("{source} of {by}"));
        let source = match &deploy.release.cause {
            Some(cause) => format!("{source}: {}", plain(cause)),
            None => source,
        };
        row(
            &mut rows,
            [
                if deploy.live { "live".to_owned() } else { String::new() },
                deploy.number.to_string(),
                deploy.release.to_string(),
                time_cell(deploy.at),
                source,
                deploy.standing.as_str().replace('_', " "),
                reasons(&deploy.why, deploy.pinned.as_ref()),
            ],
        );
    }
    finish(&rows)
}

fn undeployed(releases: &[UndeployedView], layout: Layout) -> String {
    let mut rows = table(layout, &["", "VERSION", "STANDING", "WHY"], &[0]);
    for release in releases {
        let standing = release.standing.as_str().replace('_', " ");
        let why = reasons(&release.why, release.pinned.as_ref());
        row(&mut rows, [String::new(), release.version.to_string(), standing, why]);
    }
    finish(&rows)
}

fn reasons(why: &str, pinned: Option<&PinView>) -> String {
    let pinned = pinned.map(|pin| format!("pinned by {}", pin.by));
    let reasons = Some(why).filter(|why| !why.is_empty()).map(str::to_owned).into_iter().chain(pinned);
    reasons.collect::<Vec<_>>().join("; ")
}
