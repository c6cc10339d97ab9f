//! "Did you mean".

/// Longest word that is compared; a longer one is no slip of the finger.
const WORD_LIMIT_BYTES: usize = 64;

/// The candidate nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > WORD_LIMIT_BYTES {
        return None;
    }
    let folded = fold(word);
    let farthest = folded.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= WORD_LIMIT_BYTES)
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= farthest)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Follows a message about an unknown word: the nearest candidate, or else all of them if they are few.
pub(crate) fn help<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    const LISTED_LIMIT: usize = 24;
    if let Some(meant) = nearest(word, candidates.clone()) {
        return format!("did you mean `{meant}`?");
    }
    // What is itself no word is told at its own place.
    let all: Vec<&str> = candidates.into_iter().filter(|one| !one.chars().any(char::is_whitespace)).collect();
    match all.len() {
        0 => "nothing is known here that could be meant: add it where it belongs, or leave this out".to_owned(),
        1..=LISTED_LIMIT => format!("known here: {}", all.join(", ")),
        more => format!("known here: {} and {} more", all[..LISTED_LIMIT].join(", "), more - LISTED_LIMIT),
    }
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// Insertions, removals, substitutions and swaps of neighbours (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["every", "timeout", "critical", "latency_p99"];
        for (word, meant) in
            [("evry", "every"), ("tiemout", "timeout"), ("Critical", "critical"), ("latency-p99", "latency_p99")]
        {
            assert_eq!(nearest(word, known), Some(meant));
        }
        for word in ["", "http", "interval", &"x".repeat(500)] {
            assert_eq!(nearest(word, known), None, "{word}");
        }
    }
}
