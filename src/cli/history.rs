//! `backstop history`: the rollbacks of the history file, read directly, whether or not a daemon runs.

use serde_json::json;

use super::{
    Failure,
    arguments::{Access, History},
    configuration, output, render,
};
use crate::{
    config,
    core::{name::ServiceName, operation::HistoryRecord},
};

/// A service of which there is no rollback is watched at least, or its name is a mistake: "none" would be taken for good
/// news. Which are watched is not known where the history was named without a configuration that can be read.
fn known(access: &Access, history: &History, service: &str, rollbacks: &[HistoryRecord]) -> Result<(), Failure> {
    let watched = match config::services(&access.config) {
        Ok(watched) => watched,
        Err(_) if history.file.is_some() => return Ok(()),
        Err(diagnostics) => return Err(configuration::told(&diagnostics)),
    };
    if watched.iter().any(|name| name.as_str() == service) {
        return Ok(());
    }
    let recorded = rollbacks.iter().map(|rollback| rollback.service.as_str()).filter(|name| !name.is_empty());
    let meant = config::nearest(service, watched.iter().map(ServiceName::as_str).chain(recorded));
    let failure = Failure::failed(format!(
        "list the rollbacks of {service}: there is no service {service:?} in the configuration, and no rollback of one in \
         the history"
    ));
    Err(match meant {
        Some(meant) => failure.with_hint(format!("did you mean {meant}?")),
        None => failure,
    })
}

pub(super) fn run(access: &Access, history: &History) -> Result<(), Failure> {
    let path = match &history.file {
        // One that the configuration names is made by the first rollback; this one somebody expects to be there.
        Some(path) => {
            std::fs::metadata(path)
                .map_err(|error| Failure::failed(format!("read the history {}: {error}", path.display())))?;
            path.clone()
        }
        None => configuration::history(&access.config)?,
    };
    let mut rollbacks = crate::record::history::History::new(path).read().map_err(Failure::failed)?;
    if let Some(service) = &history.service {
        if rollbacks.iter().all(|rollback| rollback.service != *service) {
            known(access, history, service, &rollbacks)?;
        }
        rollbacks.retain(|rollback| rollback.service == *service);
    }
    if history.json {
        return output::print_json(&json!({"rollbacks": rollbacks}));
    }
    output::print(&render::history(&rollbacks, output::layout()))
}
