//! One look at the engine: the service's containers, and which release the newest of them is.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    ComposeError, ComposeTarget,
    configuration::Manifest,
    container::{Container, PROJECT, SERVICE, State, WORKING_DIRECTORY},
    engine::Engine,
    engines::Followed,
    images::{self, Images},
    kept::{Kept, Known},
    project::Project,
};
use crate::{
    core::{name::Version, release::Release},
    target::{
        TargetError,
        kubernetes::{configuration::Key, content},
        names::{Names, base},
    },
};

/// Containers of one service that are looked at: more are hardly on one machine.
const CONTAINERS_LIMIT: usize = 100;

/// What one look found.
#[derive(Debug)]
pub(super) struct Sight {
    /// The project's name.
    pub(super) name: String,
    /// The project, or what is wrong with its files; phrased to follow "failed to".
    pub(super) project: Result<Project, String>,
    /// By when they were made.
    pub(super) containers: Vec<Container>,
    pub(super) images: Arc<Images>,
    /// What the newest one's image says of itself.
    image: Option<Arc<Value>>,
    key: Key,
}

/// The release that a container is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    pub(super) version: Version,
    /// See [`crate::target::names`].
    pub(super) content: String,
    /// What the journal calls that content.
    pub(super) known_as: String,
    pub(super) image: String,
    pub(super) manifest: Manifest,
    /// The image's name, as far as it is known.
    pub(super) reference: String,
    /// Backstop put it there.
    pub(super) is_ours: bool,
}

impl Identity {
    pub(super) fn release(&self) -> Release {
        let digest = Some(self.image.clone());
        Release { digest, configuration: Some(self.known_as.clone()), ..Release::of(self.version.clone()) }
    }

    /// Gives what is live its name.
    pub(super) fn keep_name(&self, names: &mut Names) {
        if self.is_ours || self.known_as != self.content {
            names.also(&self.content, &self.version);
        } else {
            names.name(&content::tag(&self.reference), &self.content);
        }
        names.told(&self.content, &self.known_as);
    }
}

/// What a content runs, as an engine numbers it.
pub(super) fn image_of(content: &str) -> String {
    format!("sha256:{}", base(content))
}

/// What a content runs, without its configuration.
pub(super) fn base_of(image: &str) -> &str {
    image.strip_prefix("sha256:").unwrap_or(image)
}

impl Sight {
    /// The container that tells what is live: the newest. One that was only made while another one stands is on its way,
    /// or was left on it.
    pub(super) fn live(&self) -> Option<&Container> {
        let was_started = |one: &&Container| !matches!(one.state, State::Made(_));
        self.containers.iter().rev().find(was_started).or_else(|| self.containers.last())
    }

    /// Whether containers of two releases stand side by side; one that was only made beside them does not.
    pub(super) fn is_mixed(&self) -> bool {
        let Some(live) = self.live() else { return false };
        let stands = |one: &&Container| one.state != State::Made(None);
        self.containers.iter().filter(stands).any(|one| !one.is_like(live))
    }

    /// Which release is live, without giving it its name; none where there is no container.
    pub(super) fn identify(&self, names: &Names, kept: &Kept) -> Option<Identity> {
        let (live, image) = (self.live()?, self.image.as_ref()?);
        let manifest = Manifest::of(live, image, &self.key);
        let configuration = manifest.hash();
        let base_content = base_of(&live.image);
        let whole = content::of_text(&format!("{base_content}.{configuration}"));
        let content = format!("{whole}.{base_content}.{configuration}");
        let made_to_be = live.made_to_be().map(Version::from);
        let reference = match live.reference() {
            // By its number alone: as it was named before.
            number if images::repository(number).is_none() => {
                kept.of_image(&live.image).map_or(number, |known| known.reference.as_str()).to_owned()
            }
            name => name.to_owned(),
        };
        // What was kept to compare it with is lost.
        let inherited = names.inherited().filter(|(version, before)| {
            made_to_be.is_none()
                && !names.is_named(&content)
                && base(before) == base_content
                && kept.of(version).is_none()
        });
        let (version, known_as, is_ours) = match (made_to_be, inherited) {
            (Some(version), _) => (version, names.known_as(&content).to_owned(), true),
            (None, Some((version, before))) => (version.clone(), before.to_owned(), false),
            (None, None) => {
                let version = names.would_be(&tag(&reference, &live.image), &content);
                (version, names.known_as(&content).to_owned(), false)
            }
        };
        Some(Identity { version, content, known_as, image: live.image.clone(), manifest, reference, is_ours })
    }

    /// The names by which a registry would give the live image again.
    pub(super) fn digests(&self) -> Vec<String> {
        let all = self.image.as_ref().and_then(|image| image.get("RepoDigests")?.as_array().cloned());
        all.into_iter().flatten().filter_map(|digest| digest.as_str().map(str::to_owned)).collect()
    }

    /// What is to be kept of the live release.
    pub(super) fn known(&self, live: &Identity, served: bool) -> Known {
        Known {
            version: live.version.clone(),
            image: live.image.clone(),
            reference: live.reference.clone(),
            digests: self.digests(),
            manifest: live.manifest.clone(),
            served,
        }
    }
}

/// What people call an image: its tag, or some digits of its number.
fn tag(reference: &str, image: &str) -> String {
    match images::repository(reference) {
        Some(_) => content::tag(reference),
        None => images::short(image).to_owned(),
    }
}

impl ComposeTarget {
    pub(super) fn engine(&self) -> Result<Arc<Followed>, TargetError> {
        Ok(self.engines.at(&self.address)?)
    }

    /// Looks at the engine, now.
    pub(super) async fn sight(&self) -> Result<Sight, TargetError> {
        let engine = self.engine()?;
        let key = self.engines.key(&self.calls).await?;
        let project = self.project().await;
        let of_project = match &project {
            Ok(project) => format!("{PROJECT}={}", project.name),
            // Its containers say whose they are, whatever its files say by now.
            Err(_) => format!("{WORKING_DIRECTORY}={}", self.form.project_directory.display()),
        };
        let mut containers = list(&engine, &of_project, &self.form.service).await?;
        for one in containers.iter_mut().filter(|one| engine.was_told_to_end(&one.id)) {
            one.was_told_to_end();
        }
        let name = match &project {
            Ok(project) => project.name.clone(),
            Err(_) => containers.last().and_then(|one| one.label(PROJECT)).unwrap_or_default().to_owned(),
        };
        let project = match project {
            Ok(project) => Ok(project),
            // Nothing at all is known then.
            Err(error) if containers.is_empty() => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let mut remembered = self.shelf.lock().await;
        let images = remembered.list(&engine, engine.image_changes()).await?;
        let mut sight = Sight { name, project, containers, images, image: None, key };
        if let Some(live) = sight.live() {
            let image = live.image.clone();
            sight.image = Some(match remembered.config(&engine, &image).await {
                Ok(config) => config,
                // Somebody removed it from under the container: what it said of itself is not known any more.
                Err(error) if error.is_absent() => Arc::new(Value::Null),
                Err(error) => return Err(error.into()),
            });
        }
        Ok(sight)
    }

    /// The containers of a service of the project.
    pub(super) async fn containers(&self, project: &str, service: &str) -> Result<Vec<Container>, TargetError> {
        Ok(list(&*self.engine()?, &format!("{PROJECT}={project}"), service).await?)
    }

    /// That there is no container, as an error.
    pub(super) fn no_container(&self, sight: &Sight) -> ComposeError {
        ComposeError::NoContainer { service: self.form.service.clone(), project: sight.name.clone() }
    }
}

/// The containers of a service, by when they were made.
async fn list(engine: &Engine, of_project: &str, service: &str) -> Result<Vec<Container>, ComposeError> {
    let filters = json!({"label": [of_project, format!("{SERVICE}={service}")]}).to_string();
    let query = [("all", "1"), ("filters", filters.as_str())];
    let list = engine.get(&format!("list the containers of the service {service}"), "/containers/json", &query).await?;
    let mut containers = Vec::new();
    let ids = list.as_array().into_iter().flatten().filter_map(|one| one.get("Id")?.as_str());
    for id in ids.take(CONTAINERS_LIMIT) {
        let what = format!("read the container {}", images::short(id));
        match engine.get(&what, &format!("/containers/{id}/json"), &[]).await {
            Ok(whole) => containers.extend(Container::read(whole)),
            // It has gone meanwhile.
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    containers.sort_by(|one, other| (one.made, &one.name).cmp(&(other.made, &other.name)));
    Ok(containers)
}
