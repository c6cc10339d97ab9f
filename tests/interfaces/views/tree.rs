//! The path through the tree.

use backstop::core::{
    answer::Answer,
    reading::Reading,
    verdict::{AskedQuestion, Path, PlanKind, VerdictKind},
};

pub(super) fn asked(
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
