//! A release of the shop: what lies in its directory, and what is wrong with it.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::cli::Fault;

/// The file in a release's directory.
const FILE: &str = "release.json";

/// What a release's directory says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Release {
    pub(super) version: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) fault: Option<Fault>,
}

impl Release {
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join(FILE), serde_json::to_vec_pretty(self)?)
    }

    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(directory.join(FILE))?)?)
    }
}

/// What becomes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// How long it takes.
    pub(super) millis: u64,
    /// It ends in an error.
    pub(super) fails: bool,
}

impl Release {
    /// What becomes of the order of this number, counted from 0. Errors are spread evenly, so that the share is the
    /// promised one in every window, on every run.
    pub(super) fn order(&self, number: u64) -> Order {
        let per_thousand = match self.fault {
            Some(Fault::Errors) => 120,
            Some(Fault::Flaky) => 8,
            Some(Fault::Down | Fault::Slow) | None => 0,
        };
        let failed_before = |orders: u64| orders * per_thousand / 1000;
        let millis = match self.fault {
            Some(Fault::Slow) => 400 + number * 77 % 500,
            _ => 2 + number * 7 % 10,
        };
        Order { millis, fails: failed_before(number + 1) > failed_before(number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_errors_are_the_promised_ones() {
        for (fault, errors) in [(None, 0), (Some(Fault::Errors), 120), (Some(Fault::Flaky), 8), (Some(Fault::Slow), 0)]
        {
            let release = Release { version: "v2".to_owned(), fault };
            let orders: Vec<Order> = (0..1000).map(|number| release.order(number)).collect();
            assert_eq!(orders.iter().filter(|order| order.fails).count(), errors, "{fault:?}");
            let slow = orders.iter().filter(|order| order.millis >= 400).count();
            assert_eq!(slow, if fault == Some(Fault::Slow) { 1000 } else { 0 });
        }
    }

    #[test]
    fn a_release_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let release = Release { version: "v1.2.4".to_owned(), fault: Some(Fault::Flaky) };
        release.write(&directory.path().join("v1.2.4")).expect("written");
        assert_eq!(Release::read(&directory.path().join("v1.2.4")).expect("read"), release);
    }
}
