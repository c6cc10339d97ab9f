//! Where in the configuration something stands, in words.

use std::fmt;

use super::shown;

/// The keys on the way to a node.
#[derive(Debug, Default)]
pub(super) struct Trail(Vec<String>);

impl Trail {
    pub(super) fn push(&mut self, key: &str) {
        self.0.push(shown(key));
    }

    /// An item of a list: by its name if it has one, else by its place, counted from 1 as people do.
    pub(super) fn push_item(&mut self, place: usize, name: Option<&str>) {
        self.0.push(name.map_or_else(|| format!("[{}]", place + 1), |name| format!("({})", shown(name))));
    }

    pub(super) fn pop(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("the configuration");
        }
        for (place, key) in self.0.iter().enumerate() {
            if place > 0 && !key.starts_with(['[', '(']) {
                formatter.write_str(".")?;
            }
            formatter.write_str(key)?;
        }
        Ok(())
    }
}
