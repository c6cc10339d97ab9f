//! The client of one cluster, made off the runtime's threads: a kubeconfig may name a program that gives the credentials
//! (`exec`), and that may hang.

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{self, Instant},
};

use super::{KubernetesError, server::connect};

/// Which cluster: kubeconfig and context, where they are named.
pub(super) type Address = (Option<PathBuf>, Option<String>);

/// How long a look or a step waits for a client. Programs that ask a cloud for credentials take seconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// The client of one cluster.
#[derive(Clone, Default)]
pub(super) struct Connection(Arc<Mutex<Stage>>);

/// At most one thread makes it, however long that hangs: another one would only hang beside it.
#[derive(Default)]
enum Stage {
    #[default]
    Nothing,
    Coming(JoinHandle<Result<Client, KubernetesError>>),
    There(Client),
}

impl Connection {
    /// The client. Where it is still being made when the time is over, the next who asks waits for the same one.
    pub(super) async fn client(&self, address: &Address) -> Result<Client, KubernetesError> {
        self.within(address, CONNECT_WITHIN).await
    }

    async fn within(&self, address: &Address, limit: Duration) -> Result<Client, KubernetesError> {
        let until = Instant::now() + limit;
        let hangs = || KubernetesError::NoCredentials { limit };
        let mut stage = time::timeout_at(until, self.0.lock()).await.map_err(|_| hangs())?;
        let coming = match &mut *stage {
            Stage::There(client) => return Ok(client.clone()),
            Stage::Coming(coming) => coming,
            Stage::Nothing => {
                let (kubeconfig, context) = address.clone();
                let runtime = tokio::runtime::Handle::current();
                // What reads files and runs programs here blocks, whatever it is called.
                *stage = Stage::Coming(tokio::task::spawn_blocking(move || {
                    runtime.block_on(connect(kubeconfig.as_deref(), context.as_deref()))
                }));
                let Stage::Coming(coming) = &mut *stage else { unreachable!("it was just made so") };
                coming
            }
        };
        let came = time::timeout_at(until, coming).await.map_err(|_| hangs())?;
        *stage = Stage::Nothing;
        let client = came.map_err(|error| KubernetesError::Lost(error.to_string()))??;
        *stage = Stage::There(client.clone());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::*;

    /// A kubeconfig whose credentials come from a program.
    fn kubeconfig(directory: &Path, name: &str, script: &str) -> PathBuf {
        let program = directory.join(format!("{name}.sh"));
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("executable");
        let path = directory.join(name);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'http://127.0.0.1:9'}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
             users: [{{name: test, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, \
             command: '{}'}}}}}}]\n",
            program.display()
        );
        fs::write(&path, text).expect("written");
        path
    }

    #[tokio::test]
    async fn credentials_that_hang_are_waited_for_by_one_thread_and_hold_no_other_cluster_up() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let directory = tempfile::tempdir().expect("a directory");
        let (begun, go) = (directory.path().join("begun"), directory.path().join("go"));
        let credentials = r#"echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": "t"}}'"#;
        let (begun_at, go_at) = (begun.display(), go.display());
        let hangs = format!("echo one >>'{begun_at}'\nwhile ! [ -e '{go_at}' ]; do sleep 0.05; done\n{credentials}");
        let hanging = (Some(kubeconfig(directory.path(), "hangs", &hangs)), None);
        let other = (Some(kubeconfig(directory.path(), "other", credentials)), None);
        let connection = Connection::default();
        let soon = Duration::from_millis(50);
        for _ in 0..2 {
            let gave_up = connection.within(&hanging, soon).await;
            assert!(matches!(gave_up, Err(KubernetesError::NoCredentials { .. })), "it hangs");
            Connection::default().client(&other).await.expect("the other cluster's credentials are there");
        }
        assert_eq!(
            fs::read_to_string(&begun).expect("written").lines().count(),
            1,
            "the program runs once, however many wait"
        );
        fs::write(&go, "").expect("written");
        connection.client(&hanging).await.expect("it came after all");
        connection.within(&hanging, soon).await.expect("it stays");
    }
}
