//! Reads exposition pages: Prometheus' text format 0.0.4 and, as far as it says the same, `OpenMetrics` 1.0.
//!
//! Own code, because what is needed of the format is one line's grammar, and the crates for it bring a clock library and a
//! whole model of metric families. Comments, types and help are skipped; timestamps and exemplars are read over.

use std::borrow::Cow;

/// Longest part of a line that an error shows, in characters.
const SHOWN_LIMIT: usize = 40;

/// A line that is none of the format's. Follows "failed to".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the metrics page: line {line}: {problem}")]
pub struct ExpositionError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// One series of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<'page, 'labels> {
    /// Its name.
    pub name: &'page str,
    /// Its labels, in the page's order.
    pub labels: &'labels [(&'page str, Cow<'page, str>)],
    /// Its value.
    pub value: f64,
}

/// Gives every series of `page` to `take`, in the page's order.
pub fn read<'page>(page: &'page [u8], mut take: impl FnMut(&Series<'page, '_>)) -> Result<(), ExpositionError> {
    let text = std::str::from_utf8(page).map_err(|error| {
        let line = page[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        ExpositionError { line, problem: "it is not UTF-8 text".into() }
    })?;
    // A page that was cut would give a number without its last digits, which looks like a counter that began anew.
    if !text.is_empty() && !text.ends_with('\n') {
        let line = text.lines().count();
        return Err(ExpositionError { line, problem: "the page ends in the middle of a line".into() });
    }
    let mut labels = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line == "# EOF" {
            break;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        labels.clear();
        let read = series(line, &mut labels);
        let (name, value) = read.map_err(|problem| ExpositionError { line: number + 1, problem })?;
        take(&Series { name, labels: &labels, value });
    }
    Ok(())
}

fn series<'page>(
    line: &'page str,
    labels: &mut Vec<(&'page str, Cow<'page, str>)>,
) -> Result<(&'page str, f64), String> {
    let (name, mut rest) = word(line, true).ok_or_else(|| format!("no metric begins with {}", shown(line)))?;
    rest = rest.trim_start_matches([' ', '\t']);
    if let Some(inside) = rest.strip_prefix('{') {
        rest = read_labels(inside, labels)?;
    }
    // An exemplar follows a number sign; label values with one are behind us.
    let mut numbers = rest.split(" #").next().unwrap_or_default().split([' ', '\t']).filter(|part| !part.is_empty());
    let value = numbers.next().ok_or_else(|| format!("{} has no value", shown(name)))?;
    let value = value.parse().map_err(|_| format!("{} is no value", shown(value)))?;
    if let Some(timestamp) = numbers.next()
        && timestamp.parse::<f64>().is_err()
    {
        return Err(format!("{} is no timestamp", shown(timestamp)));
    }
    match numbers.next() {
        Some(more) => Err(format!("{} follows the timestamp", shown(more))),
        None => Ok((name, value)),
    }
}

fn read_labels<'page>(
    mut rest: &'page str,
    labels: &mut Vec<(&'page str, Cow<'page, str>)>,
) -> Result<&'page str, String> {
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (label, after) = word(rest, false).ok_or_else(|| format!("no label begins with {}", shown(rest)))?;
        let after = after.trim_start_matches([' ', '\t']);
        let after = after.strip_prefix('=').ok_or_else(|| format!("`=` is missing after {}", shown(label)))?;
        let after = after.trim_start_matches([' ', '\t']);
        let after = after.strip_prefix('"').ok_or_else(|| format!("the value of {} has no quotes", shown(label)))?;
        let (value, after) = quoted(after).ok_or_else(|| format!("the value of {} is not closed", shown(label)))?;
        labels.push((label, value));
        let after = after.trim_start_matches([' ', '\t']);
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.starts_with('}') => after,
            None => return Err(format!("`,` or `}}` is missing after the value of {}", shown(label))),
        };
    }
}

/// The text before the closing quote, its escapes resolved, and what follows the quote.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let special = text.find(['"', '\\'])?;
    if text.as_bytes()[special] == b'"' {
        return Some((Cow::Borrowed(&text[..special]), &text[special + 1..]));
    }
    let mut value = text[..special].to_owned();
    let mut characters = text[special..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), &text[special + at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('"' | '\\') => value.push(escaped),
                // The format knows no other; servers that write one mean both characters.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

/// A name at the begin of `text`, and what follows it.
fn word(text: &str, colons: bool) -> Option<(&str, &str)> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (colons && *byte == b':');
    let end = text.as_bytes().iter().position(|byte| !fits(byte)).unwrap_or(text.len());
    if end == 0 || text.as_bytes()[0].is_ascii_digit() { None } else { Some(text.split_at(end)) }
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(SHOWN_LIMIT).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    type Read = Vec<(String, Vec<(String, String)>, f64)>;

    fn all(page: &[u8]) -> Result<Read, ExpositionError> {
        let mut found = Vec::new();
        read(page, |series| {
            let labels = series.labels.iter().map(|(label, value)| ((*label).to_owned(), value.to_string())).collect();
            found.push((series.name.to_owned(), labels, series.value));
        })?;
        Ok(found)
    }

    #[test]
    fn lines_of_both_formats() {
        let page = concat!(
            "# HELP a Says {what} it is.\n# TYPE a counter\n",
            "a 1\n",
            "  a{ } 2 1395066363000\r\n",
            "a{x=\"1\",y = \"q\\\"\\\\\\n #}\" , } 3e2\n",
            "\n",
            "b:c_bucket{le=\"+Inf\"} +Inf # {trace_id=\"abc\"} 0.67 1520879607.789\n",
            "d{x=\"\"}\tNaN\n",
            "e_total -0.5 123.456\n",
            "# EOF\nwhatever follows",
            "\n",
        );
        let found = all(page.as_bytes()).expect("a page");
        let label = |label: &str, value: &str| (label.to_owned(), value.to_owned());
        assert_eq!(found.len(), 6);
        assert_eq!(found[0], ("a".into(), vec![], 1.0));
        assert_eq!(found[1], ("a".into(), vec![], 2.0));
        assert_eq!(found[2], ("a".into(), vec![label("x", "1"), label("y", "q\"\\\n #}")], 300.0));
        assert_eq!(found[3], ("b:c_bucket".into(), vec![label("le", "+Inf")], f64::INFINITY));
        assert!(found[4].2.is_nan());
        assert_eq!(found[5], ("e_total".into(), vec![], -0.5));
    }

    #[test]
    fn garbage_is_refused_with_its_line() {
        for (page, line, part) in [
            (b"a 1\n<html>\n".as_slice(), 2, "<html>"),
            (b"a 1\nb\n", 2, "no value"),
            (b"a one\n", 1, "\"one\" is no value"),
            (b"a 1 soon\n", 1, "no timestamp"),
            (b"a 1 2 3\n", 1, "follows the timestamp"),
            (b"a{x} 1\n", 1, "`=` is missing"),
            (b"a{x=1} 1\n", 1, "no quotes"),
            (b"a{x=\"1} 1\n", 1, "not closed"),
            (b"a{x=\"1\"y=\"2\"} 1\n", 1, "is missing after the value"),
            (b"a{x=\"1\" 1\n", 1, "is missing after the value"),
            (b"a 1\nb 12", 2, "middle of a line"),
            (b"a 1\n\xff\xfe 1\n", 2, "UTF-8"),
            (b"9a 1\n", 1, "no metric begins"),
        ] {
            let error = all(page).expect_err("garbage");
            assert_eq!(error.line, line, "{error}");
            assert!(error.problem.contains(part), "{error}");
        }
        assert_eq!(all(b""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(page in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = all(&page);
        }

        #[test]
        fn near_pages_are_read_or_refused(page in r#"([a-z:]{0,2}[{]?([a-z]{0,2}=?"[a-z\\"é]{0,3}"?,?){0,2}[}]? ?[0-9a-zN.+-]{0,4} ?#?\n?){0,4}"#) {
            let _ = all(page.as_bytes());
        }

        #[test]
        fn what_is_written_reads_back(
            series in prop::collection::vec(
                ("[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", prop::collection::vec(("[a-z_][a-z0-9_]{0,5}", ".{0,8}"), 0..3), -1e9_f64..1e9),
                0..8,
            ),
        ) {
            let mut page = String::new();
            for (name, labels, value) in &series {
                page.push_str(name);
                page.push('{');
                for (label, text) in labels {
                    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                    write!(page, "{label}=\"{escaped}\",").expect("memory");
                }
                writeln!(page, "}} {value}").expect("memory");
            }
            prop_assert_eq!(all(page.as_bytes()).expect("a page"), series);
        }
    }
}
