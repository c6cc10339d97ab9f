//! What the demonstration says, as it happens: each line with the seconds since it began, and who speaks.

use clap::builder::styling::Style;

use crate::{
    cli::{output, render::Layout},
    core::time::{BootTime, WallTime},
    runtime::clock::Clock,
};

/// Columns for the time and the speaker.
const INDENT: usize = 20;

/// The terminal, or what stands in its place.
pub(super) struct Screen {
    clock: Clock,
    began: BootTime,
    pub(super) layout: Layout,
}

impl Screen {
    pub(super) fn new(clock: Clock) -> Self {
        Self { began: clock.boot(), clock, layout: output::layout() }
    }

    /// Something that is happening now.
    pub(super) fn tell(&self, speaker: &str, style: Style, text: &str) {
        let now = self.clock.boot().since(self.began).as_secs_f64();
        let mut out = String::new();
        let speaker = self.layout.paint(style, &format!("{speaker:<8}"));
        self.layout.hang(&mut out, &format!("  {now:>5.1} s  {speaker}  "), INDENT, text);
        self.print(&out);
    }

    /// More of the same moment.
    pub(super) fn below(&self, text: &str) {
        let mut out = String::new();
        self.layout.hang(&mut out, &" ".repeat(INDENT), INDENT + 3, text);
        self.print(&out);
    }

    /// Text that belongs to no moment.
    #[expect(clippy::unused_self, reason = "everything that is shown goes through the screen")]
    pub(super) fn print(&self, text: &str) {
        // A reader that has gone away misses the rest; the exit code says how it ended.
        let _ = output::print(text);
    }

    pub(super) fn heading(&self, text: &str) {
        self.print(&format!("\n{}\n", self.layout.paint(Style::new().bold(), text)));
    }

    /// A paragraph, two columns in.
    pub(super) fn paragraph(&self, text: &str) {
        let mut out = String::new();
        self.layout.hang(&mut out, "  ", 2, text);
        self.print(&out);
    }

    /// A name and what it stands for.
    pub(super) fn field(&self, name: &str, text: &str) {
        let mut out = String::new();
        self.layout.hang(&mut out, &format!("  {name:<26}"), 28, text);
        self.print(&out);
    }
}

/// Seconds from one moment to another, as in `3.2 s`.
pub(super) fn seconds(from: WallTime, to: WallTime) -> String {
    format!("{:.1} s", to.since(from).as_secs_f64())
}
