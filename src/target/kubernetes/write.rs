//! Looks at an object, writes what is to be otherwise, and looks again while others write in between.

use std::time::Duration;

use kube::{
    Api,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{KubernetesError, KubernetesTarget, server::ask, traffic::Change};
use crate::target::TargetError;

/// Tries at one write, each after a fresh look, while others write in between: the controllers alone write several times
/// a second to a workload that rolls out.
const WRITES_LIMIT: usize = 8;
/// Parts that one change may have, each written after a fresh look. None here has more than three; whoever is still not
/// through is being changed back by somebody.
const PARTS_LIMIT: usize = 5;
/// Who writes, in the API server's own books.
const FIELD_MANAGER: &str = "backstop";

/// What one look and the write after it came to.
pub(super) enum Try {
    /// It is so; with a note for people.
    Done(String),
    /// A part of it is written, and the next one follows.
    Further,
    /// Somebody else was waited for, and all is looked at anew. That takes time, which ends.
    Waited,
    /// Somebody else wrote in between, or what is written is refused: the API server says both alike.
    Refused(KubernetesError),
}

/// Tries until it is so, within the time.
pub(super) async fn until_written<Trying>(within: Duration, attempt: impl Fn() -> Trying) -> Result<String, TargetError>
where
    Trying: Future<Output = Result<Try, TargetError>>,
{
    let until = Instant::now() + within;
    let (mut refused, mut parts) = (0, 0);
    let mut said = "the deadline came first".to_owned();
    while refused < WRITES_LIMIT && parts < PARTS_LIMIT && Instant::now() < until {
        match attempt().await? {
            Try::Done(note) => return Ok(note),
            Try::Further => {
                parts += 1;
                "somebody changes it back".clone_into(&mut said);
            }
            Try::Waited => {}
            Try::Refused(error) => {
                refused += 1;
                said = error.to_string();
            }
        }
    }
    Err(TargetError::Contended { limit: WRITES_LIMIT, said })
}

/// What a refusal means for whoever tries.
pub(super) fn tried(written: Result<(), KubernetesError>, note: String) -> Result<Try, TargetError> {
    match written {
        Ok(()) => Ok(Try::Done(note)),
        Err(error) if error.is_conflict() => Ok(Try::Refused(error)),
        Err(error) => Err(error.into()),
    }
}

impl KubernetesTarget {
    /// Looks at an object, and changes it.
    pub(super) async fn change(
        &self,
        resource: &ApiResource,
        word: &'static str,
        name: &str,
        within: Duration,
        change: impl Fn(&DynamicObject) -> Change,
    ) -> Result<String, TargetError> {
        self.change_at(resource, word, (&self.form.namespace, name), within, change).await
    }

    /// The same with an object of another namespace.
    pub(super) async fn change_at(
        &self,
        resource: &ApiResource,
        word: &'static str,
        (namespace, name): (&str, &str),
        within: Duration,
        change: impl Fn(&DynamicObject) -> Change,
    ) -> Result<String, TargetError> {
        let change = &change;
        until_written(within, || async move {
            let client = self.clusters.client(&self.form).await?;
            let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, resource);
            let what = format!("read {word} {namespace}/{name}");
            let object = ask(&what, api.get_opt(name)).await?.ok_or_else(|| KubernetesError::Absent {
                kind: word,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })?;
            match change(&object) {
                Change::Nothing(note) => Ok(Try::Done(note)),
                Change::Patch(patch, note) => tried(self.patch_at(&api, word, (namespace, name), patch).await, note),
                Change::Refused(why) => {
                    let what = format!("change {word} {namespace}/{name}");
                    Err(KubernetesError::Refused { what, why }.into())
                }
            }
        })
        .await
    }

    /// Where the target's namespace has objects of that kind.
    pub(super) async fn api(&self, resource: &ApiResource) -> Result<Api<DynamicObject>, KubernetesError> {
        let client = self.clusters.client(&self.form).await?;
        Ok(Api::namespaced_with(client, &self.form.namespace, resource))
    }

    /// Writes a JSON Patch, as the only one who writes.
    pub(super) async fn patch(
        &self,
        api: &Api<DynamicObject>,
        word: &str,
        name: &str,
        patch: Vec<Value>,
    ) -> Result<(), KubernetesError> {
        self.patch_at(api, word, (&self.form.namespace, name), patch).await
    }

    async fn patch_at(
        &self,
        api: &Api<DynamicObject>,
        word: &str,
        (namespace, name): (&str, &str),
        patch: Vec<Value>,
    ) -> Result<(), KubernetesError> {
        self.lease.hold(&self.clusters.client(&self.form).await?).await?;
        let what = format!("change {word} {namespace}/{name}");
        let patch = serde_json::from_value(Value::Array(patch)).map_err(|error| KubernetesError::Asked {
            what: what.clone(),
            source: Box::new(kube::Error::SerdeError(error)),
        })?;
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        ask(&what, api.patch(name, &parameters, &Patch::<()>::Json(patch))).await?;
        Ok(())
    }
}
