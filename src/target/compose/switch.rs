//! Makes another release the service's: its image is pinned by an override file of ours, and `docker compose up` does the
//! rest, with the scale that there is.
//!
//! The override is written, durably, before anything stops, and what `up` finds done it leaves: whoever goes on after a crash
//! does the same again. Where the project's own files have come to name that very image, nothing is pinned any more.

use std::{collections::BTreeSet, path::PathBuf};

use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    ComposeTarget, OVERRIDE,
    container::{Container, State},
    files,
    images::short,
    kept::Kept,
    project::Project,
    sight::{Sight, image_of},
};
use crate::{
    config::form::CommandLine,
    core::{name::Version, operation::Attempt},
    target::{
        TargetError,
        tool::{Tool, Toolbox},
    },
};

/// Characters of what an engine says that are told: all of it fits into a reason.
const SAID_LIMIT: usize = 150;

impl ComposeTarget {
    /// Whether the image is there; where it is not, it is pulled, while all that serves goes on.
    pub(super) async fn ensure_available(
        &self,
        tools: &Toolbox,
        version: &Version,
        attempt: &Attempt,
    ) -> Result<String, TargetError> {
        let sight = self.sight().await?;
        usable(&sight, version)?;
        let kept = self.kept().await?;
        let image = self.image(&kept, version)?;
        // Not as it is remembered: what was pruned a moment ago is not there.
        if self.has_image(&image).await? {
            return Ok(format!("{version} is there as image {}", short(&image)));
        }
        let digest = kept.of(version).and_then(|known| known.digests.first().cloned());
        let Some(digest) = digest else {
            return Err(unavailable(
                version,
                format!("its image {} is gone, and no registry is known to have it", short(&image)),
            ));
        };
        let mut command = vec!["docker".to_owned()];
        command.extend(self.address().arguments());
        command.extend(["pull".to_owned(), "--quiet".to_owned(), digest.clone()]);
        let tool =
            Tool { name: "docker pull", command: &CommandLine(command), versions: None, deadline: attempt.deadline };
        tools.change(tool, &attempt.key).await?;
        if !self.has_image(&image).await? {
            return Err(unavailable(version, format!("{digest} is another image than {}", short(&image))));
        }
        Ok(format!("{version} was pulled again as {digest}"))
    }

    pub(super) async fn switch(
        &self,
        tools: &Toolbox,
        attempt: &Attempt,
        from: &Version,
        to: &Version,
    ) -> Result<String, TargetError> {
        let until = Instant::now() + attempt.deadline;
        let unseen =
            |error: TargetError| TargetError::Unseen { from: from.clone(), to: to.clone(), why: Box::new(error) };
        let sight = self.sight().await.map_err(unseen)?;
        let kept = self.kept().await?;
        let live = sight.identify(&self.names(), &kept);
        if let Some(live) = live.as_ref().map(|live| &live.version).filter(|live| *live != from && *live != to) {
            return Err(TargetError::Overtaken { from: from.clone(), to: to.clone(), live: live.clone() });
        }
        let project = usable(&sight, to)?;
        let image = self.image(&kept, to)?;
        if !self.has_image(&image).await.map_err(unseen)? {
            return Err(unavailable(to, format!("its image {} is gone", short(&image))));
        }
        let (files, pinned) = self.files_with(project, &sight, &image, to, attempt).await?;
        if let Some(name) = self.is_being_exchanged(&sight) {
            return Err(unseen(TargetError::Untold(format!(
                "see it settled: the container {name} has just been made"
            ))));
        }
        let renamed = self.clear_leftovers(&sight).await?;
        let places: BTreeSet<&str> = sight.containers.iter().map(Container::number).collect();
        let scale = format!("{}={}", self.form.service, places.len().max(1));
        let mut rest = vec![
            "up",
            "--detach",
            "--no-deps",
            "--no-build",
            "--remove-orphans=false",
            "--pull",
            "never",
            "--scale",
            scale.as_str(),
        ];
        // Traffic that is stopped stays so until it is restored.
        let is_stopped = kept.stopped.as_ref().is_some_and(|stopped| stopped.stops(&self.form.service));
        if is_stopped {
            rest.retain(|word| *word != "--detach");
            rest.push("--no-start");
        }
        rest.push(&self.form.service);
        let command = CommandLine(files::command(&self.form, self.address(), &files, &rest));
        let deadline = until.saturating_duration_since(Instant::now()).min(self.form.rollout_timeout);
        let tool = Tool { name: "docker compose up", command: &command, versions: Some((from, to)), deadline };
        tools.change_in(tool, &self.form.project_directory, &attempt.key).await.map_err(shortened)?;
        for (id, name) in renamed {
            self.rename(&id, &name).await;
        }
        let how = if pinned { "pinned by" } else { "as the project's files name it, without" };
        let directory = self.directory.as_deref().map(|directory| directory.join(OVERRIDE).display().to_string());
        let note = format!("image {} is up, {how} {}", short(&image), directory.unwrap_or_default());
        Ok(if is_stopped { format!("{note}; it is not started while traffic is stopped") } else { note })
    }

    /// The container that somebody is about to put into the place of one that runs: that is not to be cut short.
    fn is_being_exchanged(&self, sight: &Sight) -> Option<String> {
        let now = Instant::now();
        let mut watched = self.watched();
        watched.see(&sight.containers, now);
        let coming = watched.coming(&sight.containers, now).filter(|one| one.is_to_replace())?;
        let runs = |one: &Container| one.number() == coming.number() && matches!(one.state, State::Running(_));
        sight.containers.iter().any(runs).then(|| coming.name.clone())
    }

    /// Compose makes the container that is to take a place under a name for the time being, stops and removes the one that
    /// has it, and gives it the name. What was left of that when somebody was killed in it would be in the way of the next
    /// `up`, or keep its name. Returns those that are to be renamed once they are up, and to what.
    async fn clear_leftovers(&self, sight: &Sight) -> Result<Vec<(String, String)>, TargetError> {
        let mut renamed = Vec::new();
        for one in sight.containers.iter().filter(|one| one.is_to_replace()) {
            let has_place = |other: &&Container| other.id != one.id && other.number() == one.number();
            if sight.containers.iter().any(|other| has_place(&other)) {
                let what = format!("remove the container {}, which was never started", one.name);
                let removed =
                    self.engine()?.change(&what, Method::DELETE, &format!("/containers/{}", one.id), &[]).await;
                match removed {
                    Err(error) if !error.is_absent() => return Err(error.into()),
                    _ => {}
                }
            } else {
                // It has the volumes of the one whose place it was to take.
                renamed.push((one.id.clone(), format!("{}-{}-{}", sight.name, self.form.service, one.number())));
            }
        }
        Ok(renamed)
    }

    /// Gives a container its name, where `up` has not: it serves without.
    async fn rename(&self, id: &str, name: &str) {
        let Ok(engine) = self.engine() else { return };
        let what = format!("rename the container {} to {name}", short(id));
        let renamed = async {
            let known = engine.get(&what, &format!("/containers/{id}/json"), &[]).await?;
            if known.get("Name").and_then(Value::as_str).is_some_and(|known| known.trim_start_matches('/') == name) {
                return Ok(());
            }
            engine.change(&what, Method::POST, &format!("/containers/{id}/rename"), &[("name", name)]).await
        };
        match renamed.await {
            Err(error) if !error.is_absent() => {
                tracing::warn!(service = self.form.service, %error, "a container keeps the name that it was made under");
            }
            _ => {}
        }
    }

    /// The files to go up with; and whether ours is among them.
    async fn files_with(
        &self,
        project: &Project,
        sight: &Sight,
        image: &str,
        to: &Version,
        attempt: &Attempt,
    ) -> Result<(Vec<PathBuf>, bool), TargetError> {
        let Some(directory) = &self.directory else { return Err(TargetError::NotConfigured("up")) };
        let mut with_pin = project.files.clone();
        // The release that the files themselves name needs no pin: going back to it takes ours away.
        let named = self.named_image(project).await?;
        if named.is_some_and(|named| sight.images.is_called(&named, image)) {
            return Ok((with_pin, false));
        }
        let path = directory.join(OVERRIDE);
        let said = self.files_hash(project).await?;
        let incident = attempt.key.incident.as_str();
        let pin = files::pin(&self.form.service, image, to.as_str(), incident, said.as_deref());
        self.write(&path, pin.to_string()).await?;
        with_pin.push(path);
        Ok((with_pin, true))
    }

    /// The image that a name stands for.
    fn image(&self, kept: &Kept, version: &Version) -> Result<String, TargetError> {
        if let Some(known) = kept.of(version) {
            return Ok(known.image.clone());
        }
        let names = self.names();
        let content = names.content(version);
        content.map(image_of).ok_or_else(|| unavailable(version, "no image of that name was ever seen".to_owned()))
    }

    async fn has_image(&self, image: &str) -> Result<bool, TargetError> {
        let what = format!("find the image {}", short(image));
        match self.engine()?.get(&what, &format!("/images/{image}/json"), &[]).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The project, where its files can be used.
fn usable<'a>(sight: &'a Sight, version: &Version) -> Result<&'a Project, TargetError> {
    sight.project.as_ref().map_err(|why| unavailable(version, format!("its project cannot be used: failed to {why}")))
}

/// An engine says which of its parts failed before it says why: what is told to people has little room, and why is its end.
fn shortened(error: TargetError) -> TargetError {
    match error {
        TargetError::Ended { name, status, said } if said.chars().count() > SAID_LIMIT => {
            let left_out = said.chars().count() - SAID_LIMIT;
            let end: String = said.chars().skip(left_out).collect();
            TargetError::Ended { name, status, said: format!("…{end}") }
        }
        other => other,
    }
}

fn unavailable(version: &Version, why: String) -> TargetError {
    TargetError::Unavailable { version: version.clone(), why }
}
