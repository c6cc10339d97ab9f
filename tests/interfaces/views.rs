//! Views as the core would make them, for the service of the runbook at 10:30 on 2026-01-07.

use backstop::core::{
    answer::Answer,
    entry::{ByHand, PlanOutcome},
    event::Authority,
    gate::{Gate, GateReport},
    policy::{Finding, Mode, ReportKind, Severity},
    reading::Reading,
    release::{DeploySource, Release, Standing},
    saga::StepStatus,
    time::WallTime,
    verdict::{AskedQuestion, Path, PlanKind, VerdictKind},
    view::{
        ApprovalView, DaemonView, DeployView, FindingView, GatePreview, IncidentView, PauseView, PinView, PlanUnderWay,
        PlanView, ReportView, RollbackPreview, ServiceView, StepPreview, StepView, TimelineView, VerificationView,
    },
    watch::SignalView,
};

/// `seconds` after 10:30.
pub(crate) fn at(seconds: i64) -> WallTime {
    WallTime::from_millis((1_767_781_800 + seconds) * 1000)
}

fn asked(
    ask: &str,
    when: &str,
    answer: Answer,
    then: &str,
    readings: Vec<Reading>,
    would_change: &str,
) -> AskedQuestion {
    AskedQuestion {
        ask: ask.to_owned(),
        when: when.into(),
        answer,
        depth: 0,
        then: then.to_owned(),
        decided: false,
        readings,
        would_change: would_change.to_owned(),
    }
}

fn rate(answer: Answer, requests: u64, errors: u64, above: f64, over: f64, needed: u64) -> Reading {
    Reading::Rate {
        signal: "requests".into(),
        answer,
        counted: "errors".to_owned(),
        requests,
        errors,
        rate: Some(errors as f64 / requests as f64),
        above,
        over_seconds: over,
        configured_over_seconds: 60.0,
        needed: Some(needed),
        blind: 0.05,
        reason: None,
    }
}

/// The path of a release with 12.4% errors.
pub(crate) fn path() -> Path {
    let mut critical = asked(
        "Is error rate > 5%?",
        "error_rate_critical",
        Answer::Yes,
        "roll_back",
        vec![rate(Answer::Yes, 250, 31, 0.05, 60.0, 22)],
        "10 fewer errors of 250 requests would make it unknown",
    );
    critical.decided = true;
    let mut nested = asked(
        "Is it the new checkout?",
        "checkout_broken",
        Answer::No,
        "roll_back",
        vec![Reading::Streak {
            signal: "checkout".into(),
            answer: Answer::No,
            failing: 0,
            needed: 2,
            reason: None,
            last_seen_seconds: Some(12.0),
        }],
        "2 failed checks in a row would make it yes",
    );
    nested.depth = 1;
    Path {
        verdict: VerdictKind::RollBack,
        plan: Some(PlanKind::Quick),
        because: "31 of 250 requests (12.4%) ended in an error within 1m, and the limit is 5%".to_owned(),
        questions: vec![
            asked(
                "Is system down?",
                "system_down",
                Answer::No,
                "roll_back",
                vec![Reading::Streak {
                    signal: "ready".into(),
                    answer: Answer::No,
                    failing: 1,
                    needed: 3,
                    reason: Some("status 503, expected 200 to 299".to_owned()),
                    last_seen_seconds: Some(0.4),
                }],
                "2 more failed probes of ready in a row would make it yes",
            ),
            asked(
                "Are health probes failing after the deploy?",
                "rollout_failing",
                Answer::No,
                "roll_back",
                vec![Reading::Rollout { answer: Answer::No, state: "no rollout is under way".to_owned() }],
                "",
            ),
            asked(
                "Is data at risk?",
                "data_at_risk",
                Answer::No,
                "roll_back",
                vec![Reading::NotMeasured { why: "no integrity queries are configured".to_owned() }],
                "",
            ),
            critical,
            asked(
                "Is error rate > 1%?",
                "error_rate_elevated",
                Answer::Unknown,
                "consider",
                vec![
                    rate(Answer::Yes, 250, 31, 0.01, 120.0, 9),
                    Reading::Sustained {
                        answer: Answer::Unknown,
                        held_seconds: 48.0,
                        needed_seconds: 300.0,
                        blind: 0.31,
                    },
                ],
                "4m 12s more of it would make it yes",
            ),
            asked("Is the shop in trouble?", "shop", Answer::Yes, "ask_next", Vec::new(), ""),
            nested,
            asked(
                "Do several customers complain?",
                "complaints",
                Answer::No,
                "consider",
                vec![Reading::Reports {
                    answer: Answer::No,
                    kind: backstop::core::policy::ReportKind::Complaint,
                    count: 1,
                    needed: 3,
                }],
                "2 more complaints within 10m would make it yes",
            ),
        ],
    }
}

fn gate(gate: Gate, answer: Answer, why: &str) -> GateReport {
    GateReport { gate, answer, why: why.to_owned() }
}

/// A service whose live release is to be rolled back, and one gate holds it.
pub(crate) fn rolling_back() -> ServiceView {
    let path = path();
    ServiceView {
        name: "solvereign-api".into(),
        mode: Mode::Act,
        verdict: path.verdict,
        release: Some(Release::of("v1.2.4")),
        standing: Some(Standing::Unproven),
        rolling_out: false,
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
        incident: Some("solvereign-api-17".into()),
        plan_under_way: None,
        approval: None,
        target_unseen: None,
        paused: None,
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
        rollback_to: Some("v1.2.3".into()),
        at: at(0),
    }
}

/// A healthy one, paused.
pub(crate) fn healthy() -> ServiceView {
    ServiceView {
        name: "billing".into(),
        mode: Mode::Ask,
        verdict: VerdictKind::Healthy,
        path: Path {
            verdict: VerdictKind::Healthy,
            plan: None,
            questions: vec![asked("Is system down?", "system_down", Answer::No, "roll_back", Vec::new(), "")],
            because: "every answer is no".to_owned(),
        },
        release: Some(Release::of("2026-01-05")),
        standing: Some(Standing::KnownGood),
        rolling_out: false,
        conditions: [("system_down".into(), Answer::No)].into(),
        signals: Vec::new(),
        incident: None,
        plan_under_way: None,
        approval: None,
        target_unseen: None,
        paused: Some(PauseView {
            until: Some(at(3600)),
            by: "oncall".to_owned(),
            reason: "database migration".to_owned(),
        }),
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
        rollback_to: Some("2025-12-20".into()),
        at: at(0),
    }
}

/// Three deploys, newest first.
pub(crate) fn deploys() -> Vec<DeployView> {
    let deploy = |number, version: &str, at, source, standing, why: &str, by: Option<&str>| DeployView {
        number,
        release: Release::of(version),
        at,
        source,
        by: by.map(str::to_owned),
        standing,
        why: why.to_owned(),
        live: number == 3,
        pinned: (number == 2).then(|| PinView { version: version.into(), at, by: "oncall".to_owned(), reason: None }),
    };
    vec![
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
    ]
}

fn step(title: &str, status: StepStatus, note: &str, from: Option<i64>, to: Option<i64>) -> StepView {
    StepView { title: title.to_owned(), status, note: note.to_owned(), started_at: from.map(at), ended_at: to.map(at) }
}

fn line(seconds: i64, text: &str) -> TimelineView {
    TimelineView { at: at(seconds), text: text.to_owned() }
}

/// An incident that waits for a human.
pub(crate) fn open_incident() -> IncidentView {
    IncidentView {
        id: "solvereign-api-17".into(),
        service: "solvereign-api".into(),
        opened_at: at(-60),
        onset: Some(at(-75)),
        opened_by: None,
        resolved_at: None,
        state: "waits for approval".to_owned(),
        verdict: VerdictKind::Consider,
        severity: Severity::S2,
        accused: Some("v1.2.4".into()),
        findings: vec![FindingView {
            finding: Finding::ApprovalRequested,
            severity: Severity::S2,
            at: at(-58),
            detail: "rolling back v1.2.4 to v1.2.3 waits for a human".to_owned(),
        }],
        approval: Some(ApprovalView {
            approval: 1,
            plan: PlanKind::Quick,
            version_from: "v1.2.4".into(),
            version_to: "v1.2.3".into(),
            requested_at: at(-58),
            expires: at(1742),
            state: "open",
            by: None,
        }),
        plans: Vec::new(),
        timeline: vec![
            line(-60, "incident opened: 9 of 400 requests (2.3%) ended in an error within 5m, and the limit is 1%"),
            line(-58, "approval 1 requested, expires 2026-01-07T10:59:02Z"),
        ],
        path: path(),
    }
}

/// One that ended well.
pub(crate) fn resolved_incident() -> IncidentView {
    IncidentView {
        id: "solvereign-api-16".into(),
        service: "solvereign-api".into(),
        opened_at: at(-7200),
        onset: None,
        opened_by: None,
        resolved_at: Some(at(-7000)),
        state: "rolled back, verified".to_owned(),
        verdict: VerdictKind::RollBack,
        severity: Severity::S1,
        accused: Some("v1.2.2".into()),
        findings: vec![FindingView {
            finding: Finding::RollbackTookTooLong,
            severity: Severity::S3,
            at: at(-7000),
            detail: "16m 40s, and 15m are too long".to_owned(),
        }],
        approval: Some(ApprovalView {
            approval: 1,
            plan: PlanKind::Quick,
            version_from: "v1.2.2".into(),
            version_to: "v1.2.1".into(),
            requested_at: at(-7190),
            expires: at(-5390),
            state: "approved",
            by: Some("root".to_owned()),
        }),
        plans: vec![PlanView {
            number: 1,
            plan: PlanKind::Quick,
            version_from: "v1.2.2".into(),
            version_to: "v1.2.1".into(),
            started_at: at(-7180),
            ended_at: Some(at(-7000)),
            outcome: Some(PlanOutcome::Verified),
            approved_by: Some("root".to_owned()),
            by_hand: None,
            aborted_by: None,
            steps: vec![
                step(
                    "make sure the older version is there",
                    StepStatus::Done,
                    "was there already",
                    Some(-7180),
                    Some(-7180),
                ),
                step("roll back the target", StepStatus::Done, "", Some(-7180), Some(-7172)),
                step("check version", StepStatus::Skipped, "no version endpoint is configured", None, None),
                step("verify", StepStatus::Done, "clear for 60s", Some(-7100), Some(-7000)),
            ],
        }],
        timeline: vec![line(-7200, "incident opened"), line(-7000, "resolved: rolled back, verified")],
        path: path(),
    }
}

/// A daemon with a page that cannot be delivered.
pub(crate) fn daemon() -> DaemonView {
    DaemonView {
        outbox_depth: 2,
        outbox_oldest_age_seconds: 95.0,
        store_failing: None,
        observer_impaired: Some("10.0.0.2:53 does not accept connections".to_owned()),
        configuration: None,
        late_samples: 4,
        paused: None,
    }
}

/// A rollback that a person ordered although a gate said no, and then wanted to end.
pub(crate) fn aborted_incident() -> IncidentView {
    let mut view = resolved_incident();
    view.opened_by = Some("oncall".to_owned());
    view.plans[0].approved_by = None;
    view.plans[0].outcome = Some(PlanOutcome::Aborted);
    view.plans[0].aborted_by = Some("root".to_owned());
    view.plans[0].by_hand = Some(ByHand {
        by: "oncall".to_owned(),
        reason: Some("the shop is empty".to_owned()),
        overridden: vec![Gate::NotPinned],
    });
    view
}

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

/// A service whose plan is at its third step.
pub(crate) fn under_way() -> ServiceView {
    let mut view = rolling_back();
    view.name = "under-way".into();
    view.plan_under_way = Some(PlanUnderWay {
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
    });
    view
}

/// One whose rollback waits for a human.
pub(crate) fn to_be_approved() -> ServiceView {
    let mut view = rolling_back();
    view.approval = open_incident().approval;
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
    view.paused = None;
    view.pins = Vec::new();
    view.target_unseen = Some("read the link /srv/api/current: it is not there".to_owned());
    view.verification.as_mut().expect("it was verified").overtaken = true;
    view
}
