//! Series selectors in `PromQL`'s words: `name{label="value",other=~"expression"}`.
//!
//! Grammar and meaning are those of Prometheus' "Querying basics": expressions match the whole value, and a label that a
//! series does not have is empty. Only the raw selector is taken; no function, range, `offset` or `@` around it.

mod parse;

use std::fmt;

use regex::Regex;

/// The label that holds a series' name.
pub const NAME_LABEL: &str = "__name__";

/// A parsed selector. Shown in a normal form that parses to the same selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    name: Option<String>,
    matchers: Vec<Matcher>,
}

/// Why a text is no selector. Follows "failed to".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the selector at column {column}: {problem}")]
pub struct SelectorError {
    /// Counted in characters from 1.
    pub column: usize,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

#[derive(Debug, Clone)]
struct Matcher {
    label: String,
    operator: Operator,
    value: String,
    /// For the operators with an expression.
    expression: Option<Regex>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Matches,
    MatchesNot,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.label, self.operator, &self.value) == (&other.label, other.operator, &other.value)
    }
}

impl Eq for Matcher {}

impl Selector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::selector(text)
    }

    /// The name that every selected series has, where one is given outright.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it selects the series called `name` whose labels `value_of` tells.
    pub fn selects<'a>(&self, name: &'a str, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.name.as_deref().is_none_or(|wanted| wanted == name)
            && self.matchers.iter().all(|matcher| {
                let value = if matcher.label == NAME_LABEL { Some(name) } else { value_of(&matcher.label) };
                matcher.matches(value.unwrap_or_default())
            })
    }
}

impl Matcher {
    fn new(label: String, operator: Operator, value: String) -> Result<Self, regex::Error> {
        let expression = match operator {
            Operator::Matches | Operator::MatchesNot => Some(Regex::new(&format!("(?s)^(?:{value})$"))?),
            Operator::Equal | Operator::NotEqual => None,
        };
        Ok(Self { label, operator, value, expression })
    }

    fn matches(&self, value: &str) -> bool {
        let holds = match &self.expression {
            Some(expression) => expression.is_match(value),
            None => self.value == value,
        };
        holds == matches!(self.operator, Operator::Equal | Operator::Matches)
    }
}

impl Operator {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name.as_deref().unwrap_or_default())?;
        if self.matchers.is_empty() && self.name.is_some() {
            return Ok(());
        }
        formatter.write_str("{")?;
        for (place, matcher) in self.matchers.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            write!(formatter, "{separator}{}{}\"", matcher.label, matcher.operator.as_str())?;
            for character in matcher.value.chars() {
                match character {
                    '"' | '\\' => write!(formatter, "\\{character}")?,
                    '\n' => formatter.write_str("\\n")?,
                    other => write!(formatter, "{other}")?,
                }
            }
            formatter.write_str("\"")?;
        }
        formatter.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selects(selector: &str, name: &str, labels: &[(&str, &str)]) -> bool {
        let selector = Selector::parse(selector).expect(selector);
        let labels: Vec<(String, String)> =
            labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        selector
            .selects(name, |wanted| labels.iter().find(|(label, _)| label == wanted).map(|(_, value)| value.as_str()))
    }

    #[test]
    fn what_is_selected() {
        let labels = [("code", "503"), ("path", "/a\nb")];
        for (selector, expected) in [
            ("up", true),
            ("down", false),
            ("up{}", true),
            (" up { code = \"503\" , } ", true),
            (r#"up{code="500"}"#, false),
            (r#"up{code=~"5.."}"#, true),
            (r#"up{code=~"5."}"#, false),
            (r#"up{code=~"4..|5.."}"#, true),
            (r#"up{code!~"5.."}"#, false),
            (r#"up{code!="500"}"#, true),
            (r#"up{absent=""}"#, true),
            (r#"up{absent!=""}"#, false),
            (r#"up{code=""}"#, false),
            (r#"up{path=~"/a.b"}"#, true),
            (r#"up{path="/a\nb"}"#, true),
            (r"up{code=~'5\x30\063'}", true),
            ("up{code=~`5\\d3`}", true),
            (r#"{__name__="up"}"#, true),
            (r#"{__name__=~"u.",code="503"}"#, true),
            (r#"{code="503"}"#, true),
        ] {
            assert_eq!(selects(selector, "up", &labels), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_says_where_and_how_to_mend_it() {
        for (text, column, part) in [
            ("", 1, "name"),
            ("{}", 1, "every series"),
            (r#"{code=~".*"}"#, 1, "every series"),
            ("rate(up[5m])", 5, "without rate()"),
            ("sum by (code) (up)", 5, "one selector"),
            ("up[5m]", 3, "without a range"),
            ("up offset 5m", 4, "one selector"),
            ("up or down", 4, "one selector"),
            ("up{code=503}", 9, "quotes"),
            (r#"up{code="503"#, 9, "not closed"),
            (r#"up{code="503""#, 14, "`,` or `}`"),
            (r#"up{code=="503"}"#, 9, "quotes"),
            (r#"up{code~"503"}"#, 8, "`=`"),
            (r#"up{code=~"5(.."}"#, 10, "expression"),
            (r#"up{="503"}"#, 4, "label"),
            (r#"up{"code"="503"}"#, 4, "label"),
            (r#"up{a="\q"}"#, 7, "escape"),
            (r#"up{__name__="down"}"#, 4, "twice"),
            ("5xx", 1, "name"),
        ] {
            let error = Selector::parse(text).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.problem.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()).expect("the normal form"), selector);
            }
        }

        #[test]
        fn near_selectors_are_read_or_refused(text in r#"[a-z_:]{0,3}[ ]?[{]?([a-z_]{1,3}(=|!=|=~|!~|~)["'`]?[a-z\\.n(|)*]{0,4}["'`]?,?){0,3}[}]?"#) {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()).expect("the normal form"), selector);
            }
        }

        #[test]
        fn what_is_shown_reads_back(
            name in prop::option::of("[a-zA-Z_:][a-zA-Z0-9_:]{0,8}"),
            matchers in prop::collection::vec(("l[a-z0-9_]{0,6}", 0_usize..4, "[^\u{0}]{0,8}"), 1..4),
        ) {
            let operators = [Operator::Equal, Operator::NotEqual, Operator::Matches, Operator::MatchesNot];
            let mut read: Vec<Matcher> = matchers
                .into_iter()
                .filter_map(|(label, operator, value)| Matcher::new(label, operators[operator], value).ok())
                .collect();
            read.push(Matcher::new("always".into(), Operator::Equal, "there".into()).expect("no expression"));
            let selector = Selector { name, matchers: read };
            prop_assert_eq!(Selector::parse(&selector.to_string()).expect("the normal form"), selector);
        }
    }
}
