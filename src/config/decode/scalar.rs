//! Single values.

use secrecy::SecretString;

use super::{Decoder, shown};
use crate::config::{
    limits::TEXT_LIMIT_BYTES,
    node::{Node, Span, State, Value},
    secret,
    shape::Scalar,
    suggest,
    value::{self, Wrong},
};

impl Decoder<'_> {
    pub(super) fn scalar(&mut self, node: &mut Node, scalar: Scalar, later: bool) {
        self.hide(node, scalar);
        let is_text = !matches!(scalar, Scalar::Flag | Scalar::Whole(..));
        if is_text && node.text().is_some_and(secret::has_reference) && !self.resolve(node, later) {
            return;
        }
        let verdict = match (scalar, &node.value) {
            (Scalar::Flag, Value::Flag(_)) => return,
            (Scalar::Whole(least, most), Value::Whole(number)) => {
                if (i128::from(least)..=i128::from(most)).contains(number) {
                    return;
                }
                let help = bound(*number < i128::from(least), least, most);
                Err(Wrong::new(format!("is not between {least} and {most}"), help))
            }
            (Scalar::Flag | Scalar::Whole(..), _) => return self.unfit_scalar(node, scalar),
            (_, Value::Text(_) | Value::Secret(_)) => check_text(scalar, node.text().unwrap_or_default()),
            _ => return self.unfit_scalar(node, scalar),
        };
        if let Err(wrong) = verdict {
            self.wrong(node, scalar, &wrong);
        }
    }

    fn wrong(&mut self, node: &mut Node, scalar: Scalar, wrong: &Wrong) {
        node.state = State::Wrong;
        if is_secret(scalar) && node.text().is_some_and(may_hold_password) {
            // Broken as it is, nobody knows where user and password end.
            self.hide_all(node);
        }
        let subject = match &node.value {
            Value::Whole(number) => format!("{number}"),
            Value::Secret(_) => "the value behind this reference".to_owned(),
            _ if is_secret(scalar) => "this value".to_owned(),
            _ => format!("`{}`", shown(node.text().unwrap_or_default())),
        };
        // What helps may hold pieces of the value; not where any text may be meant.
        let may_show =
            matches!(scalar, Scalar::Secret) || !(is_secret(scalar) || matches!(node.value, Value::Secret(_)));
        let help = if may_show { wrong.help.clone() } else { example(scalar) };
        let message = format!("{}: {subject} {}", self.trail, wrong.message);
        self.sink.error(&node.span, message, help);
    }

    fn unfit_scalar(&mut self, node: &mut Node, scalar: Scalar) {
        let help = match (&node.value, scalar) {
            (Value::Whole(number), Scalar::Duration(..)) if !is_secret(scalar) => {
                format!("say which unit is meant, as in `{number}s` or `{number}ms`")
            }
            (Value::Whole(number), Scalar::Percent(..)) => format!("write a percent sign, as in `{number}%`"),
            (Value::Real(number), Scalar::Percent(..)) if *number > 0.0 && *number < 1.0 => {
                format!(
                    "write a percentage, as in `{}%`",
                    shown(&format!("{:.4}", number * 100.0)).trim_end_matches('0').trim_end_matches('.')
                )
            }
            (Value::Whole(_) | Value::Real(_) | Value::Flag(_), Scalar::Duration(..) | Scalar::Percent(..)) => {
                example(scalar)
            }
            (Value::Null, _) => String::new(),
            (Value::Whole(_) | Value::Real(_) | Value::Flag(_), Scalar::Whole(..) | Scalar::Flag) => example(scalar),
            (Value::Whole(_) | Value::Real(_) | Value::Flag(_), _) => {
                "put it in quotes if it is meant as a text".to_owned()
            }
            (Value::Text(text), Scalar::Whole(..)) if text.parse::<u32>().is_ok() => "leave out the quotes".to_owned(),
            (Value::Text(text), Scalar::Flag) if matches!(&*text.to_lowercase(), "yes" | "on" | "y") => {
                "write `true`".to_owned()
            }
            (Value::Text(text), Scalar::Flag) if matches!(&*text.to_lowercase(), "no" | "off" | "n") => {
                "write `false`".to_owned()
            }
            (Value::Text(text), _) if secret::has_reference(text) => "references stand for texts alone".to_owned(),
            _ => example(scalar),
        };
        self.unfit(node, &expected(scalar), &help);
    }

    /// Puts values where references are; whether the node can be looked at further.
    fn resolve(&mut self, node: &mut Node, later: bool) -> bool {
        let text = node.text().unwrap_or_default().to_owned();
        let pieces = match secret::pieces(&text) {
            Ok(pieces) => pieces,
            Err(unresolved) => {
                node.state = State::Wrong;
                self.sink.error(
                    &node.span,
                    format!("{}: this value {}", self.trail, unresolved.message),
                    unresolved.help,
                );
                return false;
            }
        };
        if pieces.iter().all(|piece| matches!(piece, secret::Piece::Plain(_))) {
            let plain =
                pieces.iter().map(|piece| if let secret::Piece::Plain(text) = piece { text } else { "" }).collect();
            node.value = Value::Text(plain);
            return true;
        }
        let Some(secrets) = self.secrets.filter(|_| !later) else {
            node.state = State::Unresolved;
            return false;
        };
        match secret::resolve(&pieces, secrets) {
            Ok(resolved) => {
                node.value = Value::Secret(SecretString::from(resolved));
                true
            }
            Err(missing) => {
                node.state = State::Wrong;
                for unresolved in missing {
                    let message = format!("{}: this value {}", self.trail, unresolved.message);
                    self.sink.error(&node.span, message, unresolved.help);
                }
                false
            }
        }
    }

    /// Keeps what is secret out of the lines that are shown.
    fn hide(&mut self, node: &Node, scalar: Scalar) {
        match scalar {
            Scalar::Secret => self.hide_all(node),
            Scalar::SecretUrl if node.text().is_none() => self.hide_all(node),
            Scalar::SecretUrl => {
                let Some(text) = self.sink.source().text().get(node.span.clone()) else { return };
                // Without a scheme nobody knows where the host ends.
                let host = text.find("://").map(|place| place + 3);
                let path = host.map_or(0, |host| text[host..].find('/').map_or(text.len(), |place| host + place + 1));
                let secret: Span = node.span.start + path..node.span.end;
                self.sink.hide(&secret);
            }
            _ => {}
        }
    }
}

/// Whether a broken URL has something before an `@`, or behind a colon where a port would be.
fn may_hold_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    url.contains('@') || !port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_secret(scalar: Scalar) -> bool {
    matches!(scalar, Scalar::Secret | Scalar::SecretUrl | Scalar::OtherUrl(..) | Scalar::Url)
}

/// Whether `text` is such a value.
pub(super) fn check_text(scalar: Scalar, text: &str) -> Result<(), Wrong> {
    if text.len() > TEXT_LIMIT_BYTES {
        return Err(Wrong::new(format!("is longer than {} KiB", TEXT_LIMIT_BYTES / 1024), "choose a shorter one"));
    }
    if text.contains('\0') {
        return Err(Wrong::new("has a NUL character in it", "leave it out"));
    }
    match scalar {
        Scalar::Flag | Scalar::Whole(..) => Ok(()),
        Scalar::Duration(least, most) => value::duration(text).and_then(|duration| {
            if (least..=most).contains(&duration) {
                return Ok(());
            }
            let is_below = duration < least;
            let (least, most) = (value::shown_duration(least), value::shown_duration(most));
            let help = bound(is_below, &least, &most);
            Err(Wrong::new(format!("is not between {least} and {most}"), help))
        }),
        Scalar::Percent(above, below) => value::percent(text).and_then(|share| {
            let percent = share * 100.0;
            if percent > above && percent < below {
                return Ok(());
            }
            let help = if percent <= above {
                format!("write more than {above}%")
            } else {
                format!("write less than {below}%")
            };
            Err(Wrong::new(format!("is not above {above}% and below {below}%"), help))
        }),
        Scalar::LatencyAbove => value::latency_above(text).map(drop),
        Scalar::Url | Scalar::SecretUrl => value::http_url(text).map(drop),
        Scalar::OtherUrl(schemes, example) => value::url_with_scheme(text, schemes, example).map(drop),
        Scalar::HostPort => value::host_port(text).map(drop),
        Scalar::SocketAddress => value::socket_address(text).map(drop),
        Scalar::Regex => regex::Regex::new(text)
            .map(drop)
            .map_err(|_| Wrong::new("is not a regular expression", "see https://docs.rs/regex for the syntax")),
        Scalar::Pointer => value::pointer(text).map(drop),
        Scalar::Path if !text.starts_with('/') => {
            Err(Wrong::new("is not a path from the root", "write the whole path, beginning with `/`"))
        }
        Scalar::RelativePath if text.is_empty() => Err(Wrong::new("is empty", "write a path")),
        Scalar::Name => value::name(text).map(drop),
        Scalar::EnvironmentName => value::environment_name(text).map(drop),
        Scalar::HeaderName => value::header_name(text).map(drop),
        Scalar::Choice(choices) if !choices.contains(&text) => {
            let help = suggest::help(text, choices.iter().copied());
            Err(Wrong::new("is not one of the words known here", help))
        }
        Scalar::Text | Scalar::Secret if text.trim().is_empty() => Err(Wrong::new("is empty", "write something")),
        Scalar::Secret if text.contains(['\n', '\r']) => {
            Err(Wrong::new("has more than one line", "name a file or variable that holds only the value"))
        }
        Scalar::Selector => value::selector(text).map(drop),
        Scalar::TimeOfDay => jiff::civil::Time::strptime("%H:%M", text)
            .map(drop)
            .map_err(|_| Wrong::new("is not a time of day", example(scalar))),
        Scalar::Moment => {
            text.parse::<jiff::Timestamp>().map(drop).map_err(|_| Wrong::new("is not a moment", example(scalar)))
        }
        Scalar::Path | Scalar::RelativePath | Scalar::Choice(_) | Scalar::Text | Scalar::Word | Scalar::Secret => {
            Ok(())
        }
    }
}

/// What is wanted, in words that follow "expected".
pub(super) fn expected(scalar: Scalar) -> String {
    match scalar {
        Scalar::Flag => "true or false".to_owned(),
        Scalar::Whole(least, most) => format!("a whole number from {least} to {most}"),
        Scalar::Duration(..) => "a duration such as `30s`".to_owned(),
        Scalar::Percent(..) => "a percentage such as `5%`".to_owned(),
        Scalar::LatencyAbove => "a factor such as `2x` or a duration such as `500ms`".to_owned(),
        Scalar::Url | Scalar::SecretUrl | Scalar::OtherUrl(..) => "a URL".to_owned(),
        Scalar::HostPort => "a host and a port".to_owned(),
        Scalar::SocketAddress => "an address and a port".to_owned(),
        Scalar::Regex => "a regular expression".to_owned(),
        Scalar::Pointer => "a JSON pointer".to_owned(),
        Scalar::Path | Scalar::RelativePath => "a path".to_owned(),
        Scalar::Name => "a name".to_owned(),
        Scalar::EnvironmentName => "the name of an environment variable".to_owned(),
        Scalar::HeaderName => "the name of a header".to_owned(),
        Scalar::Choice(choices) => format!("one of {}", choices.join(", ")),
        Scalar::Text | Scalar::Word | Scalar::Secret => "a text".to_owned(),
        Scalar::Selector => "a selector of series such as `http_requests_total{app=\"api\"}`".to_owned(),
        Scalar::TimeOfDay => "a time of day such as `22:00`".to_owned(),
        Scalar::Moment => "a moment such as `2026-01-07T10:30:00Z`".to_owned(),
    }
}

/// What is next to a number that lies beyond its bounds.
fn bound(is_below: bool, least: impl std::fmt::Display, most: impl std::fmt::Display) -> String {
    if is_below { format!("write {least} or more") } else { format!("write {most} or less") }
}

/// How such a value is written.
pub(super) fn example(scalar: Scalar) -> String {
    let example = match scalar {
        Scalar::Duration(..) => "`250ms`, `30s` or `1h 30m`",
        Scalar::Percent(..) => "`5%`",
        Scalar::LatencyAbove => "`2x` or `500ms`",
        Scalar::Url | Scalar::SecretUrl => "`https://api.example.com/health`",
        Scalar::OtherUrl(_, example) => return format!("write it as in `{example}`"),
        Scalar::HostPort => "`db.example.com:5432`",
        Scalar::SocketAddress => "`127.0.0.1:9464`",
        Scalar::TimeOfDay => "`22:00`",
        Scalar::Moment => "`2026-01-07T10:30:00Z`",
        Scalar::Pointer => "`/version`",
        Scalar::Path => "`/var/lib/backstop`",
        Scalar::Name => "`api`",
        Scalar::Flag => return "write `true` or `false`".to_owned(),
        Scalar::Whole(least, most) => return format!("write a whole number from {least} to {most}, without a unit"),
        Scalar::Regex => "`^ok$`",
        Scalar::RelativePath => "`scripts/smoke.sh`",
        Scalar::EnvironmentName => "`API_TOKEN`",
        Scalar::HeaderName => "`X-Api-Key`",
        Scalar::Choice(choices) => return format!("write one of: {}", choices.join(", ")),
        Scalar::Text | Scalar::Word => "`\"two words\"`",
        Scalar::Secret => "`\"${env:API_TOKEN}\"`",
        Scalar::Selector => "`http_requests_total{app=\"api\"}`",
    };
    format!("write it as in {example}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shape::{self, Shape};

    #[test]
    fn every_default_is_valid() {
        let mut looked_at = 0;
        for object in shape::objects() {
            for field in object.fields {
                let (Shape::Scalar(scalar), Some(default)) = (field.shape, field.default) else { continue };
                looked_at += 1;
                match scalar {
                    Scalar::Flag => assert!(matches!(default, "true" | "false"), "{}", field.name),
                    Scalar::Whole(least, most) => {
                        assert!((least..=most).contains(&default.parse().expect("a number")), "{}", field.name);
                    }
                    _ => assert_eq!(
                        check_text(scalar, default.trim_matches('"')),
                        Ok(()),
                        "{}.{}",
                        object.name,
                        field.name
                    ),
                }
            }
        }
        assert!(looked_at > 50, "only {looked_at}");
    }
}
