//! Which engine is meant: as the configuration says, or else as it is said to `docker` itself.

use std::path::{Path, PathBuf};

use super::ComposeError;
use crate::config::form::{ComposeTarget, EngineTls};

/// Where an engine listens that nobody said anything about.
const OWN: &str = "unix:///var/run/docker.sock";

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address {
    /// As it was written.
    host: String,
    /// Authorities, and what is shown to it.
    tls: Option<(PathBuf, Option<(PathBuf, PathBuf)>)>,
}

/// How it is reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way<'a> {
    Socket(&'a Path),
    /// Host and port.
    Tcp(&'a str),
}

impl Address {
    /// The engine of a target; where nothing is written, as the environment's `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and
    /// `DOCKER_CERT_PATH` say. Contexts of the command line are not followed.
    pub(super) fn of(form: &ComposeTarget, environment: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| environment(name).filter(|value| !value.is_empty());
        if let Some(host) = &form.docker_host {
            let tls = form.tls.as_ref().map(|EngineTls { ca_file, identity }| (ca_file.clone(), identity.clone()));
            return Self { host: host.clone(), tls };
        }
        let Some(host) = said("DOCKER_HOST") else { return Self { host: OWN.to_owned(), tls: None } };
        let directory = said("DOCKER_CERT_PATH").filter(|_| said("DOCKER_TLS_VERIFY").is_some()).map(PathBuf::from);
        let tls = directory.filter(|_| !host.starts_with("unix:"));
        let tls = tls.map(|of| (of.join("ca.pem"), Some((of.join("cert.pem"), of.join("key.pem")))));
        Self { host, tls }
    }

    /// As people know it.
    pub(super) fn shown(&self) -> &str {
        &self.host
    }

    pub(super) const fn tls(&self) -> Option<&(PathBuf, Option<(PathBuf, PathBuf)>)> {
        self.tls.as_ref()
    }

    /// Whether it is this machine's own.
    pub(super) fn is_local(&self) -> bool {
        self.host.starts_with("unix:")
    }

    pub(super) fn way(&self) -> Result<Way<'_>, ComposeError> {
        let wrong = |why: &str| ComposeError::Address { host: self.host.clone(), why: why.to_owned() };
        let (scheme, rest) = self.host.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        match scheme {
            "unix" => Ok(Way::Socket(Path::new(rest))),
            "tcp" | "http" | "https" => {
                let rest = rest.trim_end_matches('/');
                if rest.is_empty() || rest.contains('/') {
                    Err(wrong("it is no host and port"))
                } else {
                    Ok(Way::Tcp(rest))
                }
            }
            _ => Err(wrong("unix, tcp, http and https are known here")),
        }
    }

    /// What `docker` is to be told before its command.
    pub(super) fn arguments(&self) -> Vec<String> {
        let host = match self.host.split_once("://") {
            Some(("http" | "https", rest)) => format!("tcp://{}", rest.trim_end_matches('/')),
            _ => self.host.clone(),
        };
        let mut arguments = vec!["--host".to_owned(), host];
        if let Some((authorities, identity)) = &self.tls {
            arguments.push("--tlsverify".to_owned());
            let mut named = |name: &str, path: &Path| arguments.extend([name.to_owned(), path.display().to_string()]);
            named("--tlscacert", authorities);
            if let Some((certificate, key)) = identity {
                named("--tlscert", certificate);
                named("--tlskey", key);
            }
        }
        arguments
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::target::compose) fn form() -> ComposeTarget {
        ComposeTarget {
            project_directory: "/srv/shop".into(),
            service: "api".to_owned(),
            files: Vec::new(),
            profiles: Vec::new(),
            env_file: None,
            docker_host: None,
            tls: None,
            stop_traffic: vec!["api".to_owned()],
            block_known_bad: true,
            rollout_timeout: Duration::from_secs(120),
        }
    }

    #[test]
    fn what_is_configured_goes_before_what_the_environment_says() {
        let tls = EngineTls { ca_file: "/a/ca.pem".into(), identity: Some(("/a/c.pem".into(), "/a/k.pem".into())) };
        let written =
            |host: &str, tls: Option<EngineTls>| ComposeTarget { docker_host: Some(host.to_owned()), tls, ..form() };
        for (form, environment, expected) in [
            (form(), vec![], "--host unix:///var/run/docker.sock"),
            (form(), vec![("DOCKER_HOST", "unix:///run/user/7/docker.sock")], "--host unix:///run/user/7/docker.sock"),
            (
                form(),
                vec![("DOCKER_HOST", "tcp://far:2376"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/c")],
                "--host tcp://far:2376 --tlsverify --tlscacert /c/ca.pem --tlscert /c/cert.pem --tlskey /c/key.pem",
            ),
            (form(), vec![("DOCKER_HOST", "tcp://far:2376"), ("DOCKER_CERT_PATH", "/c")], "--host tcp://far:2376"),
            (written("unix:///a", None), vec![("DOCKER_HOST", "unix:///b")], "--host unix:///a"),
            (written("http://far:2375/", None), vec![], "--host tcp://far:2375"),
            (
                written("https://far:2376", Some(tls)),
                vec![],
                "--host tcp://far:2376 --tlsverify --tlscacert /a/ca.pem --tlscert /a/c.pem --tlskey /a/k.pem",
            ),
        ] {
            let said =
                |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(Address::of(&form, said).arguments().join(" "), expected);
        }
    }

    #[test]
    fn an_address_of_another_kind_is_refused_with_what_is_known() {
        let of = |host: &str| Address { host: host.to_owned(), tls: None };
        assert_eq!(of("unix:///a/b").way().expect("a socket"), Way::Socket(Path::new("/a/b")));
        assert_eq!(of("tcp://far:1/").way().expect("a host"), Way::Tcp("far:1"));
        for (host, why) in
            [("ssh://far", "are known here"), ("far:1", "no scheme"), ("tcp://far/a", "no host and port")]
        {
            let said = of(host).way().expect_err("refused").to_string();
            assert!(said.contains(why) && said.contains(host), "{said}");
        }
    }
}
