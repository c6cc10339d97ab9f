//! Waits for a rollout, as `kubectl rollout status` does.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::{
    KubernetesError, KubernetesTarget,
    clusters::Sight,
    newest::Shown,
    pods::Health,
    revision,
    rollout::{Rollout, rollout},
    seen,
    workload::Kind,
};
use crate::{
    core::{name::Version, operation::Attempt},
    target::TargetError,
};

/// Between two looks at a rollout that is waited for.
const ROLLOUT_POLL: Duration = Duration::from_millis(500);

impl KubernetesTarget {
    pub(super) async fn wait_rollout(&self, attempt: &Attempt, wanted: &Version) -> Result<String, TargetError> {
        let until = Instant::now() + attempt.deadline;
        // Bounded by `until`.
        loop {
            // From the copies: each look costs the API server nothing once they have come to what was written, and a change
            // shows at once.
            let last = match self.shown().await {
                Ok(Shown { sight, .. }) => {
                    self.is_the_one(attempt, &sight)?;
                    match self.rolled_out(wanted, &sight).await? {
                        Ok(note) => return Ok(note),
                        Err(last) => last,
                    }
                }
                Err(gone @ KubernetesError::Gone { .. }) => return Err(gone.into()),
                Err(error) => format!("failed to {error}"),
            };
            if Instant::now() + ROLLOUT_POLL >= until {
                return Err(TargetError::NotYetLive { wanted: wanted.clone(), last });
            }
            time::sleep(ROLLOUT_POLL).await;
        }
    }

    /// A note once it is rolled out; until then, what was seen.
    async fn rolled_out(&self, wanted: &Version, sight: &Sight) -> Result<Result<String, String>, TargetError> {
        Ok(match (self.identify(sight), rollout(self.kind, &sight.workload)) {
            (Ok(live), rollout) if live.version == *wanted => match rollout {
                Rollout::Complete => Ok(format!("{wanted} is rolled out")),
                Rollout::Failed(why) => return Err(TargetError::RolloutFailed { wanted: wanted.clone(), why }),
                Rollout::ByHand => return Err(TargetError::ByHand { wanted: wanted.clone() }),
                Rollout::UnderWay(what) => {
                    self.unblock(sight).await?;
                    Err(what)
                }
            },
            (Ok(live), _) => Err(format!("{} is", live.version)),
            (Err(why), _) => Err(format!("failed to {why}")),
        })
    }

    /// A StatefulSet waits for the pod of the accused release to become ready before it exchanges it, which it never does:
    /// Kubernetes' documentation calls that forced rollback, and leaves it to people. So pods of another revision than the
    /// workload's are deleted where they fail; never one that serves.
    async fn unblock(&self, sight: &Sight) -> Result<(), TargetError> {
        if self.kind != Kind::StatefulSet {
            return Ok(());
        }
        let revisions = sight.revisions(self.kind);
        let Some(current) = revision::current(&sight.workload, &revisions) else { return Ok(()) };
        let blocking = seen::pods(self.kind, sight).into_iter().filter(|pod| pod.revision != current.pod_label);
        let blocking = blocking.filter(|pod| matches!(pod.health, Health::Failing(_)));
        self.delete_pods(blocking.collect()).await
    }
}
