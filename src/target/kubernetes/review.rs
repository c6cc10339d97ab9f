//! Which of the permissions that a target needs its account lacks, asked of the API server itself.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use tokio::task::JoinSet;

use super::{
    KubernetesError, mirror,
    permissions::{Permission, Scope, at_owners, needed},
    server::ask,
};
use crate::config::form::KubernetesTarget;

/// A permission that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Which.
    pub permission: &'static Permission,
    /// In which namespace; none where it is the cluster's.
    pub namespace: Option<String>,
    /// For which object, where it is for one.
    pub object: Option<String>,
}

impl std::fmt::Display for Denied {
    /// Phrased to follow "the account may not".
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.permission.fmt(formatter)?;
        if let Some(object) = &self.object {
            write!(formatter, " {object}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(formatter, " in namespace {namespace}"),
            None => formatter.write_str(" of the whole cluster"),
        }
    }
}

impl Denied {
    /// What to add, and where.
    pub fn mend(&self) -> String {
        let rule = self.permission.rule();
        match &self.namespace {
            Some(namespace) => format!("add {rule} to the account's Role in namespace {namespace}"),
            None => format!("add {rule} to the account's ClusterRole"),
        }
    }
}

/// Asks for all of them at once; in the table's order. `owners` are the objects whose sync is to be suspended, and their
/// sources.
pub(super) async fn review(
    client: &Client,
    form: &KubernetesTarget,
    owners: &[mirror::Scope],
) -> Result<Vec<Denied>, KubernetesError> {
    let own = needed(form).map(|permission| Denied {
        permission,
        namespace: (permission.scope == Scope::Namespace).then(|| form.namespace.clone()),
        object: permission.object(form),
    });
    let theirs = owners.iter().flat_map(|owner| {
        let of = move |permission| Denied {
            permission,
            namespace: Some(owner.namespace.clone()),
            object: owner.name.clone(),
        };
        at_owners(&owner.resource.group, &owner.resource.plural).map(of)
    });
    let mut asking = JoinSet::new();
    // As many as the table has rows.
    for (place, denied) in own.chain(theirs).enumerate() {
        let client = client.clone();
        asking.spawn(async move { (place, is_allowed(&client, &denied).await.map(|may| (!may).then_some(denied))) });
    }
    let mut answers = Vec::new();
    for (place, answer) in asking.join_all().await {
        answers.push((place, answer?));
    }
    answers.sort_by_key(|(place, _)| *place);
    Ok(answers.into_iter().filter_map(|(_, denied)| denied).collect())
}

async fn is_allowed(client: &Client, asked: &Denied) -> Result<bool, KubernetesError> {
    let (resource, subresource) = asked.permission.parts();
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(asked.permission.group.to_owned()),
                name: asked.object.clone(),
                namespace: asked.namespace.clone(),
                resource: Some(resource.to_owned()),
                subresource: subresource.map(str::to_owned),
                verb: Some(asked.permission.verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = ask("ask what the account may do", api.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
