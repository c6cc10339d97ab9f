//! `backstop history`: the rollbacks of the history file, read directly, whether or not a daemon runs.

use serde_json::json;

use super::{
    Failure,
    arguments::{Access, History},
    configuration, output, render,
};

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
        rollbacks.retain(|rollback| rollback.service == *service);
    }
    if history.json {
        return output::print_json(&json!({"rollbacks": rollbacks}));
    }
    output::print(&render::history(&rollbacks, output::layout()))
}
