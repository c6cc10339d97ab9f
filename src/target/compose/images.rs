//! The images that an engine has, and the tags by which those of earlier releases are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::{ComposeError, engine::Engine};

/// A list of images is believed for so long where no event told of one: an engine that lost its events lists anew.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// What a registry answered is believed for so long.
const OFFERED_FOR: Duration = Duration::from_secs(10 * 60);
/// What images say of themselves is kept of so many.
const CONFIGS_LIMIT: usize = 50;
/// Where the tags are that keep images from being pruned; no registry has that name.
const KEPT: &str = "backstop.local/kept";
/// Digits of an image's number in such a tag.
const DIGITS: usize = 12;

/// The images that are there.
#[derive(Debug, Default)]
pub(super) struct Images {
    /// By number, with their tags.
    there: BTreeMap<String, Vec<String>>,
}

impl Images {
    /// Reads a list.
    fn read(list: &Value) -> Self {
        let texts = |image: &Value, name: &str| -> Vec<String> {
            let all = image.get(name).and_then(Value::as_array).into_iter().flatten();
            all.filter_map(Value::as_str).filter(|tag| !tag.starts_with("<none>")).map(str::to_owned).collect()
        };
        let images = list.as_array().into_iter().flatten();
        let there = images.filter_map(|image| Some((image.get("Id")?.as_str()?.to_owned(), texts(image, "RepoTags"))));
        Self { there: there.collect() }
    }

    pub(super) fn has(&self, image: &str) -> bool {
        self.there.contains_key(image)
    }

    /// Whether that is a name of the image.
    pub(super) fn is_called(&self, reference: &str, image: &str) -> bool {
        let is_bare = repository(reference) == Some(reference);
        let whole = if is_bare { format!("{reference}:latest") } else { reference.to_owned() };
        reference == image || self.there.get(image).is_some_and(|tags| tags.contains(&whole))
    }

    /// The images that have a tag in that repository, which is not ours, with the tag's own name.
    pub(super) fn of_repository<'a>(&'a self, repository: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let named =
            move |tag: &'a str| tag.strip_prefix(repository)?.strip_prefix(':').filter(|tag| !tag.contains('/'));
        self.there
            .iter()
            .flat_map(move |(image, tags)| tags.iter().filter_map(move |tag| Some((image.as_str(), named(tag)?))))
    }

    /// Our tags of a service, by image.
    fn kept(&self, repository: &str) -> BTreeSet<(String, String)> {
        self.of_repository(repository).map(|(image, tag)| (image.to_owned(), tag.to_owned())).collect()
    }
}

/// The repository that a reference is in.
pub(super) fn repository(reference: &str) -> Option<&str> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let after = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[after..].find(':').map_or(name, |colon| &name[..after + colon]);
    (!name.is_empty() && name != "sha256").then_some(name)
}

/// What is remembered of an engine's images.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    listed: Option<(u64, Instant, Arc<Images>)>,
    configs: BTreeMap<String, Arc<Value>>,
    /// Whether a registry has what is called so, and when it was asked.
    offered: BTreeMap<String, (Instant, bool)>,
}

impl Shelf {
    /// The images that are there; `changes` tells whether any may have come or gone.
    pub(super) async fn list(&mut self, engine: &Engine, changes: u64) -> Result<Arc<Images>, ComposeError> {
        if let Some((known, at, images)) = &self.listed
            && *known == changes
            && at.elapsed() < BELIEVED_FOR
        {
            return Ok(Arc::clone(images));
        }
        let list = engine.get("list the images", "/images/json", &[]).await?;
        let images = Arc::new(Images::read(&list));
        self.listed = Some((changes, Instant::now(), Arc::clone(&images)));
        Ok(images)
    }

    /// Whether a registry has what is called so by a digest. One that cannot be asked has not.
    pub(super) async fn is_offered(&mut self, engine: &Engine, digest: &str) -> bool {
        if let Some((asked, is_offered)) = self.offered.get(digest)
            && asked.elapsed() < OFFERED_FOR
        {
            return *is_offered;
        }
        let what = format!("ask the registry for {digest}");
        let is_offered = engine.get(&what, &format!("/distribution/{digest}/json"), &[]).await.is_ok();
        if self.offered.len() >= CONFIGS_LIMIT {
            self.offered.clear();
        }
        self.offered.insert(digest.to_owned(), (Instant::now(), is_offered));
        is_offered
    }

    /// What an image says of itself, which never changes.
    pub(super) async fn config(&mut self, engine: &Engine, image: &str) -> Result<Arc<Value>, ComposeError> {
        if let Some(known) = self.configs.get(image) {
            return Ok(Arc::clone(known));
        }
        let what = format!("read the image {}", short(image));
        let found = Arc::new(engine.get(&what, &format!("/images/{image}/json"), &[]).await?);
        if self.configs.len() >= CONFIGS_LIMIT {
            self.configs.clear();
        }
        self.configs.insert(image.to_owned(), Arc::clone(&found));
        Ok(found)
    }
}

/// The digits by which people know an image.
pub(super) fn short(image: &str) -> &str {
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    &digits[..digits.len().min(DIGITS)]
}

/// Tags `wanted` as ours, and takes our tags from all others of that service.
pub(super) async fn keep(
    engine: &Engine,
    images: &Images,
    (project, service): (&str, &str),
    wanted: &BTreeSet<&str>,
) -> Result<bool, ComposeError> {
    let repository = format!("{KEPT}/{project}/{service}").to_lowercase();
    let tagged = images.kept(&repository);
    let mut is_changed = false;
    for image in wanted.iter().filter(|image| images.has(image)) {
        if !tagged.iter().any(|(known, _)| known == image) {
            let what = format!("keep the image {} from being pruned", short(image));
            let query = [("repo", repository.as_str()), ("tag", short(image))];
            engine.change(&what, Method::POST, &format!("/images/{image}/tag"), &query).await?;
            is_changed = true;
        }
    }
    for (image, tag) in tagged.iter().filter(|(image, _)| !wanted.contains(image.as_str())) {
        let what = format!("let go of the image {}", short(image));
        let path = format!("/images/{repository}:{tag}");
        match engine.change(&what, Method::DELETE, &path, &[("noprune", "true")]).await {
            // A container has it still.
            Err(ComposeError::Refused { status: 404 | 409, .. }) => {}
            other => other?,
        }
        is_changed = true;
    }
    Ok(is_changed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repositories_of_references() {
        for (reference, expected) in [
            ("shop:1.4.3", Some("shop")),
            ("127.0.0.1:5000/team/shop", Some("127.0.0.1:5000/team/shop")),
            ("127.0.0.1:5000/team/shop:v1", Some("127.0.0.1:5000/team/shop")),
            ("registry.example/shop@sha256:abc", Some("registry.example/shop")),
            ("shop:v1@sha256:abc", Some("shop")),
            ("sha256:abc", None),
            ("", None),
        ] {
            assert_eq!(repository(reference), expected, "{reference}");
        }
    }

    #[test]
    fn what_is_there_is_found_by_number_and_by_repository() {
        let images = Images::read(&json!([
            {"Id": "sha256:a", "RepoTags": ["shop:1", "shop:latest", "backstop.local/kept/shop/api:a"]},
            {"Id": "sha256:b", "RepoTags": ["shopping:1", "team/shop:2"]},
            {"Id": "sha256:c", "RepoTags": null},
            {"Id": "sha256:d", "RepoTags": ["<none>:<none>"]},
        ]));
        assert!(images.has("sha256:c") && !images.has("sha256:e"));
        assert_eq!(images.of_repository("shop").collect::<Vec<_>>(), [("sha256:a", "1"), ("sha256:a", "latest")]);
        assert_eq!(images.kept("backstop.local/kept/shop/api").len(), 1);
        assert!(images.there["sha256:d"].is_empty());
    }
}
