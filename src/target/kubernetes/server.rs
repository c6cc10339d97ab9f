//! A cluster's API server: how it is found, and how patiently it is asked.

use std::{path::Path, time::Duration};

use hyper::header::{HeaderValue, USER_AGENT};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{KubernetesError, mirror::WATCH_FOR, patience::patient};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a request to be taken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for one whole answer. Watches have no such end: they are renewed instead.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A client for the cluster that `kubeconfig` and `context` name; without them, the one that KUBECONFIG names, or the
/// one that this process runs in.
pub(super) async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, KubernetesError> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(|source| KubernetesError::Kubeconfig(Box::new(source)))?;
            Config::from_custom_kubeconfig(read, &options)
                .await
                .map_err(|source| KubernetesError::Kubeconfig(Box::new(source)))?
        }
        None if context.is_some() => {
            Config::from_kubeconfig(&options).await.map_err(|source| KubernetesError::Kubeconfig(Box::new(source)))?
        }
        None => Config::infer().await.map_err(|source| KubernetesError::NoCluster(Box::new(source)))?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    // A server that accepts and never answers: even a quiet watch is ended by the server before this.
    config.read_timeout = Some(WATCH_FOR + ANSWER_TIMEOUT);
    config.reset_reader_on_write = true;
    // Whoever reads the logs of an API server finds out who asks.
    config.headers.push((USER_AGENT, HeaderValue::from_static(concat!("backstop/", env!("CARGO_PKG_VERSION")))));
    // Retries are ours: each has its bound and is told.
    config.default_retry = false;
    Client::try_from(config).map(patient).map_err(|source| KubernetesError::Client(Box::new(source)))
}

/// Waits for an answer, but not for ever: the client itself would.
pub(super) async fn ask<T>(what: &str, answer: impl Future<Output = kube::Result<T>>) -> Result<T, KubernetesError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(KubernetesError::Asked { what: what.to_owned(), source: Box::new(source) }),
        Err(_) => Err(KubernetesError::Silent { what: what.to_owned(), limit: ANSWER_TIMEOUT }),
    }
}
