//! From a look to an observation.

use std::{collections::BTreeSet, sync::PoisonError};

use tokio::time::Instant;

use super::{
    ComposeTarget,
    container::{Container, INCIDENT, State},
    health::{Count, Health},
    images::{self, repository},
    kept::Kept,
    restart,
    sight::{Identity, Sight, base_of, image_of},
};
use crate::{
    core::{
        name::Version,
        release::{Hindrance, Instances, LiveInstances, Observation, Release, WayBack, Workload},
    },
    target::{AVAILABLE_LIMIT, TargetError},
};

/// Releases whose images are kept from being pruned: those that served last, the live one among them.
const KEPT_IMAGES: usize = 5;
/// The share of the live release's containers that one plan may restart where they fail; one in any case.
const RESTART_AT_MOST: f64 = 0.3;

impl ComposeTarget {
    /// What a look comes to.
    pub(super) async fn understand(&self, sight: &Sight) -> Result<Observation, TargetError> {
        let kept = self.kept().await?;
        let now = Instant::now();
        let live = {
            let mut names = self.names();
            let live = sight.identify(&names, &kept);
            if let Some(live) = &live {
                live.keep_name(&mut names);
            }
            live
        };
        let mut observation = self.counted(sight, &kept, live.as_ref(), now);
        let served = observation.live_instances().is_some_and(|all| all.ready == all.all);
        if let (Some(live), true) = (&live, self.directory.is_some()) {
            let known = sight.known(live, served);
            // What is live is known all the same: a full disk takes nobody's sight.
            if let Err(error) = self.keep(|kept| kept.live(known)).await {
                tracing::warn!(service = self.form.service, %error, "what is live is not kept for later");
            }
            if served {
                self.keep_images(sight, live).await;
            }
        }
        let kept = self.kept().await?;
        let hindrances = self.hindrances(sight, &kept, now).await;
        if let Some(workload) = &mut observation.workload {
            workload.hindrances.extend(hindrances);
        }
        let offered = self.offered(sight, &kept).await;
        let (available, ways_back) = self.available(sight, &kept, live.as_ref(), &offered);
        observation.available = available;
        if let Some(workload) = &mut observation.workload {
            workload.ways_back = ways_back;
        }
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = self.watched().due(&sight.containers);
        Ok(observation)
    }

    /// What its containers show.
    fn counted(&self, sight: &Sight, kept: &Kept, live: Option<&Identity>, now: Instant) -> Observation {
        let mut watched = self.watched();
        watched.see(&sight.containers, now);
        let is_ready = |one: &Container| watched.health(one, now) == Health::Ready;
        let fails = |one: &Container| watched.failure(one, now);
        let is_new = |one: &&Container| sight.live().is_some_and(|live| one.is_like(live));
        let all = Count::of(sight.containers.iter(), is_ready, fails);
        let new = Count::of(sight.containers.iter().filter(is_new), is_ready, fails);
        let is_mixed = sight.is_mixed();
        let all_serve = !is_mixed && new.ready > 0 && new.ready as usize == sight.containers.len();
        let served = all_serve || live.and_then(|live| kept.of(&live.version)).is_some_and(|known| known.served);
        let live_instances = (!is_mixed && served && live.is_some()).then(|| {
            let lasting = |one: &Container| {
                if new.ready > 0 { watched.lasting_failure(one, now) } else { watched.failure(one, now) }
            };
            let count = Count::of(sight.containers.iter(), is_ready, lasting);
            let all = count.ready + count.starting + count.failing;
            LiveInstances {
                all,
                ready: count.ready,
                failing: count.failing,
                exceeds_restart: f64::from(count.failing) > f64::from(all) * RESTART_AT_MOST,
                to_restart: restart::chosen(&sight.containers, is_ready, lasting, RESTART_AT_MOST),
            }
        });
        // Compose makes the container that is to take a place, and only then stops the one that has it: who fails by that
        // is not the release that goes.
        let coming =
            watched.coming(&sight.containers, now).filter(|one| sight.live().is_some_and(|live| !one.is_like(live)));
        let untold = match coming {
            Some(one) => {
                Some(format!("see it settled: the container {} has been made, and is not started yet", one.name))
            }
            None => live.is_none().then(|| self.no_container(sight).to_string()),
        };
        Observation {
            current: live.filter(|_| untold.is_none()).map(Identity::release),
            untold,
            gone: None,
            available: Vec::new(),
            rolling_out: is_mixed || (!served && new.starting > 0),
            failing: new.why.clone().filter(|_| new.failing > 0 && new.ready == 0),
            workload: Some(Box::new(Workload {
                object: None,
                hindrances: Vec::new(),
                instances: Instances {
                    wanted: u32::try_from(sight.containers.len()).unwrap_or(u32::MAX),
                    ready: all.ready,
                    failing: all.failing,
                    why: new.why.or(all.why),
                    live: live_instances,
                },
                ways_back: Vec::new(),
                sync: None,
                held: live.filter(|live| live.is_ours).map(|live| self.held(sight, live)),
            })),
        }
    }

    /// That a pin of ours holds it, and what undoes that.
    fn held(&self, sight: &Sight, live: &Identity) -> String {
        let (service, version, image) = (&self.form.service, &live.version, images::short(&live.image));
        let incident = sight.live().and_then(|one| one.label(INCIDENT)).unwrap_or("a rollback");
        format!(
            "{service} is held at {version} (image {image}) since {incident}, by an override file of Backstop's: the next \
             `docker compose up` deploys what the project's own files name, so name {version} there, or what mends it"
        )
    }

    /// What speaks against a rollback, known as soon as the release is there.
    async fn hindrances(&self, sight: &Sight, kept: &Kept, now: Instant) -> Vec<Hindrance> {
        let mut all = Vec::new();
        let mut not_undoable = |why: String| all.push(Hindrance::NotUndoable { why });
        match &sight.project {
            Err(why) => not_undoable(format!("its project cannot be used: failed to {why}")),
            Ok(project) => match sight.live() {
                None => {}
                Some(live) => match self.is_edited_since(project, live).await {
                    Ok(Some(true)) => not_undoable(format!(
                        "the project's files say something else of the service {} than when its container was made, which a \
                         rollback would deploy as well: deploy that, or take it back",
                        self.form.service
                    )),
                    Ok(Some(false) | None) => {}
                    Err(error) => {
                        not_undoable(format!("its project cannot be compared with what runs: failed to {error}"));
                    }
                },
            },
        }
        all.extend(self.theirs(sight, kept));
        if let Some(why) = self.older_fails(sight, now) {
            all.push(Hindrance::OlderFailsToo { why });
        }
        all
    }

    /// What people have stopped or taken down is theirs to start: a rollback would start it.
    fn theirs(&self, sight: &Sight, kept: &Kept) -> Option<Hindrance> {
        let service = &self.form.service;
        if kept.stopped.as_ref().is_some_and(|stopped| stopped.stops(service)) {
            return None;
        }
        let is_theirs = |one: &Container| matches!(one.state, State::Paused | State::Ended { by_hand: true, .. });
        let why = match sight.containers.first() {
            None => format!("{service} has no container: it was taken down by hand"),
            Some(one) if sight.containers.iter().all(is_theirs) => {
                format!("{service} was stopped or paused by hand ({}): start it, and it is watched again", one.name)
            }
            Some(_) => return None,
        };
        Some(Hindrance::NotUndoable { why })
    }

    /// Why an older container fails beside the newer ones. What ends when it is exchanged does not fail.
    fn older_fails(&self, sight: &Sight, now: Instant) -> Option<String> {
        let live = sight.live()?;
        let is_old =
            |one: &&Container| one.image != live.image && !matches!(one.state, State::Ended { .. } | State::Made(_));
        let watched = self.watched();
        let failing = sight
            .containers
            .iter()
            .filter(is_old)
            .find_map(|one| watched.failure(one, now).map(|why| format!("container {}: {why}", one.name)));
        failing.or_else(|| watched.restarting(sight.containers.iter().filter(is_old), now))
    }

    /// The images of earlier releases that are gone here, and that a registry would give again.
    async fn offered(&self, sight: &Sight, kept: &Kept) -> BTreeSet<String> {
        let mut offered = BTreeSet::new();
        let gone = kept.newest_first().filter(|known| known.served && !sight.images.has(&known.image));
        let Ok(engine) = self.engine() else { return offered };
        for known in gone.take(KEPT_IMAGES) {
            if let Some(digest) = known.digests.first()
                && self.shelf.lock().await.is_offered(&engine, digest).await
            {
                offered.insert(known.image.clone());
            }
        }
        offered
    }

    /// The releases whose images are there or can be had, the one that was live last first, but for the live one; with what going back to
    /// each comes to, where that is not the whole of it.
    fn available(
        &self,
        sight: &Sight,
        kept: &Kept,
        live: Option<&Identity>,
        offered: &BTreeSet<String>,
    ) -> (Vec<Release>, Vec<WayBack>) {
        let mut names = self.names();
        let mut candidates: Vec<(Version, String)> =
            kept.newest_first().map(|known| (known.version.clone(), known.image.clone())).collect();
        let journal =
            self.journal.iter().rev().filter_map(|release| Some((release, release.configuration.as_deref()?)));
        candidates.extend(journal.map(|(release, content)| (release.version.clone(), image_of(content))));
        // What was never live here may be marked good by people.
        let references = live.map(|live| live.reference.as_str()).into_iter();
        let repositories: BTreeSet<&str> = references
            .chain(kept.newest_first().map(|known| known.reference.as_str()))
            .filter_map(repository)
            .collect();
        for place in repositories {
            for (image, tag) in sight.images.of_repository(place) {
                if names.of_base(base_of(image)).is_empty() {
                    names.name(tag, base_of(image));
                }
                let versions = names.of_base(base_of(image)).iter().rev();
                candidates.extend(versions.map(|version| (version.clone(), image.to_owned())));
            }
        }
        let (mut available, mut ways): (Vec<Release>, Vec<WayBack>) = (Vec::new(), Vec::new());
        for (version, image) in candidates {
            let is_known = live.is_some_and(|live| live.version == version)
                || available.iter().any(|known: &Release| known.version == version);
            if is_known || available.len() >= AVAILABLE_LIMIT || !(sight.images.has(&image) || offered.contains(&image))
            {
                continue;
            }
            if let Some(live) = live {
                ways.extend(way_back(&version, &image, kept, live));
            }
            let configuration = names.content(&version).map(str::to_owned);
            available.push(Release { digest: Some(image), configuration, ..Release::of(version) });
        }
        (available, ways)
    }

    /// Keeps the images of the last releases that served, and lets go of those before them.
    async fn keep_images(&self, sight: &Sight, live: &Identity) {
        let Ok(kept) = self.kept().await else { return };
        let mut wanted: BTreeSet<&str> = BTreeSet::from([live.image.as_str()]);
        for known in kept.newest_first().filter(|known| known.served) {
            if wanted.len() >= KEPT_IMAGES {
                break;
            }
            wanted.insert(&known.image);
        }
        let Ok(engine) = self.engine() else { return };
        if let Err(error) = images::keep(&engine, &sight.images, (&sight.name, &self.form.service), &wanted).await {
            tracing::warn!(service = self.form.service, %error, "images of earlier releases may be pruned");
        }
    }
}

/// What going back to a release comes to, where that is not the whole of it.
fn way_back(to: &Version, image: &str, kept: &Kept, live: &Identity) -> Option<WayBack> {
    let known = kept.of(to);
    let changed = known.and_then(|known| known.manifest.difference(&live.manifest));
    let (hindered, leaves) = if image == live.image {
        let what = changed.map_or_else(String::new, |changed| format!(" ({changed})"));
        let why = format!(
            "since {to} only configuration has changed{what}, and its image is the live one's: take it back in the project's \
             files, and deploy that"
        );
        (Some(why), None)
    } else {
        let stays = |changed| format!("what changed since {to} stays as it is: {changed}");
        (None, changed.map(stays))
    };
    (hindered.is_some() || leaves.is_some()).then(|| WayBack { to: to.clone(), hindered, leaves })
}
