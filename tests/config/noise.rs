//! Noise: the checker neither panics nor runs away, whatever the file holds.

use std::sync::LazyLock;

use backstop::config::{self, limits::DIAGNOSTICS_LIMIT};
use proptest::prelude::*;

use crate::support::{in_tree, tables};

static REFERENCE: LazyLock<String> =
    LazyLock::new(|| std::fs::read_to_string(in_tree("config/backstop.yaml")).expect("it is there"));

fn survives(bytes: &[u8]) {
    for secrets in [None, Some(&tables())] {
        let secrets = secrets.map(|secrets| secrets as &dyn config::Secrets);
        let checked = config::check_bytes("noise.yaml", bytes.to_vec(), secrets);
        assert!(checked.diagnostics.list.len() <= DIAGNOSTICS_LIMIT);
        assert_eq!(checked.config.is_none(), checked.diagnostics.has_errors());
        let _ = checked.diagnostics.render(true);
        for diagnostic in &checked.diagnostics.list {
            assert!(!diagnostic.help.is_empty(), "nothing helps with: {diagnostic}");
        }
    }
}

/// Words that a mutation puts in, so that more of them stay YAML.
const WORDS: &[&str] = &[
    "0",
    "-1",
    "99999999999999999999",
    "1e400",
    ".nan",
    "~",
    "true",
    "{}",
    "[]",
    "\"\"",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "? ",
    "${env:TOKEN}",
    "${",
    "é",
    "\u{feff}",
    "\t",
    "\n",
    "0s",
    "1x",
    "150%",
    "system_down",
    "notify",
    "any: ",
    "- ",
    "---\n",
    "'",
    "#",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        survives(&bytes);
    }

    #[test]
    fn arbitrary_text(text in "[ -~\n]{0,400}") {
        survives(&text.into_bytes());
    }

    #[test]
    fn the_reference_with_pieces_replaced(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..40, 0..WORDS.len()), 1..6)
    ) {
        let mut bytes = REFERENCE.clone().into_bytes();
        for (place, length, word) in edits {
            let start = place.index(bytes.len());
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, WORDS[word].bytes());
        }
        survives(&bytes);
    }

    #[test]
    fn the_reference_with_lines_left_out(left_out in proptest::collection::vec(any::<prop::sample::Index>(), 1..12)) {
        let mut lines: Vec<&str> = REFERENCE.lines().collect();
        for place in left_out {
            lines.remove(place.index(lines.len()));
        }
        survives(&lines.join("\n").into_bytes());
    }

    #[test]
    fn the_reference_with_values_exchanged(pairs in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8)) {
        let mut words: Vec<&str> = REFERENCE.split_inclusive([' ', '{', '}', ',']).collect();
        for (left, right) in pairs {
            let (left, right) = (left.index(words.len()), right.index(words.len()));
            words.swap(left, right);
        }
        survives(&words.concat().into_bytes());
    }
}

#[test]
fn very_many_mistakes_are_bounded() {
    let mut text = String::new();
    for number in 0..20_000 {
        text.push_str(&format!("unknown_{number}: 1\n"));
    }
    let checked = config::check_bytes("x", text.into_bytes(), None);
    assert_eq!(checked.diagnostics.list.len(), DIAGNOSTICS_LIMIT);
    assert_eq!(checked.diagnostics.left_out, 20_001 - DIAGNOSTICS_LIMIT);
    assert!(checked.diagnostics.render(false).ends_with("mend these first"));
}
