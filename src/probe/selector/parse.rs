//! Reads a selector, character by character.

use super::{Matcher, NAME_LABEL, Operator, Selector, SelectorError};

/// Matchers that one selector may have; more than any person writes.
const MATCHERS_LIMIT: usize = 64;

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

pub(super) fn selector(text: &str) -> Result<Selector, SelectorError> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    let name = reader.word(|character| character == ':');
    reader.skip_space();
    let mut matchers = Vec::new();
    let braces = reader.at;
    if reader.take('{') {
        reader.matchers(&mut matchers, name.is_some())?;
        reader.skip_space();
    } else if name.is_none() {
        return Err(reader.error(reader.at, "a metric's name or `{` is expected here"));
    }
    reader.end(name.is_some() && matchers.is_empty())?;
    // Prometheus' own rule: something must be asked of every series.
    if name.is_none() && matchers.iter().all(|matcher| matcher.matches("")) {
        return Err(reader.error(braces, "it selects every series there is; give a name or a label"));
    }
    Ok(Selector { name: name.map(str::to_owned), matchers })
}

impl<'a> Reader<'a> {
    fn matchers(&mut self, matchers: &mut Vec<Matcher>, named: bool) -> Result<(), SelectorError> {
        loop {
            self.skip_space();
            if self.take('}') {
                return Ok(());
            }
            let begin = self.at;
            let Some(label) = self.word(|_| false) else {
                return Err(self.error(begin, "a label's name or `}` is expected here"));
            };
            if named && label == NAME_LABEL {
                return Err(self.error(begin, "the name is given twice"));
            }
            if matchers.len() == MATCHERS_LIMIT {
                return Err(self.error(begin, "there are too many labels"));
            }
            self.skip_space();
            let operator = self.operator()?;
            self.skip_space();
            let quoted = self.at;
            let value = self.string()?;
            let matcher = Matcher::new(label.to_owned(), operator, value)
                .map_err(|error| self.error(quoted, &format!("not a regular expression: {}", last_line(&error))))?;
            matchers.push(matcher);
            self.skip_space();
            if !self.take(',') && !self.rest().starts_with('}') {
                return Err(self.error(self.at, "`,` or `}` is expected here"));
            }
        }
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        for operator in [Operator::Matches, Operator::MatchesNot, Operator::NotEqual, Operator::Equal] {
            if self.rest().starts_with(operator.as_str()) {
                self.at += operator.as_str().len();
                return Ok(operator);
            }
        }
        Err(self.error(self.at, "`=`, `!=`, `=~` or `!~` is expected here"))
    }

    /// A Go string, as `PromQL` has them: `"…"` and `'…'` with escapes, and raw between backticks.
    fn string(&mut self) -> Result<String, SelectorError> {
        let begin = self.at;
        let Some(quote @ ('"' | '\'' | '`')) = self.rest().chars().next() else {
            return Err(self.error(begin, "a value in quotes is expected here, as in code=\"500\""));
        };
        self.at += 1;
        let mut value = String::new();
        loop {
            let at = self.at;
            let Some(character) = self.rest().chars().next() else {
                return Err(self.error(begin, "this quote is not closed"));
            };
            self.at += character.len_utf8();
            match character {
                _ if character == quote => return Ok(value),
                '\\' if quote != '`' => value.push(self.escape(quote, at)?),
                '\n' if quote != '`' => return Err(self.error(begin, "this quote is not closed on its line")),
                other => value.push(other),
            }
        }
    }

    fn escape(&mut self, quote: char, begin: usize) -> Result<char, SelectorError> {
        let escaped = self.rest().chars().next().unwrap_or_default();
        self.at += escaped.len_utf8().min(self.rest().len());
        let read = match escaped {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '\\' => Some('\\'),
            _ if escaped == quote => Some(quote),
            'x' => self.digits(2, 16).filter(char::is_ascii),
            'u' => self.digits(4, 16),
            'U' => self.digits(8, 16),
            '0'..='7' => {
                self.at -= 1;
                self.digits(3, 8).filter(char::is_ascii)
            }
            _ => None,
        };
        read.ok_or_else(|| self.error(begin, "this escape is not known; write `\\\\` for a backslash"))
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<char> {
        let digits = self.rest().get(..count).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))?;
        let code = u32::from_str_radix(digits, radix).ok()?;
        self.at += count;
        char::from_u32(code)
    }

    /// Nothing may follow.
    fn end(&self, bare_name: bool) -> Result<(), SelectorError> {
        let problem = match self.rest().chars().next() {
            None => return Ok(()),
            Some('(') if bare_name => {
                let function = self.text[..self.at].trim();
                format!("give the raw series without {function}(): differences are taken by Backstop itself")
            }
            Some('[') => "give the selector without a range: Backstop chooses its own".to_owned(),
            Some(_) => "only one selector may stand here, with nothing after it".to_owned(),
        };
        Err(self.error(self.at, &problem))
    }

    /// Letters, digits and underscores, not beginning with a digit.
    fn word(&mut self, also: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        let fits = |character: char| character.is_ascii_alphanumeric() || character == '_' || also(character);
        let end = rest.find(|character| !fits(character)).unwrap_or(rest.len());
        if end == 0 || rest.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        self.at += end;
        Some(&rest[..end])
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.rest().starts_with(wanted);
        if there {
            self.at += wanted.len_utf8();
        }
        there
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, problem: &str) -> SelectorError {
        SelectorError { column: self.text[..at].chars().count() + 1, problem: problem.to_owned() }
    }
}

fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
