//! Whose fault it was that a sample did not pass.

use std::time::Duration;

use tokio::time::Instant;

use crate::core::sample::{Outcome, Reason};

/// A sample's deadline that is noticed so much too late was not missed by the service: this process did not run.
pub const STALL_LIMIT: Duration = Duration::from_millis(500);

/// Why a sample did not pass, and whose fault that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The service's.
    Service(Reason),
    /// The watchdog's, its machine's or its resolver's.
    Own(Reason),
}

impl Fault {
    /// The reason, whoever's fault it is.
    pub fn reason(self) -> Reason {
        match self {
            Self::Service(reason) | Self::Own(reason) => reason,
        }
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Service(reason) => Self::Failed(reason),
            Fault::Own(reason) => Self::Missed(reason),
        }
    }
}

/// When a sample has to be over.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Late {
    /// The other side was too slow.
    #[error("not within {0:?}")]
    Other(Duration),
    /// This process did not run for so long that nobody knows how fast the other side was.
    #[error("the watchdog itself was stalled for {0:?}")]
    Stalled(Duration),
}

impl Deadline {
    /// From now on, `limit` is left.
    pub fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// The whole time that was given, for messages.
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// What is left of it.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Runs `work` until it ends or the deadline comes; then `work` is dropped.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Late> {
        let ended = tokio::time::timeout_at(self.at, work).await;
        ended.map_err(|_| {
            let overdue = Instant::now().saturating_duration_since(self.at);
            if overdue > STALL_LIMIT { Late::Stalled(overdue) } else { Late::Other(self.limit) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_did_not_run_blames_nobody_else() {
        let stalled = async {
            std::thread::sleep(STALL_LIMIT + Duration::from_millis(100));
            std::future::pending::<()>().await;
        };
        let late = Deadline::after(Duration::from_millis(1)).run(stalled).await.expect_err("late");
        assert!(matches!(late, Late::Stalled(_)), "{late:?}");
        assert_eq!(Deadline::after(Duration::from_mins(1)).run(async { 7 }).await, Ok(7));
    }
}
