//! What a rollback by hand would do.

use std::fmt::Write as _;

use super::{
    table::{finish, row, table},
    text::{Layout, plain, span},
    under_way::{plan_of, plan_under_way},
};
use crate::core::{
    name::Version,
    view::{GatePreview, RollbackPreview},
};

/// Every gate and every step, and what comes of them.
pub fn rollback(preview: &RollbackPreview, layout: Layout) -> String {
    let mut out = String::new();
    let from = &preview.version_from;
    let nothing = Version::from("nothing");
    let what = plan_of(preview.plan, from, preview.version_to.as_ref().unwrap_or(&nothing));
    let what = format!("{}: {what}; nothing was changed", preview.service);
    layout.hang(&mut out, "", 0, &plain(&what));
    if let Some(plan) = &preview.plan_under_way {
        let text = format!("A plan runs already, and another begins only after it: {}", plan_under_way(plan));
        layout.hang(&mut out, "", 0, &text);
    }
    layout.heading(&mut out, "Gates");
    let mut gates = table(layout, &["", "GATE", "ANSWER", "WHY"], &[0, 1, 2]);
    for gate in &preview.gates {
        row(
            &mut gates,
            [mark(gate).to_owned(), gate.gate.to_string(), gate.answer.as_str().to_owned(), gate.why.clone()],
        );
    }
    out += &finish(&gates);
    if !preview.steps.is_empty() {
        steps(&mut out, preview, layout);
    }
    out.push('\n');
    end(&mut out, preview, layout);
    out
}

/// What comes of it.
fn end(out: &mut String, preview: &RollbackPreview, layout: Layout) {
    if preview.possible {
        out.push_str("It would begin.\n");
        return;
    }
    if preview.version_to.is_none() {
        let there: Vec<&str> = preview.available.iter().map(Version::as_str).collect();
        let there = if there.is_empty() { "no other release".to_owned() } else { there.join(", ") };
        layout.hang(out, "", 0, &plain(&format!("There is nothing to go back to; the target has {there}.")));
    }
    out.push_str("It would be refused.\n");
    if let Some(command) = &preview.all_the_same {
        let _infallible = writeln!(out, "To go ahead all the same:\n  {}", plain(command));
    }
}

fn steps(out: &mut String, preview: &RollbackPreview, layout: Layout) {
    layout.heading(out, "Steps");
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
    *out += &finish(&steps);
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
