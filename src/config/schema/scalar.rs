//! Single values in JSON Schema.

use serde_json::{Value, json};

use crate::config::{
    limits::{NAME_LIMIT_BYTES, TEXT_LIMIT_BYTES},
    shape::Scalar,
    value::{DURATION_PATTERN, FACTOR_PATTERN, NAME_PATTERN, PERCENT_PATTERN},
};

/// A text with a reference in it may turn out as anything.
const REFERENCE: &str = "\\$\\{(?:env|file):[^}]+\\}";

pub(super) fn of(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Flag => json!({"type": "boolean"}),
        Scalar::Whole(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Scalar::Duration(..) => pattern(DURATION_PATTERN),
        Scalar::Percent(..) => pattern(PERCENT_PATTERN),
        Scalar::LatencyAbove => pattern(&format!("{FACTOR_PATTERN}|{DURATION_PATTERN}")),
        Scalar::Url | Scalar::SecretUrl => pattern("[hH][tT][tT][pP][sS]?://[^/\\s][^\\s]*"),
        Scalar::OtherUrl(schemes, _) => pattern(&format!("(?:{})://[^\\s]+", schemes.join("|"))),
        Scalar::HostPort => pattern("[^\\s/]+:[0-9]{1,5}"),
        Scalar::SocketAddress => pattern("(?:[0-9]{1,3}(?:\\.[0-9]{1,3}){3}|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}"),
        Scalar::Regex => json!({"type": "string", "format": "regex"}),
        Scalar::Pointer => pattern("(?:/(?:[^~]|~[01])*)?"),
        Scalar::Path => pattern("/.*"),
        Scalar::RelativePath => json!({"type": "string", "minLength": 1}),
        Scalar::Name => {
            let mut schema = pattern(NAME_PATTERN);
            schema["maxLength"] = json!(NAME_LIMIT_BYTES);
            schema
        }
        Scalar::EnvironmentName => pattern("[A-Za-z_][A-Za-z0-9_]*"),
        Scalar::HeaderName => pattern("[!#$%&'*+.^_`|~0-9A-Za-z-]+"),
        Scalar::Choice(choices) => json!({"enum": choices}),
        Scalar::Text | Scalar::Secret => json!({"type": "string", "pattern": "\\S", "maxLength": TEXT_LIMIT_BYTES}),
        Scalar::Word => json!({"type": "string", "maxLength": TEXT_LIMIT_BYTES}),
        Scalar::Selector => pattern("\\s*(?:[a-zA-Z_:][a-zA-Z0-9_:]*)?\\s*(?:\\{.*\\})?\\s*"),
        Scalar::TimeOfDay => pattern("(?:[01][0-9]|2[0-3]):[0-5][0-9]"),
        Scalar::Moment => json!({"type": "string", "format": "date-time"}),
    }
}

fn pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": format!("^(?:{pattern})$|{REFERENCE}"), "maxLength": TEXT_LIMIT_BYTES})
}
