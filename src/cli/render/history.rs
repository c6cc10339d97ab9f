//! The history file as a table.

use super::{
    table::{finish, row, table},
    text::Layout,
};
use crate::core::operation::HistoryRecord;

/// The rollbacks, in the file's order.
pub fn history(rollbacks: &[HistoryRecord], layout: Layout) -> String {
    if rollbacks.is_empty() {
        return "no rollbacks\n".to_owned();
    }
    let columns = ["DATE", "SERVICE", "FROM", "TO", "OUTCOME", "MINUTES", "REASON", "ROOT CAUSE"];
    let mut rows = table(layout, &columns, &[0, 1, 2, 3]);
    for rollback in rollbacks {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        row(
            &mut rows,
            [
                rollback.date.clone(),
                or_dash(&rollback.service),
                rollback.version_from.clone(),
                rollback.version_to.clone(),
                or_dash(&rollback.outcome),
                rollback.duration_minutes.to_string(),
                rollback.reason.clone(),
                or_dash(&rollback.root_cause),
            ],
        );
    }
    finish(&rows)
}
