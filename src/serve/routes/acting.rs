//! What acting routes take, parsed before a handler runs: who asks and may, about what, in words of bounded length.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{StatusCode, request::Parts},
};
use serde::Deserialize;

use super::{Problem, Shared, incidents, services};
use crate::{
    config::form::Role,
    core::{
        event::Authority,
        name::{IncidentId, ServiceName, Version},
    },
    serve::caller::Caller,
};

/// Longest remark that is kept, in bytes: it goes into the journal and onto pages.
const REMARK_LIMIT_BYTES: usize = 2000;

/// Longest version that is taken, in bytes: a digest with its name fits, a document does not.
const VERSION_LIMIT_BYTES: usize = 512;

/// Somebody who may act: a token's name or a user's.
pub(super) struct Operator(pub(super) Arc<str>);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(caller(parts)?.at_least(Role::Operator)?.by))
    }
}

/// Somebody who may at least report, with how much may follow from it.
pub(super) struct Reporter {
    pub(super) by: Arc<str>,
    pub(super) authority: Authority,
}

impl<S: Sync> FromRequestParts<S> for Reporter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = caller(parts)?.at_least(Role::Reporter)?;
        let authority = if caller.role >= Role::Operator { Authority::Operator } else { Authority::Reporter };
        Ok(Self { by: caller.by, authority })
    }
}

/// The service that the path's `{name}` names. It is in the configuration.
pub(super) struct Service(pub(super) ServiceName);

impl FromRequestParts<Shared> for Service {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        services::known(shared, &segment(parts, shared, "name").await?).map(Self)
    }
}

/// The incident that the path's `{id}` names. It may be too new to be on the board.
pub(super) struct Incident(pub(super) IncidentId);

impl FromRequestParts<Shared> for Incident {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        incidents::known(shared, &segment(parts, shared, "id").await?).map(Self)
    }
}

/// The version in the path's `{version}`.
pub(super) struct PathVersion(pub(super) Version);

impl FromRequestParts<Shared> for PathVersion {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let VersionText(version) = segment(parts, shared, "version")
            .await?
            .try_into()
            .map_err(|detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))?;
        Ok(Self(version))
    }
}

/// A version in a body.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct VersionText(pub(super) Version);

impl TryFrom<String> for VersionText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > VERSION_LIMIT_BYTES || text.chars().any(char::is_control) {
            return Err(format!("a version is 1 to {VERSION_LIMIT_BYTES} bytes without control characters"));
        }
        Ok(Self(text.into()))
    }
}

/// A reason or detail in a body.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Remark(pub(super) String);

impl TryFrom<String> for Remark {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > REMARK_LIMIT_BYTES {
            return Err(format!("a reason or detail is at most {REMARK_LIMIT_BYTES} bytes"));
        }
        Ok(Self(text))
    }
}

impl Remark {
    /// Nothing that a person could read.
    pub(super) fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

/// Who asks: known for every route under `/api/v1`.
fn caller(parts: &Parts) -> Result<Caller, Problem> {
    parts.extensions.get::<Caller>().cloned().ok_or_else(|| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this route lets in who was not asked for a token")
    })
}

async fn segment(parts: &mut Parts, shared: &Shared, name: &str) -> Result<String, Problem> {
    let segments = RawPathParams::from_request_parts(parts, shared).await.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the path cannot be read: {}", rejection.body_text()))
    })?;
    let found = segments.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    found.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("this route has no {{{name}}}")))
}
