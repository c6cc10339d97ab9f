//! Names to addresses, through the machine's own resolver (`getaddrinfo`), so that a probe sees what the machine sees.
//!
//! One lookup for each name at a time, whoever asks; its answer serves for a short while. A lookup that hangs keeps its
//! place among the bounded number of running ones, so that a dead resolver cannot pile up threads.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{core::sample::Reason, probe::fault::Deadline};

/// How long an answer serves: short, because a name may be moved during an incident.
pub const ANSWER_TTL: Duration = Duration::from_secs(5);

/// How long a failure to resolve serves: a second, so that a resolver that comes back is noticed by the next probe.
pub const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Lookups that may run at once; each one holds a thread of the blocking pool for as long as the resolver takes.
pub const LOOKUPS_LIMIT: usize = 32;

/// Addresses of one name that are tried, in the resolver's order.
pub const ADDRESSES_LIMIT: usize = 4;

/// Names that are remembered for all probes; more than any configuration holds, so that it bounds memory only.
const NAMES_LIMIT: usize = 20_000;

type Answer = Result<Arc<[IpAddr]>, Reason>;

/// Resolves names for all probes. Cheap to clone; clones share what they know.
#[derive(Debug, Clone)]
pub struct Resolver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    names: Mutex<HashMap<Arc<str>, Arc<Name>>>,
    lookups: Arc<Semaphore>,
}

#[derive(Debug)]
struct Name {
    text: Arc<str>,
    lookups: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answer: Option<(Instant, Answer)>,
    running: Option<watch::Receiver<Option<Answer>>>,
}

/// A host as it stands in a configuration: an address, or a name that is looked up when it is needed.
#[derive(Debug, Clone)]
pub struct Host(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Address(IpAddr),
    Name(Arc<Name>),
}

/// The addresses of a host; never empty.
#[derive(Debug, Clone)]
pub struct Addresses {
    first: IpAddr,
    all: Option<Arc<[IpAddr]>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self(Arc::new(Shared { names: Mutex::default(), lookups: Arc::new(Semaphore::new(LOOKUPS_LIMIT)) }))
    }
}

impl Resolver {
    /// The host called `text`: an address (IPv6 with or without brackets), or a name whose answers all probes share.
    pub fn host(&self, text: &str) -> Host {
        if let Some(address) = literal(text) {
            return Host(Kind::Address(address));
        }
        let mut names = lock(&self.0.names);
        if let Some(name) = names.get(text) {
            return Host(Kind::Name(Arc::clone(name)));
        }
        let name = self.name(text);
        if names.len() < NAMES_LIMIT {
            names.insert(Arc::clone(&name.text), Arc::clone(&name));
        }
        Host(Kind::Name(name))
    }

    /// A host that a redirect named: whoever answers could make up ever new ones, so it is not remembered.
    pub fn passing_host(&self, text: &str) -> Host {
        if let Some(address) = literal(text) {
            return Host(Kind::Address(address));
        }
        match lock(&self.0.names).get(text) {
            Some(name) => Host(Kind::Name(Arc::clone(name))),
            None => Host(Kind::Name(self.name(text))),
        }
    }

    fn name(&self, text: &str) -> Arc<Name> {
        Arc::new(Name { text: text.into(), lookups: Arc::clone(&self.0.lookups), state: Mutex::default() })
    }
}

fn literal(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok()
}

impl Host {
    /// The host's addresses. A failure is the resolver's, so the sample that needed them was missed.
    pub async fn addresses(&self, timeout: Duration) -> Result<Addresses, Reason> {
        match &self.0 {
            Kind::Address(address) => Ok(Addresses { first: *address, all: None }),
            Kind::Name(name) => {
                let all = match name.known() {
                    Ok(answer) => answer?,
                    Err(mut lookup) => {
                        let waited = Deadline::after(timeout).run(lookup.wait_for(Option::is_some)).await;
                        match waited {
                            Err(late) => return Err(failure(&name.text, &format!("no answer: {late}"))),
                            Ok(Err(_)) => return Err(failure(&name.text, "the lookup was given up")),
                            Ok(Ok(answer)) => answer.clone().expect("waited for an answer")?,
                        }
                    }
                };
                Ok(Addresses { first: all[0], all: Some(all) })
            }
        }
    }
}

impl Addresses {
    /// With a port, in the order in which they are to be tried.
    pub fn sockets(&self, port: u16) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        self.all
            .as_deref()
            .unwrap_or(std::slice::from_ref(&self.first))
            .iter()
            .map(move |ip| SocketAddr::new(*ip, port))
    }
}

impl Name {
    /// A fresh answer, or the lookup to wait for, begun if none runs.
    fn known(self: &Arc<Self>) -> Result<Answer, watch::Receiver<Option<Answer>>> {
        let mut state = lock(&self.state);
        if let Some((at, answer)) = &state.answer {
            let serves = if answer.is_ok() { ANSWER_TTL } else { FAILURE_TTL };
            if at.elapsed() < serves {
                return Ok(answer.clone());
            }
        }
        if let Some(running) = &state.running
            && running.has_changed().is_ok()
        {
            return Err(running.clone());
        }
        let (told, running) = watch::channel(None);
        state.running = Some(running.clone());
        drop(state);
        tokio::spawn(Arc::clone(self).look_up(told));
        Err(running)
    }

    async fn look_up(self: Arc<Self>, told: watch::Sender<Option<Answer>>) {
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        let answer = match tokio::net::lookup_host((&*self.text, 0)).await {
            Ok(found) => {
                let mut addresses: Vec<IpAddr> = Vec::with_capacity(ADDRESSES_LIMIT);
                for address in found {
                    if addresses.len() < ADDRESSES_LIMIT && !addresses.contains(&address.ip()) {
                        addresses.push(address.ip());
                    }
                }
                if addresses.is_empty() { Err(failure(&self.text, "no addresses")) } else { Ok(addresses.into()) }
            }
            Err(error) => Err(failure(&self.text, &error.to_string())),
        };
        drop(permit);
        let mut state = lock(&self.state);
        state.answer = Some((Instant::now(), answer.clone()));
        state.running = None;
        drop(state);
        told.send_replace(Some(answer));
    }
}

fn failure(name: &str, why: &str) -> Reason {
    Reason::new(&format!("resolver: {name}: {why}"))
}

/// What these locks guard is whole after every statement, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn addresses_need_no_lookup() {
        let resolver = Resolver::default();
        for text in ["127.0.0.1", "::1", "[::1]"] {
            let host = resolver.host(text);
            let addresses = host.addresses(Duration::ZERO).await.expect("an address");
            assert_eq!(addresses.sockets(80).len(), 1);
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all() {
        let resolver = Resolver::default();
        let (one, two) = (resolver.host("localhost"), resolver.host("localhost"));
        let (first, second) = tokio::join!(one.addresses(TIMEOUT), two.addresses(TIMEOUT));
        assert!(first.expect("localhost").first.is_loopback());
        assert!(second.expect("localhost").first.is_loopback());
        let (Kind::Name(one), Kind::Name(two)) = (one.0, two.0) else { panic!("names") };
        assert!(Arc::ptr_eq(&one, &two));
        assert!(one.known().is_ok(), "the answer serves for a while");
    }

    #[tokio::test]
    async fn what_cannot_be_resolved_names_the_resolver() {
        let resolver = Resolver::default();
        let error = resolver.host("nowhere.invalid").addresses(TIMEOUT).await.expect_err("no such name");
        assert!(error.as_str().starts_with("resolver: nowhere.invalid: "), "{error}");
    }

    #[tokio::test]
    async fn lookups_that_hang_end_by_the_deadline() {
        let resolver = Resolver::default();
        let all = u32::try_from(LOOKUPS_LIMIT).expect("small");
        let _hanging = Arc::clone(&resolver.0.lookups).acquire_many_owned(all).await.expect("open");
        let error = resolver.host("localhost").addresses(Duration::from_millis(20)).await.expect_err("hangs");
        assert!(error.as_str().starts_with("resolver: localhost: no answer"), "{error}");
    }
}
