//! What is no journal of ours does not fold: it is told as damage, and nothing is made of it.

use backstop::{
    core::{
        durable::{Durable, FoldError},
        entry::{Fact, StepEvent},
        event::Sequence,
        operation::Gathering,
        policy::Mode,
    },
    testing::Bench,
};

/// A release that was rolled back, and what was gathered meanwhile.
fn rolled_back() -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, |policy| policy.on_platform = true);
    bench.ready = Some(false);
    bench.until("gathering", |bench| !bench.gathers.is_empty());
    let gathering = Gathering { place: "/evidence/shop-0-1".to_owned(), files: 1, seen: Vec::new() };
    let incident = bench.gathers[0].clone();
    bench.feed(backstop::core::event::Event::Gathered { incident, outcome: Ok(gathering) });
    bench.until("rolled back", |bench| !bench.switches().is_empty());
    bench.ready = Some(true);
    bench.until("over", |bench| bench.record().open_incident.is_none());
    bench
}

/// Folds the facts that are kept, numbered without a gap.
fn fold(bench: &Bench, is_kept: impl Fn(&Fact) -> bool) -> Result<Durable, FoldError> {
    let mut durable = Durable::default();
    let kept = bench.journal.iter().filter(|(_, entry)| is_kept(&entry.fact));
    for (number, (_, entry)) in (1..).zip(kept) {
        durable.apply(Sequence(number), entry)?;
    }
    Ok(durable)
}

/// Which entries are taken out.
type Lacks = fn(&Fact) -> bool;

#[test]
fn a_journal_that_lacks_what_another_entry_speaks_of_does_not_fold() {
    let bench = rolled_back();
    assert_eq!(&fold(&bench, |_| true).expect("ours folds"), bench.state.durable());
    let cases: [(Lacks, &str); 5] = [
        (|fact| matches!(fact, Fact::Deployed { .. }), "it speaks of deploy 1, which is not there"),
        (|fact| matches!(fact, Fact::IncidentOpened { .. }), "it speaks of incident shop-0-1, which is not there"),
        (
            |fact| matches!(fact, Fact::PlanStarted { .. }),
            "it speaks of plan 1 of incident shop-0-1, which is not there",
        ),
        (|fact| matches!(fact, Fact::Step { event: StepEvent::Started, .. }), "step"),
        (|fact| matches!(fact, Fact::GatherBegun { .. }), "it speaks of gathering under way for incident shop-0-1"),
    ];
    for (lacks, expected) in cases {
        let said = fold(&bench, |fact| !lacks(fact)).expect_err(expected).to_string();
        assert!(said.starts_with("fold entry ") && said.contains(expected), "{said}");
    }
}

#[test]
fn an_entry_that_is_missing_or_doubled_is_found_by_its_number() {
    let bench = rolled_back();
    for (skipped, doubled) in [(Some(3), None), (None, Some(3))] {
        let mut durable = Durable::default();
        let mut outcome = Ok(());
        for (sequence, entry) in bench.journal.iter().filter(|(sequence, _)| skipped != Some(sequence.0)) {
            outcome = outcome.and_then(|()| durable.apply(*sequence, entry));
            if doubled == Some(sequence.0) {
                outcome = outcome.and_then(|()| durable.apply(*sequence, entry));
            }
        }
        let said = outcome.expect_err("it is damaged").to_string();
        let expected =
            if skipped.is_some() { "fold entry 4: entry 3 was due" } else { "fold entry 3: entry 4 was due" };
        assert_eq!(said, expected);
    }
}
