//! File systems that may hang: one call at a time, off the runtime's threads, with a deadline.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time};

use super::TargetError;

/// How long a local directory may take to be read; a network's file system that takes longer is away.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A call that hangs occupies a thread for ever; this lets no second one follow it.
#[derive(Debug, Clone)]
pub(super) struct OneAtATime {
    turns: Arc<Semaphore>,
    limit: Duration,
}

impl OneAtATime {
    /// Calls that may take up to `limit` each.
    pub(super) fn new(limit: Duration) -> Self {
        Self { turns: Arc::new(Semaphore::new(1)), limit }
    }

    /// Runs `call`, which works on `path`, within the limit, the wait for an earlier one included.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        path: &Path,
        call: impl FnOnce() -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let turn = Arc::clone(&self.turns);
        let called = async {
            let turn = turn.acquire_owned().await.expect("it is never closed");
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                call()
            })
            .await
        };
        match time::timeout(self.limit, called).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(TargetError::Lost(error.to_string())),
            Err(_) => Err(TargetError::Hanging { path: path.to_owned(), limit: self.limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_hanging_call_is_given_up_and_not_joined_by_others() {
        let calls = OneAtATime::new(Duration::from_millis(100));
        let (release, hang) = mpsc::channel::<()>();
        let path = Path::new("/somewhere");
        let hanging = calls.run(path, move || Ok(hang.recv().is_ok()));
        assert!(matches!(hanging.await, Err(TargetError::Hanging { .. })));
        assert!(matches!(calls.run(path, || Ok(())).await, Err(TargetError::Hanging { .. })));
        release.send(()).expect("it hangs");
        // Once the file system answers again, so does this.
        while calls.run(path, || Ok(())).await.is_err() {}
    }
}
