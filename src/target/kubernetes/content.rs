//! What something is, told by a hash over it that does not hang on the order of keys.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Written by us into a template to restart its pods.
pub(super) const OUR_RESTART: &str = "backstop.io/restarted-at";
/// Written into a template to restart its pods: the release stays the same.
const RESTARTED_AT: &[&str] = &["kubectl.kubernetes.io/restartedAt", OUR_RESTART];

/// Hexadecimal digits of a content that are kept: 64 bits tell any number of releases of one service apart.
const DIGITS: usize = 16;

/// The content of a pod template without what only restarts its pods.
pub(super) fn of_template(template: &Value) -> String {
    of_value(template)
}

/// The content of anything.
pub(super) fn of_value(value: &Value) -> String {
    of_text(&canonical(value))
}

/// The content of a text.
pub(in crate::target) fn of_text(text: &str) -> String {
    short(&Sha256::digest(text.as_bytes()))
}

/// A value as a text that is the same however it was written.
pub(in crate::target) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut Vec::new(), &mut text);
    text
}

/// The first digits of a hash.
pub(super) fn short(hash: &[u8]) -> String {
    hash.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hexadecimal).take(DIGITS).collect()
}

fn hexadecimal(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0')
}

/// As JSON with sorted keys. Empty objects and nulls are left out: the API adds and drops them as it likes.
fn write<'a>(value: &'a Value, path: &mut Vec<&'a str>, into: &mut String) {
    match value {
        Value::Object(members) => {
            let mut keys: Vec<&str> = members.keys().map(String::as_str).collect();
            keys.sort_unstable();
            into.push('{');
            for key in keys {
                let member = &members[key];
                if is_nothing(member) || (path.as_slice() == ["metadata", "annotations"] && RESTARTED_AT.contains(&key))
                {
                    continue;
                }
                // What holds nothing but what is left out is left out too.
                let before = into.len();
                *into += &Value::from(key).to_string();
                into.push(':');
                let content = into.len();
                path.push(key);
                write(member, path, into);
                path.pop();
                if &into[content..] == "{}" {
                    into.truncate(before);
                } else {
                    into.push(',');
                }
            }
            into.push('}');
        }
        Value::Array(items) => {
            into.push('[');
            for item in items {
                write(item, path, into);
                into.push(',');
            }
            into.push(']');
        }
        simple => *into += &simple.to_string(),
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// The tag of an image's name; of one that has only a digest, twelve digits of it; of one that has neither, `latest`,
/// which is what the registry then gives.
pub(in crate::target) fn tag(image: &str) -> String {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A port comes before the last slash.
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) if !tag.is_empty() => tag.to_owned(),
        (_, Some(digest)) => digest.rsplit(':').next().unwrap_or(digest).chars().take(12).collect(),
        _ => "latest".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_and_emptiness_are_no_content() {
        let one = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [{"name": "x"}]}});
        let other = json!({"spec": {"containers": [{"name": "x", "resources": {}}], "nodeName": null},
            "metadata": {"labels": {"b": "2", "a": "1"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}});
        assert_eq!(of_template(&one), of_template(&other));
        let changed = json!({"metadata": {"labels": {"a": "1", "b": "3"}}, "spec": {"containers": [{"name": "x"}]}});
        assert_ne!(of_template(&one), of_template(&changed));
        assert_eq!(of_template(&one).len(), DIGITS);
    }

    #[test]
    fn tags_of_images() {
        for (image, expected) in [
            ("shop:1.4.3", "1.4.3"),
            ("registry.example:5000/team/shop:v2", "v2"),
            ("registry.example:5000/team/shop", "latest"),
            ("shop@sha256:0123456789abcdef0123", "0123456789ab"),
            ("shop:v2@sha256:0123456789abcdef", "v2"),
            ("", "latest"),
        ] {
            assert_eq!(tag(image), expected, "{image}");
        }
    }
}
