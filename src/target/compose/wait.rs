//! Waits until a release's containers serve.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::{
    ComposeTarget,
    container::Container,
    health::{Count, Health},
    sight::Sight,
};
use crate::{core::name::Version, target::TargetError};

/// Between two looks at a rollout that is waited for.
const ROLLOUT_POLL: Duration = Duration::from_millis(500);

/// Where a rollout stands.
enum Rollout {
    Complete,
    UnderWay(String),
    Failed(String),
}

impl ComposeTarget {
    pub(super) async fn wait_rollout(&self, wanted: &Version, within: Duration) -> Result<String, TargetError> {
        let until = Instant::now() + within;
        // Bounded by `until`.
        loop {
            let last = match self.sight().await {
                Ok(sight) => {
                    let kept = self.kept().await?;
                    let live = sight.identify(&self.names(), &kept);
                    match (live, self.rollout(&sight)) {
                        (Some(live), Rollout::Complete) if live.version == *wanted => {
                            return Ok(format!("{wanted} is rolled out"));
                        }
                        (Some(live), Rollout::Failed(why)) if live.version == *wanted => {
                            return Err(TargetError::RolloutFailed { wanted: wanted.clone(), why });
                        }
                        (Some(live), Rollout::UnderWay(what)) if live.version == *wanted => what,
                        (Some(live), _) => format!("{} is", live.version),
                        (None, _) => format!("failed to {}", self.no_container(&sight)),
                    }
                }
                Err(error) => format!("failed to {error}"),
            };
            if Instant::now() + ROLLOUT_POLL >= until {
                return Err(TargetError::NotYetLive { wanted: wanted.clone(), last });
            }
            time::sleep(ROLLOUT_POLL).await;
        }
    }

    fn rollout(&self, sight: &Sight) -> Rollout {
        let now = Instant::now();
        let mut watched = self.watched();
        watched.see(&sight.containers, now);
        let is_ready = |one: &Container| watched.health(one, now) == Health::Ready;
        let count = Count::of(sight.containers.iter(), is_ready, |one| watched.failure(one, now));
        let all = sight.containers.len();
        if sight.is_mixed() {
            return Rollout::UnderWay("containers of another release are still there".to_owned());
        }
        match count.why {
            Some(why) => Rollout::Failed(why),
            None if count.ready as usize == all => Rollout::Complete,
            None => Rollout::UnderWay(format!("{} of {all} containers serve", count.ready)),
        }
    }
}
