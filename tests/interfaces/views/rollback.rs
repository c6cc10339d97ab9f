//! What a rollback by hand would do.

use backstop::core::{
    answer::Answer,
    gate::Gate,
    verdict::PlanKind,
    view::{GatePreview, RollbackPreview, StepPreview},
};

/// What a rollback by hand would do; `held` by a pin, or not.
pub(crate) fn preview(held: bool) -> RollbackPreview {
    let gate = |gate: Gate, answer, why: &str, overridden| GatePreview {
        gate,
        answer,
        why: why.to_owned(),
        binds: gate.binds_people(),
        can_be_overridden: gate.can_be_overridden(),
        overridden,
    };
    RollbackPreview {
        service: "solvereign-api".into(),
        version_from: "v1.2.4".into(),
        version_to: Some("v1.2.3".into()),
        plan: PlanKind::Quick,
        possible: !held,
        plan_under_way: None,
        all_the_same: held.then(|| "backstop rollback solvereign-api --override not_pinned --reason TEXT".to_owned()),
        available: Vec::new(),
        gates: vec![
            gate(Gate::Accused, Answer::Yes, "v1.2.4 is live", false),
            gate(Gate::DeployedRecently, Answer::No, "deployed 3d ago, more than 1d", false),
            gate(Gate::NotPinned, Answer::No, "v1.2.4 is pinned by oncall", !held),
        ],
        steps: vec![
            StepPreview {
                title: "roll back the target".to_owned(),
                deadline_seconds: 120.0,
                undo: Some("switch back from v1.2.3 to v1.2.4".to_owned()),
                optional: false,
            },
            StepPreview { title: "verify".to_owned(), deadline_seconds: 600.0, undo: None, optional: true },
        ],
    }
}

/// The same where there is nothing to go back to, although the target has releases.
pub(crate) fn preview_of_nothing() -> RollbackPreview {
    let mut preview = preview(true);
    preview.version_to = None;
    preview.available = vec!["v1.2.3".into(), "v1.2.2".into()];
    preview.steps = Vec::new();
    preview.all_the_same =
        Some("backstop rollback solvereign-api --to VERSION --override not_pinned --reason TEXT".to_owned());
    preview
}
