//! One thing at a time in each cluster.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{KubernetesError, connection::Address};

/// Whose turn it is in each cluster, in the order of asking.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Address, Arc<Semaphore>>>);

impl Turns {
    /// Waits for this one's turn, which lasts as long as what it gives is held.
    pub(super) async fn wait(&self, address: Address, until: Instant) -> Result<OwnedSemaphorePermit, KubernetesError> {
        let begun = Instant::now();
        let one = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(address).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        match timeout_at(until, one.acquire_owned()).await {
            Ok(turn) => Ok(turn.expect("it is never closed")),
            Err(_) => Err(KubernetesError::Gathering { limit: until.saturating_duration_since(begun) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_in_each_cluster() {
        let turns = Turns::default();
        let (here, there): (Address, Address) = ((None, None), (None, Some("other".to_owned())));
        let later = || Instant::now() + Duration::from_secs(60);
        let first = turns.wait(here.clone(), later()).await.expect("nobody else is there");
        let _elsewhere = turns.wait(there, later()).await.expect("another cluster");
        let late = turns.wait(here.clone(), Instant::now()).await.expect_err("the first one is there");
        assert!(late.to_string().starts_with("wait for what is gathered for other services of this cluster"), "{late}");
        let (second, ()) = tokio::join!(turns.wait(here, later()), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(second.is_ok(), "the first one is done");
    }
}
