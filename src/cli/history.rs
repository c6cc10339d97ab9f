//! `backstop history`: the rollbacks of the history file, read directly, whether or not a daemon runs.

use serde_json::json;

use super::{
    Failure,
    arguments::{Access, History},
    configuration, output, render,
};

pub(super) fn run(access: &Access, history: &History) -> Result<(), Failure> {
    let path = match &history.file {
        Some(path) => path.clone(),
        None => configuration::history(&access.config)?,
    };
    let mut rollbacks = crate::record::history::History::new(path).read().map_err(Failure::failed)?;
    if let Some(service) = &history.service {
        rollbacks.retain(|rollback| rollback.service == *service);
    }
    if history.json {
        return output::print_json(&json!({"rollbacks": rollbacks}));
    }
    output::print(&render::history(&rollbacks, output::layout()))
}
