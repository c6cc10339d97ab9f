//! Names.

use super::Wrong;
use crate::config::limits::NAME_LIMIT_BYTES;

/// What a name looks like, for the JSON Schema (its length beside it).
pub(crate) const NAME_PATTERN: &str = "[a-z0-9][a-z0-9_.-]*";

/// Checks a name: lower case, digits, `_`, `.` and `-`, not too long. Names become parts of file names and metrics.
pub(crate) fn name(text: &str) -> Result<String, Wrong> {
    let help = || {
        let mended: String = text
            .to_ascii_lowercase()
            .chars()
            .map(|character| if is_inner(character) { character } else { '-' })
            .take(NAME_LIMIT_BYTES)
            .collect();
        match mended.trim_start_matches(['_', '.', '-']).trim_end_matches('-') {
            "" => "write lower-case letters, digits, `_`, `.` and `-`".to_owned(),
            mended => format!("lower-case letters, digits, `_`, `.` and `-`, as in `{mended}`"),
        }
    };
    if text.is_empty() {
        return Err(Wrong::new("is empty", help()));
    }
    if text.len() > NAME_LIMIT_BYTES {
        return Err(Wrong::new(format!("is longer than {NAME_LIMIT_BYTES} bytes"), "choose a shorter name"));
    }
    if !text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        || !text.chars().all(is_inner)
    {
        return Err(Wrong::new("is not a name", help()));
    }
    Ok(text.to_owned())
}

fn is_inner(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '_' | '.' | '-')
}

/// Checks the name of an environment variable.
pub(crate) fn environment_name(text: &str) -> Result<String, Wrong> {
    let first = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let plain = text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    if first && plain && text.len() <= 255 {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(
            "is not the name of an environment variable",
            "write letters, digits and `_`, as in `API_TOKEN`",
        ))
    }
}

/// Checks the name of an HTTP header (a token of RFC 9110, §5.6.2).
pub(crate) fn header_name(text: &str) -> Result<String, Wrong> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.len() <= 255 && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new("is not the name of a header", "write it without blanks and colon, as in `X-Api-Key`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in ["api", "a", "0", "api-v1.2_x"] {
            assert!(name(text).is_ok(), "{text}");
        }
        for text in ["", "-api", ".", "API", "a b", "ä", "a/b", &"a".repeat(64)] {
            assert!(name(text).is_err(), "{text}");
        }
        assert!(name("My API").expect_err("blanks").help.ends_with("`my-api`"));
    }
}
