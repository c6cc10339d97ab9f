//! Tells the service manager (systemd's protocol of `sd_notify(3)`) how the daemon is.
//!
//! A thread of its own sends: a manager that does not read must not hold the loop up. What the loop has to prove, it
//! proves by handing over each sign of life itself.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    time::Duration,
};

use sd_notify::NotifyState;

use crate::core::time::BootTime;

/// Messages that may wait to be sent. Signs of life come a few times a second at most; more than these wait only where
/// the manager does not read, and then one more or less makes no difference.
const WAITING_LIMIT: usize = 16;

/// The watchdog is fed so many times within the time that it allows: one sign that is lost or late is none too few.
const SIGNS_A_WATCHDOG_TIME: u32 = 3;

/// Something to tell.
#[derive(Debug)]
enum Message {
    Ready,
    Reloading,
    Stopping,
    Alive,
    Status(String),
}

/// The way to the service manager; silent where there is none.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    sender: Option<SyncSender<Message>>,
    /// The watchdog wants a sign of life so often.
    every: Option<Duration>,
}

impl Manager {
    /// As the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`) has it.
    pub(super) fn from_environment() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { sender: None, every: None };
        }
        let (sender, waiting) = sync_channel::<Message>(WAITING_LIMIT);
        let work = move || {
            for message in waiting {
                if let Err(error) = send(&message) {
                    tracing::warn!(%error, ?message, "failed to tell the service manager");
                }
            }
        };
        std::thread::Builder::new()
            .name("manager".to_owned())
            .spawn(work)
            .expect("a thread at the start of the process");
        let every = sd_notify::watchdog_enabled().map(|limit| limit / SIGNS_A_WATCHDOG_TIME);
        Self { sender: Some(sender), every }
    }

    /// Everything is there that was asked for.
    pub(super) fn ready(&self) {
        self.tell(Message::Ready);
    }

    /// The configuration is being loaded again; [`Self::ready`] ends it.
    pub(super) fn reloading(&self) {
        self.tell(Message::Reloading);
    }

    /// The process is about to end.
    pub(super) fn stopping(&self) {
        self.tell(Message::Stopping);
    }

    /// One line for people.
    pub(super) fn status(&self, line: &str) {
        self.tell(Message::Status(line.to_owned()));
    }

    fn tell(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // Full: the manager does not read. Gone: the process ends.
            let _unheard = sender.try_send(message);
        }
    }
}

fn send(message: &Message) -> std::io::Result<()> {
    match message {
        Message::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Message::Reloading => sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?]),
        Message::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Message::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        Message::Status(line) => sd_notify::notify(&[NotifyState::Status(line)]),
    }
}

/// Feeds the watchdog and keeps the status line, from the loop alone.
#[derive(Debug)]
pub(super) struct Signs {
    manager: Manager,
    last: Option<BootTime>,
    status: String,
}

impl Signs {
    pub(super) const fn new(manager: Manager) -> Self {
        Self { manager, last: None, status: String::new() }
    }

    /// The loop turned.
    pub(super) fn turned(&mut self, now: BootTime) {
        let Some(every) = self.manager.every else { return };
        if self.last.is_none_or(|last| now.since(last) >= every) {
            self.last = Some(now);
            self.manager.tell(Message::Alive);
        }
    }

    /// The line for people, told when it changes.
    pub(super) fn status(&mut self, line: String) {
        if line != self.status {
            self.manager.status(&line);
            self.status = line;
        }
    }

    pub(super) const fn manager(&self) -> &Manager {
        &self.manager
    }
}
