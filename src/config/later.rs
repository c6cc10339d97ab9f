//! What the file may describe and this version cannot do yet. A part that arrives takes its row away here.
//!
//! A key in this table is one diagnostic where it is written with another value than its default.

/// A part that comes later.
#[derive(Debug)]
pub(crate) struct Later {
    /// The object, as called in [`super::shape`].
    pub(crate) object: &'static str,
    /// Its key.
    pub(crate) key: &'static str,
    /// Only these values come later; none named: all but the default.
    pub(crate) values: &'static [&'static str],
    /// What comes later, in words that follow "not in this version yet:".
    pub(crate) what: &'static str,
    /// What can be done meanwhile.
    pub(crate) meanwhile: &'static str,
}

const fn key(object: &'static str, key: &'static str, what: &'static str, meanwhile: &'static str) -> Later {
    Later { object, key, values: &[], what, meanwhile }
}

const fn values(
    object: &'static str,
    key: &'static str,
    values: &'static [&'static str],
    what: &'static str,
    meanwhile: &'static str,
) -> Later {
    Later { object, key, values, what, meanwhile }
}

/// The table.
pub(crate) static LATER: &[Later] = &[
    key("channel", "pagerduty", "PagerDuty channels", "use a `webhook` channel"),
    key("channel", "slack", "Slack channels", "use a `webhook` channel"),
    key("channel", "email", "mail channels", "use a `webhook` channel"),
    key("severity_1", "then", "stages of escalation", "leave it out"),
    key("severity_2", "then", "stages of escalation", "leave it out"),
    key("severity_3", "then", "stages of escalation", "leave it out"),
    key("severity_1", "quiet", "quiet times", "leave it out"),
    key("severity_2", "quiet", "quiet times", "leave it out"),
    key("severity_3", "quiet", "quiet times", "leave it out"),
    key(
        "service",
        "integrity",
        "integrity checks",
        "leave it out, and report data_corruption from a check of your own",
    ),
    key("service", "logs", "log watching", "leave it out"),
    key("service", "database", "database rollbacks", "leave it out"),
    values("question", "plan", &["full", "restart_failing", "gather"], "this plan", "leave it out for the usual plan"),
];

/// The row of a key, if it comes later.
pub(crate) fn find(object: &str, key: &str) -> Option<&'static Later> {
    LATER.iter().find(|row| row.object == object && row.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shape;

    #[test]
    fn every_row_is_a_key_of_the_table() {
        let objects = shape::objects();
        for row in LATER {
            let object = objects.iter().find(|object| object.name == row.object).expect(row.object);
            assert!(object.field(row.key).is_some(), "{}.{}", row.object, row.key);
        }
    }
}
