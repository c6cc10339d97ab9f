//! Whether the copies have come to what we have changed ourselves: a watch that has died unnoticed shows for more than a minute
//! what was before, and that is nobody else's doing. Until then what is asked of the API server counts.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::core::DynamicObject;
use tokio::time::Instant;

use super::{
    KubernetesError,
    clusters::Sight,
    configuration::{Held, Named},
    mirror::{LIST_WITHIN, WATCH_FOR},
    server::ANSWER_TIMEOUT,
};
use crate::core::release::GitSync;

/// While the copies are behind, the API server is asked so often at most. Watches that live are up to date within
/// milliseconds; one that is dead stays so for a minute, in which whoever waits for a rollout looks twice a second.
const ASKED_EVERY: Duration = Duration::from_secs(2);

/// A watch that was dead when we changed something has ended by then, and its objects were listed anew: the client reads no
/// longer than a watch lasts and an answer may take, and a list has its own time. What cannot be compared (it may be watched,
/// and not read) is believed from then on.
const DOUBT_LASTS: Duration =
    Duration::from_secs(WATCH_FOR.as_secs() + ANSWER_TIMEOUT.as_secs() + LIST_WITHIN.as_secs());

/// An object of those that a look shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    Workload,
    Configuration(Named),
    /// Whose sync is suspended, and where that has its content from.
    Owner,
    Source,
}

/// How an object was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// In this resource version.
    There(String),
    Absent,
    Untold,
}

impl Found {
    pub(super) fn of(found: Result<Option<&DynamicObject>, &KubernetesError>) -> Self {
        let version = |object: &DynamicObject| object.metadata.resource_version.clone();
        match found {
            Ok(Some(object)) => version(object).map_or(Self::Untold, Self::There),
            Ok(None) | Err(KubernetesError::Absent { .. }) => Self::Absent,
            Err(_) => Self::Untold,
        }
    }

    /// Whether it is no older than `asked`.
    fn is_as_new_as(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::There(copied), Self::There(asked)) => is_as_new(copied, asked),
            _ => self == asked,
        }
    }
}

/// Whether one resource version of a kind is no older than another. They are numbers that grow, in every API server that keeps
/// its objects in etcd; of one that makes them otherwise only the very same is known to be as new.
fn is_as_new(one: &str, other: &str) -> bool {
    match (one.parse::<u128>(), other.parse::<u128>()) {
        (Ok(one), Ok(other)) => one >= other,
        _ => one == other,
    }
}

pub(super) type Versions = BTreeMap<Object, Found>;

/// What a look shows, from copies or asked for.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) sight: Sight,
    pub(super) sync: Option<GitSync>,
    versions: Versions,
}

impl Shown {
    /// `others` are the owner and its source, where they are looked at.
    pub(super) fn new(sight: Sight, sync: Option<GitSync>, others: Versions) -> Self {
        let mut versions = others;
        versions.insert(Object::Workload, Found::of(Ok(Some(&sight.workload))));
        versions.extend(sight.configuration.iter().map(|(named, held)| {
            let found = match held {
                Held::There(_, object) => Found::of(Ok(Some(object))),
                Held::Absent(_) => Found::Absent,
                Held::Untold(_) => Found::Untold,
            };
            (Object::Configuration(named.clone()), found)
        }));
        Self { sight, sync, versions }
    }

    pub(super) const fn versions(&self) -> &Versions {
        &self.versions
    }

    /// The same with the pods of the copies: what is asked for has none.
    pub(super) fn with_pods_of(self, copies: Self) -> Self {
        Self { sight: Sight { pods: copies.sight.pods, ..self.sight }, ..self }
    }
}

/// What is known of our own changes.
#[derive(Debug)]
pub(super) struct Newest<T>(Mutex<Known<T>>);

#[derive(Debug)]
struct Known<T> {
    /// Changes of our own that have ended, however they did.
    changes: u64,
    /// When the last of them did.
    changed_at: Option<Instant>,
    /// Up to which of them the copies have come.
    reached: u64,
    asked: Option<Asked<T>>,
}

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self(Mutex::new(Known { changes: 0, changed_at: None, reached: 0, asked: None }))
    }
}

/// What was asked for last.
#[derive(Debug)]
struct Asked<T> {
    /// Changes that had ended before.
    changes: u64,
    at: Instant,
    versions: Versions,
    what: T,
}

/// What copies are good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing<T> {
    /// They have come to what we changed.
    Reached,
    /// They have not, and this was asked for since.
    Behind(T),
    /// Nobody knows. It is to be asked for, and so many of our changes have ended before.
    Doubt(u64),
}

impl<T: Clone> Newest<T> {
    /// A change of our own has ended.
    pub(super) fn changed(&self, now: Instant) {
        let mut known = self.lock();
        known.changes += 1;
        known.changed_at = Some(now);
    }

    /// How copies stand that were read before `now`.
    pub(super) fn standing(&self, copies: &Versions, now: Instant) -> Standing<T> {
        let mut known = self.lock();
        let changes = known.changes;
        let is_settled = known.changed_at.is_none_or(|at| now >= at + DOUBT_LASTS);
        let asked = known.asked.as_ref().filter(|asked| asked.changes == changes);
        if known.reached == changes || is_settled || asked.is_some_and(|asked| asked.is_shown_by(copies)) {
            known.reached = changes;
            known.asked = None;
            return Standing::Reached;
        }
        match asked.filter(|asked| now < asked.at + ASKED_EVERY) {
            Some(asked) => Standing::Behind(asked.what.clone()),
            None => Standing::Doubt(changes),
        }
    }

    /// What was asked for after so many changes.
    pub(super) fn asked(&self, changes: u64, versions: Versions, what: T, now: Instant) {
        self.lock().asked = Some(Asked { changes, at: now, versions, what });
    }

    /// Whether the API server is to be asked again, since the copies have not come to what we changed. The first look after
    /// a change is somebody's who waits for it.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let known = self.lock();
        known.reached != known.changes && known.asked.as_ref().is_some_and(|asked| now >= asked.at + ASKED_EVERY)
    }

    /// What this lock guards is whole after every statement.
    fn lock(&self) -> MutexGuard<'_, Known<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Asked<T> {
    /// What copies show that this did not is newer, or named by what is.
    fn is_shown_by(&self, copies: &Versions) -> bool {
        let is_shown = |(object, asked): (&Object, &Found)| match copies.get(object) {
            Some(found) => found.is_as_new_as(asked),
            None => *object != Object::Workload,
        };
        self.versions.iter().all(is_shown)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::configuration::Holder, *};

    const MAP: &str = "shop";

    fn map() -> Object {
        Object::Configuration(Named { holder: Holder::ConfigMap, name: MAP.to_owned() })
    }

    /// The workload in this version and its ConfigMap, which is absent without one and untold with `?`.
    fn versions(workload: &str, config_map: &str) -> Versions {
        let found = |version: &str| match version {
            "" => Found::Absent,
            "?" => Found::Untold,
            version => Found::There(version.to_owned()),
        };
        [(Object::Workload, found(workload)), (map(), found(config_map))].into()
    }

    #[tokio::test]
    async fn copies_from_before_a_change_are_no_answer_until_they_have_come_to_it() {
        for (asked, copies, is_reached) in [
            (("10", "9"), ("5", "3"), false),
            (("10", "9"), ("9", "9"), false),
            (("10", "9"), ("10", "3"), false),
            (("10", "9"), ("10", "9"), true),
            (("10", "9"), ("11", "30"), true),
            // Numbers, and no words.
            (("10", "9"), ("9", "10"), false),
            (("9", "9"), ("10", "9"), true),
            // Of others only the very same.
            (("b", "9"), ("b", "9"), true),
            (("b", "9"), ("c", "9"), false),
            // Somebody deleted it, or made it.
            (("10", ""), ("10", "9"), false),
            (("10", "9"), ("10", ""), false),
            (("10", ""), ("10", ""), true),
            // What cannot be asked for proves nothing.
            (("10", "?"), ("10", "9"), false),
            (("10", "?"), ("10", "?"), true),
        ] {
            let (newest, now) = (Newest::default(), Instant::now());
            let copies = versions(copies.0, copies.1);
            assert_eq!(newest.standing(&copies, now), Standing::Reached, "nothing was changed");
            newest.changed(now);
            assert_eq!(newest.standing(&copies, now), Standing::Doubt(1));
            newest.asked(1, versions(asked.0, asked.1), "asked", now);
            let expected = if is_reached { Standing::Reached } else { Standing::Behind("asked") };
            assert_eq!(newest.standing(&copies, now), expected, "{asked:?} {copies:?}");
        }
    }

    #[tokio::test]
    async fn what_the_newer_workload_does_not_name_any_more_is_not_waited_for() {
        let (newest, now) = (Newest::default(), Instant::now());
        newest.changed(now);
        newest.asked(1, versions("10", "9"), (), now);
        let mut copies = versions("11", "3");
        copies.remove(&map());
        assert_eq!(newest.standing(&copies, now), Standing::Reached);
    }

    #[tokio::test]
    async fn it_is_asked_again_after_a_while_after_a_further_change_and_not_for_ever() {
        let (newest, now) = (Newest::default(), Instant::now());
        let copies = versions("5", "3");
        newest.changed(now);
        assert!(!newest.is_due(now));
        newest.asked(1, versions("10", "9"), (), now);
        let soon = now + ASKED_EVERY;
        assert!(!newest.is_due(now) && newest.is_due(soon));
        assert_eq!(newest.standing(&copies, soon), Standing::Doubt(1));
        // A change ends while the answer is under way: it tells nothing of that one.
        newest.changed(soon);
        newest.asked(1, versions("5", "3"), (), soon);
        assert_eq!(newest.standing(&copies, soon), Standing::Doubt(2));
        assert_eq!(newest.standing(&copies, now + DOUBT_LASTS), Standing::Doubt(2), "the last one counts");
        assert_eq!(newest.standing(&copies, soon + DOUBT_LASTS), Standing::Reached);
        assert!(!newest.is_due(soon + DOUBT_LASTS));
    }
}
