//! The project as `docker compose` itself understands its files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ComposeError, ComposeTarget,
    container::{Container, FILES},
    files::{self, Print},
};
use crate::{
    record::atomic,
    runtime::child::{self, ChildEnd, ChildSpec},
    target::TargetError,
};

/// `docker compose config` reads files, and takes a tenth of a second.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// What was read is believed for so long where none of the files has changed: they may include others.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// The same of what could not be read.
const DOUBTED_FOR: Duration = Duration::from_secs(10);
/// Named where any image is as good as another.
const ANY_IMAGE: &str = "backstop.local/any:any";
/// Laid over the files to compare them with what runs.
const COMPARED: &str = "compared.yaml";

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Project {
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
}

/// What was found out of the files, and by which state of them.
#[derive(Debug)]
pub(super) struct Cached<T> {
    print: Print,
    until: Instant,
    of: String,
    pub(super) found: T,
}

impl<T> Cached<T> {
    fn new(print: Print, of: String, found: T, is_known: bool) -> Self {
        let until = Instant::now() + if is_known { BELIEVED_FOR } else { DOUBTED_FOR };
        Self { print, until, of, found }
    }

    fn is_still(&self, print: &Print, of: &str) -> bool {
        self.print == *print && self.of == of && Instant::now() < self.until
    }
}

impl ComposeTarget {
    /// The project's files and what they are just now.
    async fn files(&self) -> Result<(Vec<PathBuf>, Print), TargetError> {
        let form = self.form.clone();
        let directory = form.project_directory.clone();
        let look = move || {
            let wrong = |error: std::io::Error| ComposeError::Project {
                directory: form.project_directory.clone(),
                said: error.to_string(),
            };
            let found = files::files(&form, |name| std::env::var(name).ok()).map_err(wrong)?;
            let print = files::print(&form, &found);
            Ok((found, print))
        };
        self.calls.run(&directory, look).await
    }

    /// The project, read anew where its files have changed.
    pub(super) async fn project(&self) -> Result<Project, TargetError> {
        let (found, print) = self.files().await?;
        if let Some(known) = &*self.cached_project().await
            && known.is_still(&print, "")
        {
            return known.found.clone().map_err(|said| self.wrong_project(said));
        }
        let read = self.read_project(found).await;
        let kept = match &read {
            Ok(project) => Ok(project.clone()),
            Err(TargetError::Compose(ComposeError::Project { said, .. })) => Err(said.clone()),
            // That it could not be read just now is not kept.
            Err(_) => return read,
        };
        let is_known = kept.is_ok();
        *self.cached_project().await = Some(Cached::new(print, String::new(), kept, is_known));
        read
    }

    fn wrong_project(&self, said: String) -> TargetError {
        ComposeError::Project { directory: self.form.project_directory.clone(), said }.into()
    }

    /// The services of the project, by name.
    pub(super) async fn services(&self, files: &[PathBuf]) -> Result<Vec<String>, TargetError> {
        let listed = self.ask("docker compose config", files, &["config", "--services"]).await?;
        if !listed.succeeded() {
            return Err(self.wrong_project(listed.last_line().unwrap_or("it says nothing").to_owned()));
        }
        let mut services: Vec<String> = listed.stdout.split_whitespace().map(str::to_owned).collect();
        services.sort_unstable();
        Ok(services)
    }

    async fn read_project(&self, files: Vec<PathBuf>) -> Result<Project, TargetError> {
        let service = self.form.service.as_str();
        let end = self.ask("docker compose config", &files, &["config", "--format", "json", service]).await?;
        if !end.succeeded() {
            let said = end.last_line().unwrap_or("it says nothing").to_owned();
            if said.contains("no such service") {
                let project = self.form.project_directory.display().to_string();
                return Err(no_service(service, project, &self.services(&files).await?));
            }
            return Err(self.wrong_project(said));
        }
        let name = name(&end.stdout).ok_or_else(|| self.wrong_project("it has no name".to_owned()))?;
        Ok(Project { name, files })
    }

    /// Runs a command of `docker compose` that only looks.
    pub(super) async fn ask(
        &self,
        name: &'static str,
        files: &[PathBuf],
        rest: &[&str],
    ) -> Result<ChildEnd, TargetError> {
        let command = files::command(&self.form, self.address(), files, rest);
        let directory = Some(self.form.project_directory.clone());
        let spec = ChildSpec { command, directory, environment: Vec::new(), deadline: READ_WITHIN, step: None };
        child::run(spec).await.map_err(|source| TargetError::Run { name, source })
    }

    /// Whether the files say something else of the service than when that container was made, its image aside; none where
    /// that cannot be told.
    pub(super) async fn is_edited_since(
        &self,
        project: &Project,
        live: &Container,
    ) -> Result<Option<bool>, TargetError> {
        let Some((hash, _)) = live.config_hash() else { return Ok(None) };
        let (_, print) = self.files().await?;
        let of = format!("{hash} {}", live.reference());
        if let Some(known) = &*self.cached_edit().await
            && known.is_still(&print, &of)
        {
            return Ok(known.found);
        }
        let edited = self.compare(project, live).await?;
        *self.cached_edit().await = Some(Cached::new(print, of, edited, edited.is_some()));
        Ok(edited)
    }

    async fn compare(&self, project: &Project, live: &Container) -> Result<Option<bool>, TargetError> {
        let Some((hash, version)) = live.config_hash() else { return Ok(None) };
        let Some(directory) = &self.directory else { return Ok(None) };
        // Another Compose hashes otherwise.
        let end = self.ask("docker compose version", &[], &["version", "--short"]).await?;
        if !end.succeeded() || without_build(end.stdout.trim()) != without_build(version) {
            return Ok(None);
        }
        if live.made_to_be().is_some() {
            let Some(before) = live.label(FILES) else { return Ok(None) };
            return Ok(self.files_hash(project).await?.map(|now| now != before));
        }
        if self.hash(&project.files).await?.as_deref() == Some(hash) {
            return Ok(Some(false));
        }
        // The image may have been named by whoever deployed, and the service put up alone.
        let mut compared = None;
        for alone in [false, true] {
            let now = self.hash_as_named(project, directory, live.reference(), alone).await?;
            if now.as_deref() == Some(hash) {
                return Ok(Some(false));
            }
            compared = compared.or(now);
        }
        Ok(compared.map(|_| true))
    }

    /// What tells whether the project's own files say the same of the service, its image aside.
    pub(super) async fn files_hash(&self, project: &Project) -> Result<Option<String>, TargetError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        self.hash_as_named(project, directory, ANY_IMAGE, false).await
    }

    async fn hash_as_named(
        &self,
        project: &Project,
        directory: &Path,
        reference: &str,
        alone: bool,
    ) -> Result<Option<String>, TargetError> {
        let path = directory.join(COMPARED);
        self.write(&path, files::as_named(&self.form.service, reference, alone)).await?;
        let mut with_image = project.files.clone();
        with_image.push(path);
        self.hash(&with_image).await
    }

    /// The image that the files name for the service, where all that they say can be read.
    pub(super) async fn named_image(&self, project: &Project) -> Result<Option<String>, TargetError> {
        let service = self.form.service.as_str();
        let end = self.ask("docker compose config", &project.files, &["config", "--format", "json", service]).await?;
        let whole: Option<serde_json::Value> = serde_json::from_str(&end.stdout).ok().filter(|_| end.succeeded());
        Ok(whole.and_then(|whole| Some(whole.get("services")?.get(service)?.get("image")?.as_str()?.to_owned())))
    }

    async fn hash(&self, files: &[PathBuf]) -> Result<Option<String>, TargetError> {
        let end = self.ask("docker compose config", files, &["config", "--hash", &self.form.service]).await?;
        let said = end.stdout.split_whitespace().nth(1).map(str::to_owned);
        Ok(said.filter(|_| end.succeeded()))
    }

    /// Writes one of our own files, durably.
    pub(super) async fn write(&self, path: &Path, text: String) -> Result<(), TargetError> {
        let to = path.to_owned();
        let write = move || {
            let failed = |source| TargetError::Keep { path: to.clone(), source };
            std::fs::create_dir_all(atomic::parent(&to)).map_err(failed)?;
            atomic::replace(&to, text.as_bytes()).map_err(failed)
        };
        self.calls.run(atomic::parent(path), write).await
    }
}

pub(super) fn no_service(service: &str, project: String, there: &[String]) -> TargetError {
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    ComposeError::NoService { service: service.to_owned(), project, there }.into()
}

/// The project's name: the first line of its canonical form. The rest may be long, and is not all there.
fn name(canonical: &str) -> Option<String> {
    let line = canonical.lines().find(|line| line.starts_with("  \"name\":"))?;
    serde_json::from_str(line.trim().strip_prefix("\"name\":")?.trim().trim_end_matches(',')).ok()
}

/// A version as it is written into labels: without what a distribution adds.
fn without_build(version: &str) -> &str {
    version.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projects_name_is_found_though_the_rest_is_not_there() {
        let canonical = "{\n  \"name\": \"shop\",\n  \"services\": {\n    \"api\": {\n      \"name\": \"x";
        assert_eq!(name(canonical).as_deref(), Some("shop"));
        assert_eq!(name("{}"), None);
        assert_eq!(without_build("v2.26.1-4"), without_build("2.26.1"));
    }
}
