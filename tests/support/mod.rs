//! What tests with real processes share: free ports, waiting, children that end with the test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    io,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a test waits for what is bound to happen: long enough for a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Pause between two looks at what is waited for.
const POLL: Duration = Duration::from_millis(50);

/// A port on loopback that was free a moment ago. Another process may take it: start again with another one then.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    listener.local_addr().expect("bound").port()
}

/// Waiting for something that is bound to happen: `while !it_is_so() { waiting.pause().await; }`
#[derive(Debug)]
pub(crate) struct Waiting {
    what: &'static str,
    end: Instant,
}

impl Waiting {
    /// Waits for `what`, in words that follow "never became so:".
    pub(crate) fn until(what: &'static str) -> Self {
        Self { what, end: Instant::now() + PATIENCE }
    }

    /// A short pause.
    ///
    /// # Panics
    /// If the waiting takes longer than [`PATIENCE`].
    pub(crate) async fn pause(&self) {
        assert!(Instant::now() < self.end, "never became so: {}", self.what);
        tokio::time::sleep(POLL).await;
    }
}

/// A child process that is killed and waited for when it is dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts `command` without input and output.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left of it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
