//! Makes another release the workload's: its `ConfigMaps` first, where those are put back, then its pod template.
//!
//! Every part is written after a fresh look, tests whom it changes, and may be repeated: whoever goes on after a crash
//! finds on the workload that it is between two releases, and between which. The template comes last, and with it pods are
//! made anew: no pod of the release that is gone back to starts with half of a configuration that was put back. Pods of the
//! one that is left may: those that are started again meanwhile, and those that have a ConfigMap as files.

use std::{collections::BTreeMap, sync::PoisonError};

use serde_json::Value;

use super::{
    KubernetesTarget,
    clusters::{Sight, wanted},
    configuration::{Configuration, Held, Holder, Manifest, Named, Need, hash},
    identity::{self, Identity, MadeToBe, Switching},
    revision::{Revision, Template},
    suspension::Patience,
    undo,
    ways::{self, Restoring, Wanted},
    write::{Try, tried, until_written},
};
use crate::{
    core::{name::Version, operation::Attempt},
    target::{TargetError, names::base},
};

/// A release to be gone back to, as it is found.
struct Found {
    revision: Revision,
    /// See [`crate::target::names`].
    content: String,
}

/// What is to be written.
struct Plan {
    template: Template,
    is_same_template: bool,
    /// The ConfigMaps to be put back, each as it is and what it is to hold.
    maps: BTreeMap<Named, (Held, Value)>,
    left: Vec<Named>,
    /// What the release is made of once the maps are put back.
    content: String,
}

impl KubernetesTarget {
    pub(super) async fn switch(&self, attempt: &Attempt, from: &Version, to: &Version) -> Result<String, TargetError> {
        self.load_kept().await;
        let patience = Patience::of(attempt);
        until_written(attempt.deadline, || self.try_switch(attempt, from, to, patience)).await
    }

    /// Whether the release is there, and all that going back to it takes.
    pub(super) async fn ensure_available(&self, attempt: &Attempt, version: &Version) -> Result<String, TargetError> {
        self.load_kept().await;
        let fresh = self.fresh().await?;
        self.is_the_one(attempt, &fresh)?;
        let live = self.identify(&fresh).map_err(TargetError::Untold)?;
        let found = self.find(&fresh, version)?;
        if live.version != *version {
            let is_between = live.switching.as_ref().is_some_and(|one| one.to == *version);
            self.plan(&fresh, &live, is_between, version, &found).await?;
        }
        // Before anything is done: whoever finds another writing has nothing to take back.
        self.lease.hold(&self.clusters.client(&self.form).await?).await?;
        Ok(format!("{version} is there as revision {}", found.revision.number))
    }

    async fn try_switch(
        &self,
        attempt: &Attempt,
        from: &Version,
        to: &Version,
        patience: Patience,
    ) -> Result<Try, TargetError> {
        let incident = attempt.key.incident.as_str();
        let fresh = self.fresh().await?;
        self.is_the_one(attempt, &fresh)?;
        let unseen = |why: String| TargetError::Unseen {
            from: from.clone(),
            to: to.clone(),
            why: Box::new(TargetError::Untold(why)),
        };
        let live = self.identify(&fresh).map_err(unseen)?;
        let is_between = live.switching.as_ref().is_some_and(|switching| switching.is_between(from, to));
        // Somebody may have put the configuration back and left the pods with what they started with.
        let is_put_back = live.version == *to && !is_between;
        if is_put_back && (live.is_ours || self.was_told(to) || !self.runs_the_same(from, &live)) {
            return Ok(Try::Done(format!("{to} was the workload's already")));
        }
        if live.version != *from && !is_between && !is_put_back {
            return Err(self.overtaken(&fresh, (from, to), live.version));
        }
        let mut found = self.find(&fresh, to)?;
        if is_put_back {
            found.content.clone_from(&live.content);
        }
        let plan = self.plan(&fresh, &live, is_between || is_put_back, to, &found).await?;
        // That its sync is suspended does not end what it has begun.
        if self.waited_for_sync(&fresh, patience).await? {
            return Ok(Try::Waited);
        }
        if plan.maps.is_empty() {
            self.write_template(&fresh, incident, (from, to), &found, plan).await
        } else {
            self.write_maps(&fresh, incident, (from, to), &live, plan).await
        }
    }

    /// Whether the last look found that release live, so that its pods began with it.
    fn was_told(&self, version: &Version) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).told() == Some(version)
    }

    /// Whether a release has the template of what is live.
    fn runs_the_same(&self, version: &Version, live: &Identity) -> bool {
        self.names().content(version).is_some_and(|content| base(content) == base(&live.content))
    }

    /// Another release is live; with what was put back before it came.
    fn overtaken(&self, fresh: &Sight, (from, to): (&Version, &Version), live: Version) -> TargetError {
        let (from, to) = (from.clone(), to.clone());
        match identity::put_back(fresh, &self.names(), &self.kept, (&from, &to)) {
            Some((older, maps)) => TargetError::OvertakenHalfway { from, to, live, older, maps: ways::words(&maps) },
            None => TargetError::Overtaken { from, to, live },
        }
    }

    /// The newest revision that a name stands for.
    fn find(&self, sight: &Sight, version: &Version) -> Result<Found, TargetError> {
        let content = self.names().content(version).map(str::to_owned);
        let content =
            content.ok_or_else(|| unavailable(version, "no revision of that name was ever seen".to_owned()))?;
        let base = base(&content);
        let found = sight.revisions(self.kind).into_iter().find(|revision| revision.template.content() == base);
        let gone = "its revision is gone: the workload keeps revisionHistoryLimit of them";
        let revision = found.ok_or_else(|| unavailable(version, gone.to_owned()))?;
        Ok(Found { revision, content })
    }

    /// What going from what is live to a release takes. Where it `is_begun`, nothing that is left to do is refused.
    async fn plan(
        &self,
        fresh: &Sight,
        live: &Identity,
        is_begun: bool,
        to: &Version,
        Found { revision, content }: &Found,
    ) -> Result<Plan, TargetError> {
        let is_same_template = revision.template.content() == live.template.content();
        // What is live may have been restarted since its revision was made.
        let template = if is_same_template { live.template.clone() } else { revision.template.clone() };
        let now = self.configuration_for(fresh, &template).await?;
        if let Some((missing, _)) = now.iter().find(|(_, held)| **held == Held::Absent(Need::Required)) {
            return Err(unavailable(to, format!("its pods need the {missing}, and there is none")));
        }
        let wanted = Wanted { version: to, content, is_same_template: is_same_template && !is_begun };
        let restoring = match (is_begun, self.form.restore_config) {
            (true, _) => Restoring::Begun,
            (false, true) => Restoring::Own(fresh),
            (false, false) => Restoring::No,
        };
        let way = ways::way(wanted, &now, &self.kept, restoring).map_err(|why| unavailable(to, why))?;
        let mut data = match identity::configuration_of(content) {
            Some(configuration) if !way.restored.is_empty() => self.kept.data(configuration).await?,
            _ => BTreeMap::new(),
        };
        let mut made: Manifest = Manifest::of(&now).map_err(|why| unavailable(to, why))?;
        let mut maps = BTreeMap::new();
        for named in way.restored {
            let lost = || unavailable(to, format!("what the {named} held is damaged where it was kept"));
            let held = data.remove(&named).ok_or_else(lost)?;
            made.0.insert(named.clone(), Some(hash(&held)));
            let as_it_is = now.get(&named).cloned().ok_or_else(lost)?;
            maps.insert(named, (as_it_is, held));
        }
        let content = identity::content(&template, &made);
        Ok(Plan { template, is_same_template, maps, left: way.left, content })
    }

    /// The configuration that a template names, as it is now.
    async fn configuration_for(&self, fresh: &Sight, template: &Template) -> Result<Configuration, TargetError> {
        let wanted = wanted(&self.form, Some(template));
        let unknown = wanted.iter().filter(|(named, _)| !fresh.configuration.contains_key(named));
        let unknown = unknown.map(|(named, need)| (named.clone(), *need)).collect();
        let mut now = self.clusters.fresh_configuration(&self.form, &unknown).await;
        now.extend(fresh.configuration.iter().filter(|(named, _)| wanted.contains_key(named)).map(|(named, held)| {
            // Whether pods start without it is for this template to say.
            let held = match held {
                Held::Absent(_) => Held::Absent(wanted[named]),
                held => held.clone(),
            };
            (named.clone(), held)
        }));
        match now.values().find_map(|held| if let Held::Untold(why) = held { Some(why.clone()) } else { None }) {
            Some(why) => Err(TargetError::Untold(why)),
            None => Ok(now),
        }
    }

    /// Puts ConfigMaps back, after the workload says between which releases it is.
    async fn write_maps(
        &self,
        fresh: &Sight,
        incident: &str,
        (from, to): (&Version, &Version),
        live: &Identity,
        plan: Plan,
    ) -> Result<Try, TargetError> {
        let switching = Switching { from: from.clone(), to: to.clone(), template: identity::print(&live.template) };
        // Whoever takes it back leaves what it says: until the template is another one, the release is the one it was.
        if !live.switching.as_ref().is_some_and(|one| one.is_between(from, to)) {
            let text = serde_json::to_string(&switching).map_err(|error| TargetError::Lost(error.to_string()))?;
            let patch = undo::to_switching(&fresh.workload, &text, incident);
            return self.write_workload(patch).await.map(further);
        }
        let api = self.api(&Holder::ConfigMap.resource()).await?;
        for (named, (held, data)) in &plan.maps {
            let Held::There(_, map) = held else { continue };
            let patch = undo::to_data(map, data, incident);
            match tried(self.patch(&api, "configmap", &named.name, patch).await, String::new())? {
                Try::Done(_) | Try::Further | Try::Waited => {}
                refused @ Try::Refused(_) => return Ok(refused),
            }
        }
        Ok(Try::Further)
    }

    /// Puts the template there, and says which release it is from then on.
    async fn write_template(
        &self,
        fresh: &Sight,
        incident: &str,
        (from, to): (&Version, &Version),
        found: &Found,
        plan: Plan,
    ) -> Result<Try, TargetError> {
        let cause = format!("rolled back from {from} to {to} by Backstop, incident {incident}");
        let made = MadeToBe { version: to.clone(), content: plan.content };
        let release = serde_json::to_string(&made).map_err(|error| TargetError::Lost(error.to_string()))?;
        let mut note = format!("revision {} is the workload's again", found.revision.number);
        let template = if plan.is_same_template {
            "the ConfigMaps are as they were, and the pods are restarted".clone_into(&mut note);
            let version = fresh.workload.metadata.resource_version.as_deref().unwrap_or_default();
            plan.template.restarted(&format!("{incident}, resourceVersion {version}"))
        } else {
            plan.template
        };
        if !plan.left.is_empty() {
            note += &format!("; {}", ways::stays(&plan.left));
        }
        let patch = undo::to_template(&fresh.workload, &template, (&cause, incident, &release));
        Ok(match self.write_workload(patch).await? {
            Try::Done(_) => {
                self.names().also(&made.content, to);
                Try::Done(note)
            }
            other => other,
        })
    }

    async fn write_workload(&self, patch: Vec<Value>) -> Result<Try, TargetError> {
        let api = self.api(&self.kind.resource()).await?;
        tried(self.patch(&api, self.kind.word(), self.form.workload.name(), patch).await, String::new())
    }
}

fn further(tried: Try) -> Try {
    match tried {
        Try::Done(_) => Try::Further,
        other => other,
    }
}

fn unavailable(version: &Version, why: String) -> TargetError {
    TargetError::Unavailable { version: version.clone(), why }
}
