//! Why a cluster could not be asked or changed.

use std::time::Duration;

/// Why a cluster could not be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The file that names the cluster cannot be used.
    #[error("read the kubeconfig: {0}")]
    Kubeconfig(#[source] Box<kube::config::KubeconfigError>),
    /// No cluster is named anywhere.
    #[error("find a cluster: there is no kubeconfig, and this process runs in no pod: {0}")]
    NoCluster(#[source] Box<kube::config::InferConfigError>),
    /// The credentials or certificates cannot be used.
    #[error("prepare a connection to the cluster: {}", said(.0))]
    Client(#[source] Box<kube::Error>),
    /// The kubeconfig's own program that gives the credentials has not ended.
    #[error(
        "prepare a connection to the cluster: there were no credentials within {limit:?}; does the kubeconfig's `exec` hang?"
    )]
    NoCredentials {
        /// How long it was waited for.
        limit: Duration,
    },
    /// Our own task was lost.
    #[error("wait for a task of our own: {0}")]
    Lost(String),
    /// The API server refused, or could not be reached.
    #[error("{what}: {}", said(.source))]
    Asked {
        /// What was asked, in words that follow "failed to".
        what: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("{what}: the API server did not answer within {limit:?}")]
    Silent {
        /// What was asked, in words that follow "failed to".
        what: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// So much is gathered in this cluster that the time was over before it was this one's turn.
    #[error("wait for what is gathered for other services of this cluster: not done within {limit:?}")]
    Gathering {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The local copies cannot be relied on just now.
    #[error("see the {plural} of namespace {namespace}: {why}")]
    NotSeen {
        /// Which objects.
        plural: String,
        /// Where.
        namespace: String,
        /// Why.
        why: String,
    },
    /// Another Backstop writes here.
    #[error("write, since another Backstop does: {holder} holds the lease {lease} {left}")]
    Held {
        /// Which Lease.
        lease: String,
        /// By whom.
        holder: String,
        /// For how long still, in words.
        left: String,
    },
    /// The API server's answer has no date.
    #[error("tell whether a lease still holds: the API server does not say what time it is")]
    Timeless,
    /// It did not come to its end in time.
    #[error("{what}: the API server's answers did not all come within {limit:?}")]
    NoEnd {
        /// What was done, in words that follow "failed to".
        what: String,
        /// How long it could take.
        limit: Duration,
    },
    /// The workload itself is not there: that was seen.
    #[error("find the {kind} {namespace}/{name}: there is none")]
    Gone {
        /// What.
        kind: &'static str,
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
    /// It is not the one that it was.
    #[error("find the {kind} {namespace}/{name}: it was deleted, and another of the same name is there")]
    Replaced {
        /// What.
        kind: &'static str,
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
    /// It must not be done.
    #[error("{what}: {why}")]
    Refused {
        /// What, in words that follow "failed to".
        what: String,
        /// Why not.
        why: String,
    },
    /// The controller that owns the workload is at it, and what is written meanwhile might be overwritten.
    // What ends it comes before what its controller says of it: that may be long, and is cut.
    #[error(
        "roll back beside {owner}, whose operation did not end within {limit:?} (`argocd app terminate-op {name}` ends it): \
         {doing}"
    )]
    UnderWay {
        /// Whose.
        owner: String,
        /// Its name.
        name: String,
        /// What it does, in words.
        doing: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The cluster has no such kind of object.
    #[error("find the kind {kind} of {group}: the cluster does not have it")]
    NoSuchKind {
        /// Which group.
        group: &'static str,
        /// Which kind.
        kind: String,
    },
    /// There is no such object.
    #[error("find the {kind} {namespace}/{name}: there is none")]
    Absent {
        /// What.
        kind: &'static str,
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
}

impl KubernetesError {
    pub(super) fn asked(what: &str, source: kube::Error) -> Self {
        Self::Asked { what: what.to_owned(), source: Box::new(source) }
    }

    /// The status code of the API server's refusal, if it is one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Asked { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether somebody else wrote in between: a conflict, or a test of ours that found another resourceVersion.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.code(), Some(409 | 422))
    }

    /// Whether it is certain that nothing was changed, and that asking again at once would change that as little. Who has
    /// too much to do (429) may answer the next time.
    pub(in crate::target) fn is_refusal(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::NoEnd { .. } => false,
            Self::Asked { .. } => {
                self.code().is_some_and(|code| (400..500).contains(&code) && !matches!(code, 408 | 429))
            }
            _ => true,
        }
    }

    /// Whether somebody took away what was to be changed.
    pub(in crate::target) const fn is_overtaken(&self) -> bool {
        matches!(self, Self::Gone { .. } | Self::Replaced { .. })
    }
}

/// What the API server or the connection says, in one line and without the noise around it.
pub(super) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => {
            // The innermost cause says it: "connection refused", "certificate expired".
            let mut cause: &dyn std::error::Error = other;
            // Causes are few; a chain that goes round would be a fault of a library.
            for _ in 0..16 {
                match cause.source() {
                    Some(next) => cause = next,
                    None => break,
                }
            }
            cause.to_string()
        }
    }
}
