//! Services in every state.

use backstop::core::{
    answer::Answer,
    entry::PlanOutcome,
    event::Authority,
    gate::{Gate, GateReport},
    policy::{Mode, ReportKind},
    release::{DeploySource, Release, Standing},
    saga::StepStatus,
    verdict::{Path, PlanKind, VerdictKind},
    view::{
        DeployView, DeploysView, PauseView, PinView, PlanUnderWay, ReportView, ServiceState, ServiceView,
        UndeployedView, VerificationProgress, VerificationView, WaitsFor,
    },
    watch::SignalView,
};

use super::{at, open_incident, path, tree::asked};

fn gate(gate: Gate, answer: Answer, why: &str) -> GateReport {
    GateReport { gate, answer, why: why.to_owned() }
}

fn state(mode: Mode, live: &str, standing: Standing, rollback_to: &str) -> ServiceState {
    ServiceState {
        mode,
        release: Some(Release::of(live)),
        standing: Some(standing),
        rolling_out: false,
        incident: None,
        waits_for: None,
        by_hand: None,
        plan_under_way: None,
        approval: None,
        target_unseen: None,
        target_held: None,
        service_says: None,
        paused: None,
        sync_suspended: None,
        rollback_to: Some(rollback_to.into()),
        restart_gates: Vec::new(),
        at: at(0),
    }
}

/// A service whose live release is to be rolled back, and one gate holds it.
pub(crate) fn rolling_back() -> ServiceView {
    let path = path();
    ServiceView {
        name: "solvereign-api".into(),
        now: ServiceState {
            incident: Some("solvereign-api-17".into()),
            ..state(Mode::Act, "v1.2.4", Standing::Unproven, "v1.2.3")
        },
        verdict: path.verdict,
        conditions: path.questions.iter().map(|question| (question.when.clone(), question.answer)).collect(),
        path,
        signals: vec![
            SignalView {
                name: "ready".into(),
                last: "failed",
                reason: Some("status 503, expected 200 to 299".to_owned()),
                failing: 1,
                age_seconds: Some(0.4),
                lost: false,
                certificate_expires: Some(at(10 * 86_400)),
            },
            SignalView {
                name: "requests".into(),
                last: "missed",
                reason: Some("Prometheus answered 503".to_owned()),
                failing: 0,
                age_seconds: Some(31.0),
                lost: true,
                certificate_expires: None,
            },
            SignalView {
                name: "smoke".into(),
                last: "none",
                reason: None,
                failing: 0,
                age_seconds: None,
                lost: false,
                certificate_expires: None,
            },
        ],
        pins: Vec::new(),
        reports: vec![ReportView {
            kind: ReportKind::Complaint,
            at: at(-40),
            by: "support".to_owned(),
            authority: Authority::Reporter,
            detail: Some("checkout is empty".to_owned()),
            expires: at(3560),
        }],
        verification: None,
        gates: vec![
            gate(Gate::Accused, Answer::Yes, "v1.2.4 is live and accused"),
            gate(Gate::DeployedRecently, Answer::Yes, "deployed 6m ago, at most 24h"),
            gate(
                Gate::FaultAfterDeploy,
                Answer::Unknown,
                "the fault was there when the watch began: nobody knows since when",
            ),
            gate(Gate::KnownGood, Answer::Yes, "v1.2.3 soaked here for 2d 4h"),
            gate(Gate::Cooldown, Answer::No, "the last rollback was 2m ago, 10m are needed"),
        ],
    }
}

/// One of which some instances fail, so that a restart of those comes first; a pause holds it.
pub(crate) fn partly_failing() -> ServiceView {
    let mut view = rolling_back();
    view.now.restart_gates =
        vec![gate(Gate::Accused, Answer::Yes, "v1.2.4 is live"), gate(Gate::NotPaused, Answer::No, "paused by oncall")];
    view
}

/// A healthy one, paused.
pub(crate) fn healthy() -> ServiceView {
    ServiceView {
        name: "billing".into(),
        now: ServiceState {
            paused: Some(PauseView {
                until: Some(at(3600)),
                by: "oncall".to_owned(),
                reason: "database migration".to_owned(),
                of_all: false,
            }),
            ..state(Mode::Ask, "2026-01-05", Standing::KnownGood, "2025-12-20")
        },
        verdict: VerdictKind::Healthy,
        path: Path {
            verdict: VerdictKind::Healthy,
            plan: None,
            questions: vec![asked("Is system down?", "system_down", Answer::No, "roll_back", Vec::new(), "")],
            because: "every answer is no".to_owned(),
        },
        conditions: [("system_down".into(), Answer::No)].into(),
        signals: Vec::new(),
        pins: vec![PinView {
            version: "2026-01-05".into(),
            at: at(-86_400),
            by: "oncall".to_owned(),
            reason: Some("schema is one way".to_owned()),
        }],
        reports: Vec::new(),
        verification: Some(VerificationView {
            number: 1,
            by: "oncall".to_owned(),
            version: "2026-01-05".into(),
            began: at(-100),
            ended: Some(at(-40)),
            outcome: Some(PlanOutcome::Verified),
            note: "clear for 1m".to_owned(),
            overtaken: false,
        }),
        gates: vec![gate(Gate::Store, Answer::Yes, "the journal can be written")],
    }
}

/// Three deploys, newest first, and a release that was pinned and marked before it ever came.
pub(crate) fn deploys() -> DeploysView {
    let deploy = |number, version: &str, at, source, standing, why: &str, by: Option<&str>| DeployView {
        number,
        release: Release { cause: (number == 2).then(|| "a fix".to_owned()), ..Release::of(version) },
        at,
        source,
        by: by.map(str::to_owned),
        standing,
        why: why.to_owned(),
        live: number == 3,
        pinned: (number == 2).then(|| PinView { version: version.into(), at, by: "oncall".to_owned(), reason: None }),
    };
    let deploys = vec![
        deploy(3, "v1.2.4", at(-360), DeploySource::Reported, Standing::Unproven, "", Some("ci")),
        deploy(
            2,
            "v1.2.3",
            at(-200_000),
            DeploySource::Target,
            Standing::KnownGood,
            "healthy for 10m, 5120 requests",
            None,
        ),
        deploy(1, "v1.2.2", at(-900_000), DeploySource::FirstSeen, Standing::KnownBad, "marked by oncall", None),
    ];
    let pin = PinView { version: "v1.3.0".into(), at: at(-50), by: "release".to_owned(), reason: None };
    let undeployed = UndeployedView {
        version: "v1.3.0".into(),
        standing: Standing::KnownBad,
        why: "marked by oncall".to_owned(),
        pinned: Some(pin),
    };
    DeploysView { deploys, undeployed: vec![undeployed] }
}

/// A service whose plan is at its third step.
pub(crate) fn under_way() -> ServiceView {
    let mut view = rolling_back();
    view.name = "under-way".into();
    view.now.plan_under_way = Some(PlanUnderWay {
        incident: "under-way-1".into(),
        number: 1,
        plan: PlanKind::Quick,
        version_from: "v1.2.4".into(),
        version_to: "v1.2.3".into(),
        step: 3,
        steps: 7,
        title: "wait for the rollout".to_owned(),
        status: StepStatus::Started,
        seconds: 12.0,
        aborted_by: None,
        verification: None,
    });
    view
}

/// One whose plan is at its verification.
pub(crate) fn verifying() -> ServiceView {
    let mut view = under_way();
    let plan = view.now.plan_under_way.as_mut().expect("it is under way");
    (plan.step, plan.title) = (6, "verify".to_owned());
    plan.verification = Some(VerificationProgress {
        healthy_seconds: 24.0,
        healthy_for_seconds: 60.0,
        obstacle: None,
        left_seconds: 510.0,
    });
    view
}

/// One whose rollback was refused, so that people decide.
pub(crate) fn refused() -> ServiceView {
    let mut view = rolling_back();
    view.name = "refused".into();
    view.now.waits_for = Some(WaitsFor::Refused);
    view.now.by_hand = Some("backstop rollback refused --override known_good --reason TEXT".to_owned());
    view
}

/// One whose rollback waits for a human.
pub(crate) fn to_be_approved() -> ServiceView {
    let mut view = rolling_back();
    view.now.approval = open_incident().approval;
    view.now.waits_for = Some(WaitsFor::Approval);
    view
}

/// One for which the tree wants a plan that this version does not have, and every gate of the quick one says yes.
pub(crate) fn left_to_people() -> ServiceView {
    let mut view = rolling_back();
    view.name = "left-to-people".into();
    view.path.plan = Some(PlanKind::StopWrites);
    "1 report of data_corruption counts".clone_into(&mut view.path.because);
    view.gates.retain(|report| report.answer == Answer::Yes);
    view
}

/// A healthy one whose target cannot be seen, and whose last verification was of another release.
pub(crate) fn unseen() -> ServiceView {
    let mut view = healthy();
    view.name = "unseen".into();
    view.now.paused = None;
    view.pins = Vec::new();
    view.now.target_unseen = Some("read the link /srv/api/current: it is not there".to_owned());
    view.verification.as_mut().expect("it was verified").overtaken = true;
    view
}
