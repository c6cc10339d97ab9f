//! What a rollback by hand would do.

use super::{
    table::{finish, row, table},
    text::{Layout, plain, span},
};
use crate::core::view::{GatePreview, RollbackPreview};

/// Every gate and every step, and what comes of them.
pub fn rollback(preview: &RollbackPreview, layout: Layout) -> String {
    let mut out = String::new();
    let what = format!(
        "{}: plan {}, {} -> {}; nothing was changed",
        preview.service, preview.plan, preview.version_from, preview.version_to
    );
    layout.hang(&mut out, "", 0, &plain(&what));
    layout.heading(&mut out, "Gates");
    let mut gates = table(layout, &["", "GATE", "ANSWER", "WHY"], &[0, 1, 2]);
    for gate in &preview.gates {
        row(
            &mut gates,
            [mark(gate).to_owned(), gate.gate.to_string(), gate.answer.as_str().to_owned(), gate.why.clone()],
        );
    }
    out += &finish(&gates);
    layout.heading(&mut out, "Steps");
    let mut steps = table(layout, &["", "STEP", "DEADLINE", "UNDO", "IF IT FAILS"], &[0, 2]);
    for (place, step) in (1..).zip(&preview.steps) {
        let place: u32 = place;
        row(
            &mut steps,
            [
                place.to_string(),
                step.title.clone(),
                span(step.deadline_seconds),
                step.undo.clone().unwrap_or_else(|| "-".to_owned()),
                if step.optional { "goes on" } else { "ends the plan" }.to_owned(),
            ],
        );
    }
    out += &finish(&steps);
    out.push('\n');
    out += if preview.possible { "It would begin.\n" } else { "It would be refused.\n" };
    out
}

fn mark(gate: &GatePreview) -> &'static str {
    if gate.holds() {
        "HELD"
    } else if gate.overridden {
        "overridden"
    } else if gate.binds {
        ""
    } else {
        "not binding"
    }
}
