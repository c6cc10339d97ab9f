//! The project's files as `docker compose` finds them, our override beside them, and the command lines with both.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    address::Address,
    container::{FILES, IMAGE, INCIDENT, VERSION},
};
use crate::config::form::ComposeTarget;

/// Files that Compose takes where none is named: the first that is there.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// And the first of these that is there, on top.
const ON_TOP: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];
/// Names the files, in the environment or in the project's `.env`.
const VARIABLE: &str = "COMPOSE_FILE";
const SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";

/// What tells whether any of the files has changed: when, and how long it is.
pub(super) type Print = Vec<(PathBuf, Option<(i64, i64, u64)>)>;

/// The project's files, in order. Blocks.
pub(super) fn files(form: &ComposeTarget, environment: impl Fn(&str) -> Option<String>) -> io::Result<Vec<PathBuf>> {
    let below = |path: &Path| form.project_directory.join(path);
    if !form.files.is_empty() {
        return Ok(form.files.iter().map(|path| below(path)).collect());
    }
    let written = fs::read_to_string(environment_file(form)).unwrap_or_default();
    let said = |name: &str| environment(name).or_else(|| variable(&written, name)).filter(|value| !value.is_empty());
    if let Some(named) = said(VARIABLE) {
        let separator = said(SEPARATOR).unwrap_or_else(|| ":".to_owned());
        return Ok(named
            .split(separator.as_str())
            .filter(|path| !path.is_empty())
            .map(|path| below(Path::new(path)))
            .collect());
    }
    let there = |names: &[&str]| names.iter().map(|name| below(Path::new(name))).find(|path| path.exists());
    let first = there(&NAMES).ok_or_else(|| {
        let why = format!("there is none of {}", NAMES.join(", "));
        io::Error::new(io::ErrorKind::NotFound, why)
    })?;
    Ok(std::iter::once(first).chain(there(&ON_TOP)).collect())
}

fn environment_file(form: &ComposeTarget) -> PathBuf {
    form.env_file.clone().unwrap_or_else(|| form.project_directory.join(".env"))
}

/// A variable as a file of them has it: without blanks around, and without quotes.
fn variable(text: &str, name: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let line = line.trim();
        let (known, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        (known.trim() == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })
}

/// Whether they have changed since the last print was taken shows by another one. Blocks.
pub(super) fn print(form: &ComposeTarget, files: &[PathBuf]) -> Print {
    let all = files.iter().cloned().chain([environment_file(form)]);
    all.map(|path| {
        let metadata = fs::metadata(&path).ok();
        (path, metadata.map(|found| (found.mtime(), found.mtime_nsec(), found.size())))
    })
    .collect()
}

/// `docker compose` for the project with those files, up to its own command.
pub(super) fn command(form: &ComposeTarget, address: &Address, files: &[PathBuf], rest: &[&str]) -> Vec<String> {
    let mut command = vec!["docker".to_owned()];
    command.extend(address.arguments());
    command.extend(["compose", "--ansi", "never", "--project-directory"].map(str::to_owned));
    command.push(form.project_directory.display().to_string());
    if let Some(file) = &form.env_file {
        command.extend(["--env-file".to_owned(), file.display().to_string()]);
    }
    for profile in &form.profiles {
        command.extend(["--profile".to_owned(), profile.clone()]);
    }
    for file in files {
        command.extend(["--file".to_owned(), file.display().to_string()]);
    }
    command.extend(rest.iter().map(|&word| word.to_owned()));
    command
}

/// What pins a service to an image, to be laid over the project's files; with what those say, as far as that is known. JSON
/// is YAML, too.
pub(super) fn pin(service: &str, image: &str, version: &str, incident: &str, files: Option<&str>) -> Value {
    // A dollar sign would be taken for a variable.
    let mut labels = json!({VERSION: version.replace('$', "$$"), IMAGE: image, INCIDENT: incident.replace('$', "$$")});
    if let Some(files) = files {
        labels[FILES] = files.into();
    }
    json!({"services": {service: {"image": image, "pull_policy": "never", "labels": labels}}})
}

/// What names the image only, to see whether the files say otherwise the same as when a container was made. Who went up
/// without what the service depends on left that out.
pub(super) fn as_named(service: &str, reference: &str, alone: bool) -> String {
    let depends_on = if alone { r#", "depends_on": !reset null"# } else { "" };
    let (service, reference) = (Value::from(service), Value::from(reference.replace('$', "$$")));
    format!(r#"{{"services": {{{service}: {{"image": {reference}{depends_on}}}}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::{super::address::tests::form, *};

    #[test]
    fn files_as_compose_finds_them() {
        let folder = tempfile::tempdir().expect("a directory");
        let here = |name: &str| folder.path().join(name);
        let form = |files: &[&str]| ComposeTarget {
            project_directory: folder.path().to_owned(),
            files: files.iter().map(Into::into).collect(),
            ..form()
        };
        let nobody = |_: &str| None;
        let said = files(&form(&[]), nobody).expect_err("there is none").to_string();
        assert!(said.contains("compose.yaml"), "{said}");
        for name in ["docker-compose.yml", "docker-compose.override.yml", "other.yml"] {
            fs::write(here(name), "services: {}").expect("written");
        }
        let plain = vec![here("docker-compose.yml"), here("docker-compose.override.yml")];
        assert_eq!(files(&form(&[]), nobody).expect("found"), plain);
        assert_eq!(files(&form(&["a.yml", "/b.yml"]), nobody).expect("named"), [here("a.yml"), "/b.yml".into()]);
        let before = print(&form(&[]), &plain);
        fs::write(here(".env"), "A=1\nexport COMPOSE_FILE=\"other.yml:b.yml\"\n").expect("written");
        assert_ne!(print(&form(&[]), &plain), before, "variables count, too");
        assert_eq!(files(&form(&[]), nobody).expect("named"), [here("other.yml"), here("b.yml")]);
        let by_environment = |name: &str| (name == VARIABLE).then(|| "c.yml".to_owned());
        assert_eq!(files(&form(&[]), by_environment).expect("named"), [here("c.yml")]);
    }

    #[test]
    fn what_is_laid_over_the_files_is_yaml() {
        for alone in [false, true] {
            let text = as_named("my api", "shop:1\"", alone);
            let read: Value = serde_saphyr::from_str(&text.replace("!reset ", "")).expect("YAML");
            assert_eq!(read["services"]["my api"]["image"], "shop:1\"", "{text}");
            assert_eq!(text.contains("depends_on"), alone);
        }
        let pinned = pin("api", "sha256:a", "1$2", "api-1", Some("aaaa"));
        assert_eq!(pinned["services"]["api"]["labels"]["backstop.io/version"], "1$$2");
        assert_eq!(pinned["services"]["api"]["labels"]["backstop.io/files"], "aaaa");
        assert!(pin("api", "a", "1", "api-1", None).pointer("/services/api/labels/backstop.io~1files").is_none());
    }

    #[test]
    fn a_command_line_has_all_that_is_configured_and_in_order() {
        let form = ComposeTarget {
            profiles: vec!["full".to_owned()],
            env_file: Some("/srv/shop/prod.env".into()),
            docker_host: Some("unix:///a".to_owned()),
            ..form()
        };
        let address = Address::of(&form, |_| None);
        let line =
            command(&form, &address, &["/srv/shop/a.yml".into(), "/x/override.yaml".into()], &["up", "--detach"]);
        assert_eq!(
            line.join(" "),
            "docker --host unix:///a compose --ansi never --project-directory /srv/shop --env-file /srv/shop/prod.env \
             --profile full --file /srv/shop/a.yml --file /x/override.yaml up --detach"
        );
    }
}
