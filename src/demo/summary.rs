//! What came of it: the outcome, the times, the record, and what can be looked at now.

use std::fs;

use super::{
    follow::Follow,
    outcome::{self, BAD},
    place::Place,
    screen::{Screen, seconds},
};
use crate::{
    cli::{
        Fault,
        render::text::{ALARM, WELL},
    },
    core::time::WallTime,
};

/// What is told at the end.
pub(super) struct Told<'a> {
    pub(super) place: &'a Place,
    pub(super) screen: &'a Screen,
    pub(super) follow: &'a Follow,
    pub(super) fault_began: Option<WallTime>,
    /// Served, and not served.
    pub(super) orders: (u64, u64),
}

impl Told<'_> {
    pub(super) fn tell(&self, fault: Fault, wrong: &[String]) {
        let screen = self.screen;
        screen.heading("What came of it");
        let (style, verdict) = match (wrong, fault) {
            ([], Fault::Flaky) => {
                (WELL, format!("RIGHT: {BAD} was left alone, no incident was opened, and it proved itself."))
            }
            ([], _) => (WELL, format!("RIGHT: {BAD} was rolled back, and that it helped is verified.")),
            _ => (ALARM, format!("WRONG: {}.", wrong.join("; "))),
        };
        screen.print(&format!("  {}\n\n", screen.layout.paint(style, &verdict)));
        self.times();
        let (served, failed) = self.orders;
        screen.field("orders", &format!("{served} served, {failed} failed"));
        screen.field("pages", &format!("{}, each signature verified", self.follow.pages()));
        self.files();
    }

    fn times(&self) {
        let Some(began) = self.fault_began else { return };
        let (back, verified) = self.follow.incident().map_or((None, None), |incident| outcome::moments(&incident));
        for (what, moment) in [
            ("from fault to page", self.follow.paged_at),
            ("from fault to rolled back", back),
            ("from fault to verified", verified),
        ] {
            if let Some(moment) = moment {
                self.screen.field(what, &seconds(began, moment));
            }
        }
    }

    fn files(&self) {
        let (place, screen) = (self.place, self.screen);
        if let Some(record) = outcome::history(place).last() {
            screen.field("history", &place.history().display().to_string());
            let record = serde_json::to_string_pretty(record).unwrap_or_default();
            for line in record.lines() {
                screen.print(&format!("    {line}\n"));
            }
        } else {
            screen.field("history", "none: there was no rollback");
        }
        let evidence = evidence(place);
        if evidence.is_empty() {
            screen.field("evidence", "none: there was no incident");
        }
        for file in evidence {
            screen.field("evidence", &file);
        }
        screen.field("log, configuration, store", &place.path().display().to_string());
    }
}

/// Files of evidence: the folder of the one incident, or of more if it came to that.
fn evidence(place: &Place) -> Vec<String> {
    let Ok(folders) = fs::read_dir(place.evidence()) else { return Vec::new() };
    let mut files = Vec::new();
    for folder in folders.flatten() {
        let Ok(inside) = fs::read_dir(folder.path()) else { continue };
        let seen = inside.flatten().filter(|file| !file.file_name().as_encoded_bytes().starts_with(b"."));
        files.extend(seen.map(|file| file.path().display().to_string()));
    }
    files.sort();
    files
}

/// Commands for whoever stays.
pub(super) fn what_to_try(place: &Place, screen: &Screen) {
    screen.heading("It goes on until Ctrl-C. In another terminal:");
    let socket = place.socket();
    for command in ["status", "explain shop", "deploys shop", "incident list", "incident show shop-1"] {
        screen.print(&format!("    backstop {command} --socket {}\n", socket.display()));
    }
    screen.print(&format!("    backstop history --file {}\n\n", place.history().display()));
}
