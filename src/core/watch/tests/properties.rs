//! Whatever happens, in whatever order.

use std::time::Duration;

use proptest::prelude::*;

use super::{super::*, bench::*};
use crate::core::{
    policy::*,
    sample::{Measurement, Reason, RequestCounts},
};

/// One random thing that happens to a watch.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Check(u16, u8),
    Count(u64, u64, u64),
    CountMissed,
    Cut,
    RollingOut(bool),
    Report,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u64..20_000).prop_map(Step::Wait),
        1 => (20_000_u64..2_000_000).prop_map(Step::Wait),
        6 => (0_u16..2, 0_u8..3).prop_map(|(signal, outcome)| Step::Check(signal, outcome)),
        6 => (0_u64..300, 0_u64..40, 0_u64..12_000).prop_map(|(total, errors, age)| Step::Count(total, errors, age)),
        1 => Just(Step::CountMissed),
        1 => Just(Step::Cut),
        1 => any::<bool>().prop_map(Step::RollingOut),
        1 => Just(Step::Report),
    ];
    prop::collection::vec(step, 1..150)
}

fn take(bench: &mut Bench, step: &Step) {
    match *step {
        Step::Wait(millis) => bench.wait(Duration::from_millis(millis)),
        Step::Check(signal, outcome) => {
            match outcome {
                0 => bench.pass(signal),
                1 => bench.fail(signal),
                _ => bench.miss(signal),
            };
        }
        Step::Count(total, errors, age) => {
            let counts = RequestCounts { total, errors: errors.min(total), latency: None };
            let at = bench.now.boot.before(Duration::from_millis(age));
            bench.record_at(at, REQUESTS, Measurement::Requests(counts));
        }
        Step::CountMissed => {
            bench.record(REQUESTS, Measurement::RequestsMissed(Reason::new("prometheus is away")));
        }
        Step::Cut => bench.watch.cut(bench.now),
        Step::RollingOut(on) => bench.rolling_out = on,
        Step::Report => bench.reports.push((ReportKind::Complaint, bench.now.wall)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Evaluation is deterministic, and once more at the same instant it says the same: laziness skips nothing. The
    /// answers agree with the path that explains them.
    #[test]
    fn evaluation_is_deterministic_and_lazy_only_where_nothing_changed(steps in steps()) {
        let (mut one, mut other) = (Bench::new(), Bench::new());
        for step in &steps {
            take(&mut one, step);
            take(&mut other, step);
            let verdict = one.evaluate();
            prop_assert_eq!(verdict, other.evaluate());
            // Force everything to be looked at again.
            other.watch.dirty = Dirty::Several;
            for atom in &mut other.watch.atoms {
                atom.due = BootTime::START;
            }
            prop_assert_eq!(verdict, other.evaluate());
            let answers: Vec<_> = one.watch.condition_answers().map(|(_, answer)| answer).collect();
            let again: Vec<_> = other.watch.condition_answers().map(|(_, answer)| answer).collect();
            prop_assert_eq!(&answers, &again);
            let path = one.watch.path(one.now, one.facts());
            prop_assert_eq!(path.verdict, verdict.kind);
            prop_assert_eq!(path.deciding().is_some(), verdict.decided_by.is_some());
            let asked: Vec<_> = path.questions.iter().map(|question| question.answer).collect();
            prop_assert_eq!(asked, answers);
        }
    }

    /// Whoever evaluates only when a sample changed something or a wake came due sees what one sees who always looks.
    #[test]
    fn changed_and_wakes_are_enough(steps in steps()) {
        let (mut lazy, mut eager) = (Bench::new(), Bench::new());
        lazy.evaluate();
        for step in &steps {
            let before = lazy.now;
            let facts_before = (lazy.rolling_out, lazy.reports.len());
            if let Step::Wait(millis) = step {
                let end = before.after(Duration::from_millis(*millis));
                // Wakes on the way, as the engine would take them.
                for _ in 0..10_000 {
                    let Some(wake) = lazy.watch.next_wake(lazy.now).filter(|&wake| wake <= end.boot) else { break };
                    lazy.now = before.after(wake.since(before.boot));
                    lazy.evaluate();
                    eager.now = lazy.now;
                    eager.evaluate();
                }
                lazy.now = end;
                eager.now = end;
            } else {
                take(&mut lazy, step);
                take(&mut eager, step);
            }
            eager.evaluate();
            if lazy.watch.dirty != Dirty::Nothing || facts_before != (lazy.rolling_out, lazy.reports.len()) {
                lazy.evaluate();
            }
            let due = lazy.watch.next_wake(lazy.now).is_some_and(|wake| wake <= lazy.now.boot.after(WAKE_AT_LEAST));
            if !due {
                let answers: Vec<_> = lazy.watch.condition_answers().map(|(_, answer)| answer).collect();
                let all: Vec<_> = eager.watch.condition_answers().map(|(_, answer)| answer).collect();
                prop_assert_eq!(answers, all, "{:?}", step);
            }
        }
    }
}
