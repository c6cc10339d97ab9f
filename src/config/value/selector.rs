//! Selectors of Prometheus series: `http_requests_total{app="api",code=~"5.."}`.

use super::Wrong;

/// Checks that `text` selects raw series: a metric name, matchers in braces, or both, and nothing around them.
///
/// Counters are differenced by Backstop itself, series by series, so functions, ranges and sums would spoil the count.
pub(crate) fn selector(text: &str) -> Result<String, Wrong> {
    let help = "write the bare series, as in `http_requests_total{app=\"api\"}`: Backstop takes the differences itself";
    let text = text.trim();
    let name_end = text.find(|character: char| !is_name(character)).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    if name.is_empty() && !rest.starts_with('{') {
        return Err(Wrong::new("does not begin with the name of a metric", help));
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(Wrong::new("begins with a digit", help));
    }
    if rest.trim_start().starts_with('[') {
        return Err(Wrong::new("has a range behind the series", help));
    }
    if rest.trim_start().starts_with('(') {
        return Err(Wrong::new("has a function around the series", help));
    }
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Ok(text.to_owned());
    }
    let Some(inner) = rest.strip_prefix('{') else {
        return Err(Wrong::new("has more than the series in it", help));
    };
    let after = matchers(inner).ok_or_else(|| Wrong::new("has malformed matchers in its braces", help))?;
    if after.trim_start().starts_with('[') {
        return Err(Wrong::new("has a range behind the series", help));
    }
    if after.trim().is_empty() { Ok(text.to_owned()) } else { Err(Wrong::new("has more than the series in it", help)) }
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':'
}

/// Reads matchers up to the closing brace; hands back what follows it.
fn matchers(mut rest: &str) -> Option<&str> {
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let label_end = rest.find(|character: char| !is_name(character))?;
        let (label, after) = rest.split_at(label_end);
        if label.is_empty() {
            return None;
        }
        let after = after.trim_start();
        let value = ["=~", "!~", "!=", "="].iter().find_map(|operator| after.strip_prefix(operator))?;
        rest = quoted(value.trim_start())?.trim_start();
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else if !rest.starts_with('}') {
            return None;
        }
    }
}

/// Reads one quoted text; hands back what follows it.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\'' | '`'))?;
    let mut escaped = false;
    for (place, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' && quote != '`' {
            escaped = true;
        } else if character == quote {
            return Some(&text[place + 1..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        let fine = [
            "http_requests_total",
            "http_requests_total{app=\"api\",code=~\"5..\"}",
            "{__name__=\"x\", a!='b' ,}",
            "job:errors:total {a=`}`}",
            "x{}",
        ];
        for text in fine {
            assert!(selector(text).is_ok(), "{text}");
        }
        let wrong = [
            "",
            "rate(http_requests_total[5m])",
            "sum by (app) (x)",
            "x[5m]",
            "x{a=\"b\"}[5m]",
            "x{a=b}",
            "x{a=\"b\"",
            "x{=\"b\"}",
            "x + y",
            "5x",
            "x{a=\"b\" c=\"d\"}",
        ];
        for text in wrong {
            assert!(selector(text).is_err(), "{text}");
        }
    }
}
