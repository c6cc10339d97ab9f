//! The configuration of the last releases, by content: what a rollback puts back, after a restart of the daemon as well.
//!
//! One file for each configuration that was seen live, named by its hash. It holds the data of ConfigMaps, and of
//! Secrets the hash alone. The last [`RELEASES_LIMIT`] are kept, no more than [`BYTES_LIMIT`] in all but for the newest.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Configuration, Held, Holder, Manifest, Named, data, hash};
use crate::{
    record::atomic,
    target::{
        TargetError,
        blocking::{self, BlockingCalls, OneAtATime},
    },
};

/// Configurations that are kept of one workload: twice the revisions that a workload keeps by itself.
const RELEASES_LIMIT: usize = 20;
/// Bytes that they take in all. A ConfigMap has at most one MiB, and most have some KiB.
const BYTES_LIMIT: u64 = 64 * 1024 * 1024;
/// Files that are looked at; whoever put more there uses the directory for something else.
const FILES_LIMIT: usize = 1_000;

/// Where the configurations of one workload are kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// None: nothing is kept, and nothing found.
    directory: Option<PathBuf>,
    calls: OneAtATime,
    index: Mutex<Option<BTreeMap<String, Entry>>>,
}

/// What is known of a file without reading it again.
#[derive(Debug, Clone)]
struct Entry {
    manifest: Manifest,
    /// Counts up with each that is written.
    number: u64,
    bytes: u64,
}

/// A file.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    number: u64,
    objects: Manifest,
    /// What `ConfigMaps` held, by name.
    data: BTreeMap<String, Value>,
}

impl Kept {
    /// Those in `directory`, which is made when needed; without one nothing is kept.
    pub(crate) fn new(directory: Option<PathBuf>, calls: BlockingCalls) -> Self {
        Self { directory, calls: OneAtATime::new(blocking::LIMIT, calls), index: Mutex::default() }
    }

    /// What this lock guards is whole after every statement.
    fn index(&self) -> MutexGuard<'_, Option<BTreeMap<String, Entry>>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what there is, once.
    pub(crate) async fn load(&self) -> Result<(), TargetError> {
        if self.index().is_some() {
            return Ok(());
        }
        let Some(directory) = &self.directory else { return Ok(()) };
        let path = directory.clone();
        let read = move || read_all(&path).map_err(|source| TargetError::Read { path, source });
        let found = self.calls.run(directory, read).await?;
        self.index().get_or_insert(found);
        Ok(())
    }

    /// The configuration of that hash, if it is kept.
    pub(crate) fn manifest(&self, hash: &str) -> Option<Manifest> {
        Some(self.index().as_ref()?.get(hash)?.manifest.clone())
    }

    /// Keeps what is live, and lets go of what is too much. Nothing is written where it is the newest already.
    pub(crate) async fn keep(&self, manifest: &Manifest, now: &Configuration) -> Result<(), TargetError> {
        self.load().await?;
        let (Some(directory), Some(name)) = (&self.directory, manifest.hash()) else { return Ok(()) };
        let number = {
            let index = self.index();
            let newest = index.iter().flatten().max_by_key(|(_, entry)| entry.number);
            match newest {
                Some((newest, _)) if *newest == name => return Ok(()),
                newest => newest.map_or(1, |(_, entry)| entry.number + 1),
            }
        };
        let data = now.iter().filter_map(|(named, held)| match held {
            Held::There(_, object) if named.holder == Holder::ConfigMap => Some((named.name.clone(), data(object))),
            _ => None,
        });
        let record = Record { number, objects: manifest.clone(), data: data.collect() };
        let (folder, path) = (directory.clone(), path_of(directory, &name));
        let write = move || {
            let failed = |source| TargetError::Keep { path: path.clone(), source };
            let text = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
            fs::create_dir_all(&folder).map_err(failed)?;
            atomic::replace(&path, &text).map_err(failed)?;
            Ok(u64::try_from(text.len()).unwrap_or(u64::MAX))
        };
        let bytes = self.calls.run(directory, write).await?;
        let gone = {
            let mut index = self.index();
            let index = index.get_or_insert_default();
            index.insert(name, Entry { manifest: manifest.clone(), number, bytes });
            too_much(index)
        };
        let paths: Vec<PathBuf> = gone.iter().map(|name| path_of(directory, name)).collect();
        if !paths.is_empty() {
            let remove = move || {
                for path in paths {
                    // One that stays is found and let go of again after the next start.
                    drop(fs::remove_file(path));
                }
                Ok(())
            };
            self.calls.run(directory, remove).await?;
        }
        Ok(())
    }

    /// What the ConfigMaps of that configuration held, by name. What does not fit its hash any more is left out.
    pub(crate) async fn data(&self, name: &str) -> Result<BTreeMap<Named, Value>, TargetError> {
        let Some(directory) = &self.directory else { return Ok(BTreeMap::new()) };
        let path = path_of(directory, name);
        let read = move || {
            let failed = |source| TargetError::Read { path: path.clone(), source };
            let record: Record =
                serde_json::from_slice(&fs::read(&path).map_err(failed)?).map_err(|error| failed(error.into()))?;
            let of = |name: String| Named { holder: Holder::ConfigMap, name };
            let found = record.data.into_iter().map(|(name, data)| (of(name), data)).filter(|(named, data)| {
                record.objects.0.get(named).is_some_and(|known| known.as_deref() == Some(hash(data).as_str()))
            });
            Ok(found.collect())
        };
        self.calls.run(directory, read).await
    }
}

fn path_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.json"))
}

fn read_all(directory: &Path) -> io::Result<BTreeMap<String, Entry>> {
    let mut found = BTreeMap::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries.take(FILES_LIMIT) {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                tracing::warn!(path = %directory.display(), %error, "configurations that were kept are not all listed");
                continue;
            }
        };
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_none_or(|end| end != "json") || name.starts_with('.') {
            continue;
        }
        let text = match fs::read(&path) {
            Ok(text) => text,
            // The others are of use without it; what it held is not kept any more.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a configuration that was kept cannot be read");
                continue;
            }
        };
        match serde_json::from_slice::<Record>(&text) {
            Ok(record) if record.objects.hash().as_ref() == Some(&name) => {
                let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
                found.insert(name, Entry { manifest: record.objects, number: record.number, bytes });
            }
            // It is written anew when its release is live again; until then it is not kept.
            Ok(_) | Err(_) => tracing::warn!(path = %path.display(), "a configuration that was kept is damaged"),
        }
    }
    Ok(found)
}

/// Takes out what is too much, the oldest first, and never the newest; returns the names.
fn too_much(index: &mut BTreeMap<String, Entry>) -> Vec<String> {
    let mut gone = Vec::new();
    // Bounded: each round takes one out.
    while index.len() > RELEASES_LIMIT
        || (index.len() > 1 && index.values().map(|entry| entry.bytes).sum::<u64>() > BYTES_LIMIT)
    {
        let oldest = index.iter().min_by_key(|(_, entry)| entry.number).map(|(name, _)| name.clone());
        let Some(oldest) = oldest else { break };
        index.remove(&oldest);
        gone.push(oldest);
    }
    gone
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            super::workload::tests::object,
            {Need, sealed},
        },
        *,
    };
    use crate::target::kubernetes::configuration::Key;

    fn named(holder: Holder, name: &str) -> Named {
        Named { holder, name: name.to_owned() }
    }

    fn configuration(limit: usize) -> Configuration {
        let map = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"},
            "data": {"limit": limit.to_string()}, "binaryData": {"logo": "AAEC"}}));
        let secret = object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "data": {"password": "aHVudGVyMg=="}}));
        let secret = sealed(&secret, &Key::from([7; 32]));
        [
            (named(Holder::ConfigMap, "shop"), Held::of(Holder::ConfigMap, Some(&map), Need::Required)),
            (named(Holder::ConfigMap, "extra"), Held::Absent(Need::Optional)),
            (named(Holder::Secret, "login"), Held::of(Holder::Secret, Some(&secret), Need::Required)),
        ]
        .into()
    }

    async fn keep(kept: &Kept, limit: usize) -> String {
        let now = configuration(limit);
        let manifest = Manifest::of(&now).expect("all is known");
        kept.keep(&manifest, &now).await.expect("kept");
        manifest.hash().expect("it names something")
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("a file").path()).collect()
    }

    #[tokio::test]
    async fn what_was_live_is_kept_through_a_restart_without_secrets() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("shop");
        let kept = Kept::new(Some(place.clone()), BlockingCalls::default());
        let name = keep(&kept, 1).await;
        let again = Kept::new(Some(place.clone()), BlockingCalls::default());
        assert_eq!(again.manifest(&name), None, "nothing was read yet");
        again.load().await.expect("read");
        assert_eq!(again.manifest(&name), Some(Manifest::of(&configuration(1)).expect("known")));
        let data = again.data(&name).await.expect("read");
        let expected = json!({"data": {"limit": "1"}, "binaryData": {"logo": "AAEC"}});
        assert_eq!(data, [(named(Holder::ConfigMap, "shop"), expected)].into());
        for path in files(&place) {
            let text = fs::read_to_string(path).expect("a file");
            assert!(!text.contains("aHVudGVyMg") && text.contains("login"), "{text}");
        }
    }

    #[tokio::test]
    async fn the_last_ones_are_kept_by_when_they_were_live() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        let first = keep(&kept, 0).await;
        let second = keep(&kept, 1).await;
        for limit in 2..RELEASES_LIMIT {
            keep(&kept, limit).await;
        }
        // Live again, and so no longer the oldest.
        assert_eq!(keep(&kept, 0).await, first);
        keep(&kept, RELEASES_LIMIT).await;
        assert_eq!(files(directory.path()).len(), RELEASES_LIMIT);
        let again = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        again.load().await.expect("read");
        assert!(again.manifest(&first).is_some() && again.manifest(&second).is_none());
    }

    #[tokio::test]
    async fn what_is_damaged_is_not_put_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        let name = keep(&kept, 1).await;
        let path = path_of(directory.path(), &name);
        let text = fs::read_to_string(&path).expect("a file").replace(r#""limit":"1""#, r#""limit":"2""#);
        fs::write(&path, text).expect("written");
        assert!(kept.data(&name).await.expect("read").is_empty());
        fs::write(&path, "{").expect("written");
        let again = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        again.load().await.expect("the others are read");
        assert_eq!(again.manifest(&name), None);
    }

    #[tokio::test]
    async fn one_that_cannot_be_read_takes_no_other_with_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        let (first, second) = (keep(&kept, 1).await, keep(&kept, 2).await);
        // A directory in a file's place: whoever reads it fails, root as well.
        let path = path_of(directory.path(), &first);
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        let again = Kept::new(Some(directory.path().to_owned()), BlockingCalls::default());
        again.load().await.expect("the other is read");
        assert!(again.manifest(&first).is_none() && again.manifest(&second).is_some());
    }

    #[test]
    fn the_newest_is_kept_however_large_it_is() {
        let entry = |number| Entry { manifest: Manifest::default(), number, bytes: BYTES_LIMIT };
        let mut index = BTreeMap::from([("a".to_owned(), entry(2)), ("b".to_owned(), entry(1))]);
        assert_eq!(too_much(&mut index), ["b"]);
        assert_eq!(index.into_keys().collect::<Vec<_>>(), ["a"]);
    }
}
