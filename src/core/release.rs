//! Releases and what is known of them.

use serde::{Deserialize, Serialize};

use super::{
    name::{IncidentId, Version},
    sample::Reason,
    time::WallTime,
};

/// What runs, or ran: more than a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    /// As the target names it.
    pub version: Version,
    /// The image's or directory's digest, where the target knows one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<String>,
    /// A hash of its configuration, where the target knows one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub configuration: Option<String>,
    /// The database's schema version at its deploy, where a database is watched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schema: Option<String>,
    /// Why it was deployed, as whoever deployed it wrote on it (in Kubernetes: the revision's change-cause). For people: what it
    /// says makes no other release of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
}

impl Release {
    /// A release of which only the version is known.
    pub fn of(version: impl Into<Version>) -> Self {
        Self { version: version.into(), digest: None, configuration: None, schema: None, cause: None }
    }

    /// Whether both may be the same. What one of the two does not know is no difference, and the schema's version moves by
    /// itself.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let agree = |one: &Option<String>, other: &Option<String>, is_same: fn(&str, &str) -> bool| {
            one.as_deref().zip(other.as_deref()).is_none_or(|(one, other)| is_same(one, other))
        };
        self.version == other.version
            && agree(&self.digest, &other.digest, |one, other| one == other)
            && agree(&self.configuration, &other.configuration, may_be_same)
    }
}

/// What a configuration runs, whatever else is known of it. A configuration is one text, or three with a dot between them:
/// what tells it from every other one, what it runs, and how that is configured.
pub(crate) fn base(configuration: &str) -> &str {
    configuration.split('.').nth(1).unwrap_or(configuration)
}

/// Where one of the two tells only what it runs (as before more of it was looked at), that is what is compared.
fn may_be_same(one: &str, other: &str) -> bool {
    let is_bare = |configuration: &str| base(configuration) == configuration;
    one == other || ((is_bare(one) || is_bare(other)) && base(one) == base(other))
}

impl std::fmt::Display for Release {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.version.fmt(formatter)
    }
}

/// What is known of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing yet: it has not soaked.
    Unproven,
    /// Healthy for long enough here, or marked good.
    KnownGood,
    /// Rolled back from, but the rollback was not proved to help.
    Suspect,
    /// Rolled back from, and that helped; or marked bad.
    KnownBad,
}

impl Standing {
    /// The word as in API and command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::KnownGood => "known_good",
            Self::Suspect => "suspect",
            Self::KnownBad => "known_bad",
        }
    }
}

/// What a person says of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A place to go back to.
    Good,
    /// Never to be gone back to.
    Bad,
    /// As if nothing had been said.
    Clear,
}

/// How a deploy became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploySource {
    /// It was there when the watch first began.
    FirstSeen,
    /// The target changed.
    Target,
    /// The service's own version endpoint changed.
    VersionEndpoint,
    /// Someone said so.
    Reported,
    /// Backstop rolled back to it.
    Rollback,
}

/// A deploy: a release became the live one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// Counts up in each service; a deploy's identity.
    pub number: u64,
    /// What became live.
    pub release: Release,
    /// When that was noticed.
    pub at: WallTime,
    /// How.
    pub source: DeploySource,
    /// Who, where known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// Whether its version endpoint alone told of a release that was there when the watch first began: the target could
    /// not.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub by_endpoint_alone: bool,
}

/// What a look at the target found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What is live, if the target can tell.
    pub current: Option<Release>,
    /// Why it does not tell just now, where it is one that can; phrased to follow "failed to".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub untold: Option<String>,
    /// Why there is nothing at all, where that was seen for certain; phrased to follow "failed to".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gone: Option<String>,
    /// What could be gone back to, as far as the target can tell; newest first.
    pub available: Vec<Release>,
    /// Whether the target says that it is changing just now.
    pub rolling_out: bool,
    /// Why the target itself says that its rollout fails.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failing: Option<String>,
    /// What else a platform shows of it. Boxed: most targets run on none, and an observation is a part of every event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workload: Option<Box<Workload>>,
}

impl Observation {
    /// What was seen, where there is anything.
    ///
    /// # Errors
    /// Why there is nothing.
    pub fn there(self) -> Result<Self, Reason> {
        match &self.gone {
            Some(why) => Err(Reason::new(why)),
            None => Ok(self),
        }
    }

    /// Which object it is, where the platform tells objects of one name apart.
    pub fn object(&self) -> Option<&str> {
        self.workload.as_ref()?.object.as_deref()
    }

    /// What speaks against a rollback at the target itself.
    pub fn hindrances(&self) -> &[Hindrance] {
        self.workload.as_ref().map_or(&[], |workload| &workload.hindrances)
    }

    /// What going back to that release comes to, where that is not the whole of it.
    pub fn way_back(&self, to: &Version) -> Option<&WayBack> {
        self.workload.as_ref()?.ways_back.iter().find(|way| way.to == *to)
    }

    /// The instances of the live release, where its rollout is known to be through.
    pub fn live_instances(&self) -> Option<&LiveInstances> {
        self.workload.as_ref()?.instances.live.as_ref()
    }

    /// The same where some of them serve and some fail: that is a partial failure.
    pub fn partial_failure(&self) -> Option<&LiveInstances> {
        self.live_instances().filter(|live| live.ready > 0 && live.failing > 0)
    }

    /// The sync of the controller that owns the target, where it can be suspended.
    pub fn sync(&self) -> Option<&GitSync> {
        self.workload.as_ref()?.sync.as_ref()
    }
}

/// What a platform shows of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Which object it is: another one of the same name is another (in Kubernetes: the uid).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<String>,
    /// What speaks against a rollback, or makes it impossible.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hindrances: Vec<Hindrance>,
    /// Its instances.
    pub instances: Instances,
    /// What holds it at the live release, against what its own files say, and what undoes that; in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<String>,
    /// The releases to which going back is not possible, or not the whole of it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub ways_back: Vec<WayBack>,
    /// The automated sync of the controller that owns it, where it is wanted that such a sync is suspended, and this one
    /// can be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sync: Option<GitSync>,
}

/// What going back to one release comes to, where that is not the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayBack {
    /// The release.
    pub to: Version,
    /// Why it is not possible, if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hindered: Option<String>,
    /// What is otherwise than it was with that release, and stays so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub leaves: Option<String>,
}

/// The automated sync of a controller that owns a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSync {
    /// Whose, in words that tell it from every other one of the cluster.
    pub owner: String,
    /// Whether it is on.
    pub state: SyncState,
    /// A merge patch, as JSON, that makes it what it was before we changed it, or is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub was: Option<String>,
}

/// Whether a sync is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sync", rename_all = "snake_case")]
pub enum SyncState {
    /// It is on: what is changed beside it is put back.
    Active,
    /// It is off, and people had it so: there is nothing to suspend.
    ByHand,
    /// Backstop has suspended it.
    Suspended {
        /// In which incident of the service, or else of another one that the same controller syncs.
        incident: IncidentId,
        /// What Git has come to since.
        git: GitState,
    },
    /// Backstop had suspended it, and somebody turned it on again.
    Lifted {
        /// In which incident it was suspended.
        incident: IncidentId,
        /// What Git has come to since.
        git: GitState,
    },
    /// It cannot be seen.
    Unseen {
        /// Why; phrased to follow "failed to".
        why: String,
    },
}

/// Whether Git has left what it held when the sync was suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "git", rename_all = "snake_case")]
pub enum GitState {
    /// It holds the same revision.
    Holds,
    /// It holds another, and whether that is another release cannot be told.
    Moved {
        /// Which.
        revision: String,
    },
    /// What it holds cannot be seen.
    Unclear {
        /// Why.
        why: String,
    },
    /// It holds another, and the controller does not compare that with what is live as long as its sync is off.
    Fetched {
        /// Which.
        revision: String,
    },
    /// It holds another, and the controller itself says that this is what is live.
    Left {
        /// Which.
        revision: String,
        /// When it compared the two, where it did while its sync was off. Otherwise it says so since its sync is on again.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        compared: Option<WallTime>,
    },
}

/// What speaks against a rollback at the target itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hindrance", rename_all = "snake_case")]
pub enum Hindrance {
    /// Another controller owns the object.
    Owned {
        /// Which, in words.
        by: String,
        /// Whether it is never acted past, whatever the policy says.
        always: bool,
    },
    /// It cannot be undone just now.
    NotUndoable {
        /// Why.
        why: String,
    },
    /// While both serve, the older release fails as well.
    OlderFailsToo {
        /// How.
        why: String,
    },
}

/// The instances of a workload, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Instances {
    /// How many there should be.
    pub wanted: u32,
    /// How many serve.
    pub ready: u32,
    /// How many fail.
    pub failing: u32,
    /// Why the first of them fails.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// Those of the live release alone; absent while it is rolled out, when those that fail are the rollout's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub live: Option<LiveInstances>,
}

/// The instances of a live release whose rollout is through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LiveInstances {
    /// All of them, those that are only starting too.
    pub all: u32,
    /// How many serve.
    pub ready: u32,
    /// How many fail.
    pub failing: u32,
    /// Whether those that fail are a greater share of all than one plan may restart.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub exceeds_restart: bool,
    /// Those that a restart would delete: failing ones, and no more than a bounded share of all.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub to_restart: Vec<Instance>,
}

impl LiveInstances {
    /// As in "1 of 4 instances fails: pod shop-1: `CrashLoopBackOff`".
    pub fn words(&self) -> String {
        let verb = if self.failing == 1 { "fails" } else { "fail" };
        let first = self.to_restart.first().map(|one| format!(": {one}")).unwrap_or_default();
        format!("{} of {} instances {verb}{first}", self.failing, self.all)
    }
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// As people call it.
    pub name: String,
    /// The platform's own identity of it: another one of the same name is another.
    pub id: String,
    /// Why it fails.
    pub why: String,
}

impl std::fmt::Display for Instance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.name, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_more_is_told_of_by_now_is_the_same() {
        let release = |version: &str, configuration: Option<&str>| Release {
            configuration: configuration.map(str::to_owned),
            ..Release::of(version)
        };
        for (one, other, agree) in [
            (("v1", None), ("v1", Some("k1.base.c1")), true),
            // As an older Backstop wrote it, or while no configuration counts.
            (("v1", Some("base")), ("v1", Some("k1.base.c1")), true),
            (("v1", Some("base")), ("v1", Some("base")), true),
            (("v1", Some("base")), ("v1", Some("other")), false),
            (("v1", Some("base")), ("v1", Some("k1.other.c1")), false),
            (("v1", Some("k1.base.c1")), ("v1", Some("k2.base.c2")), false),
            (("v1", Some("base")), ("v2", Some("k1.base.c1")), false),
        ] {
            let (one, other) = (release(one.0, one.1), release(other.0, other.1));
            assert_eq!((one.agrees_with(&other), other.agrees_with(&one)), (agree, agree), "{one:?} {other:?}");
        }
    }
}
