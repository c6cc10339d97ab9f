//! When a change is a deploy: once what makes up a release has stood still.
//!
//! Whoever deploys writes ConfigMaps, Secrets and the pod template one after another, in any order; each would be a release
//! of its own. So another release than the last one is told once nothing of it has changed for [`SETTLE_FOR`], or
//! [`SETTLE_WITHIN`] after the first change at the latest. Until then what is live is not told, which is no answer and
//! accuses nobody. What has no configuration, and what Backstop itself put there, is told at once.

use std::time::Duration;

use tokio::time::Instant;

use super::identity::Identity;
use crate::core::{engine::LOOK_FIRST_FOR, gate::NOTICE_LAG, name::Version};

/// Nothing has changed for so long: one `kubectl apply` writes its objects within a second.
const SETTLE_FOR: Duration = Duration::from_secs(2);
/// So long after the first change it is told though it goes on changing. Shorter than the time by which a fault may come
/// before the notice of the deploy that it is put down to ([`NOTICE_LAG`]), and, with a glance (one a second) before and after it, than an
/// incident waits for it ([`LOOK_FIRST_FOR`]), which would accuse the release before.
const SETTLE_WITHIN: Duration = Duration::from_secs(6);
const _: () = assert!(SETTLE_WITHIN.as_secs() + 2 <= LOOK_FIRST_FOR.as_secs());
const _: () = assert!(SETTLE_WITHIN.as_secs() < NOTICE_LAG.as_secs());

/// What was told last, and what is to be told next.
#[derive(Debug, Default)]
pub(super) struct Settling {
    told: Option<Told>,
    coming: Option<Coming>,
}

#[derive(Debug, PartialEq)]
struct Told {
    version: Version,
    /// What it runs, without its configuration.
    base: String,
}

#[derive(Debug)]
struct Coming {
    content: String,
    began: Instant,
    since: Instant,
}

impl Coming {
    fn due(&self) -> Instant {
        (self.since + SETTLE_FOR).min(self.began + SETTLE_WITHIN)
    }
}

impl Settling {
    /// With what the journal knows to have been live last, if anything.
    pub(super) fn after(last: Option<(Version, String)>) -> Self {
        Self { told: last.map(|(version, base)| Told { version, base }), coming: None }
    }

    /// Whether it may be told by now; if not, why, to follow "failed to".
    pub(super) fn tell(&mut self, live: &Identity, now: Instant) -> Result<(), String> {
        let base = live.template.content();
        if let Some(told) = &self.told
            && told.version != live.version
        {
            // What a release loses is a fault, and no release; another template may well name what is not there.
            if let Some(missing) = live.missing.as_ref().filter(|_| told.base == base) {
                self.coming = None;
                return Err(missing.clone());
            }
            if !live.is_ours && !live.manifest.0.is_empty() {
                let coming =
                    self.coming.get_or_insert_with(|| Coming { content: live.content.clone(), began: now, since: now });
                if coming.content != live.content {
                    coming.content.clone_from(&live.content);
                    coming.since = now;
                }
                if now < coming.due() {
                    return Err("see it settled: the template or its configuration has just changed".to_owned());
                }
            }
        }
        self.coming = None;
        self.told = Some(Told { version: live.version.clone(), base });
        Ok(())
    }

    /// What was told last.
    pub(super) fn told(&self) -> Option<&Version> {
        self.told.as_ref().map(|told| &told.version)
    }

    /// It cannot be seen now: what was coming is looked at anew.
    pub(super) fn lost(&mut self) {
        self.coming = None;
    }

    /// Whether something is to be told by now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.coming.as_ref().is_some_and(|coming| coming.due() <= now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            configuration::{Holder, Manifest, Named},
            identity::content,
            revision::Template,
        },
        *,
    };

    fn identity(version: &str, image: &str, configuration: &str) -> Identity {
        let template = Template::new(json!({"spec": {"containers": [{"name": "shop", "image": image}]}}));
        let named = Named { holder: Holder::ConfigMap, name: "shop".to_owned() };
        let manifest = Manifest([(named, Some(configuration.to_owned()))].into());
        Identity {
            version: version.into(),
            known_as: content(&template, &manifest),
            content: content(&template, &manifest),
            template,
            manifest,
            switching: None,
            is_ours: false,
            missing: None,
        }
    }

    fn settling(now: Instant) -> Settling {
        let mut settling = Settling::default();
        settling.tell(&identity("1", "shop:1", "a"), now).expect("the first is told at once");
        settling
    }

    #[tokio::test]
    async fn one_apply_of_configuration_and_template_is_one_deploy() {
        let began = Instant::now();
        let after = |millis: u64| began + Duration::from_millis(millis);
        for halfway in [identity("1+x", "shop:1", "b"), identity("2+x", "shop:2", "a")] {
            let mut settling = settling(began);
            let whole = identity("2", "shop:2", "b");
            settling.tell(&halfway, began).expect_err("half of it");
            settling.tell(&whole, after(900)).expect_err("it has just changed");
            assert!(!settling.is_due(after(2_899)) && settling.is_due(after(2_900)));
            settling.tell(&whole, after(2_899)).expect_err("not yet");
            settling.tell(&whole, after(2_900)).expect("it is settled");
            settling.tell(&whole, after(2_900)).expect("it stays told");
        }
    }

    #[tokio::test]
    async fn what_goes_on_changing_is_told_all_the_same() {
        let began = Instant::now();
        let mut settling = settling(began);
        for second in 0..6 {
            let now = began + Duration::from_secs(second);
            settling.tell(&identity(&format!("1+{second}"), "shop:1", &second.to_string()), now).expect_err("not yet");
        }
        settling.tell(&identity("1+z", "shop:1", "z"), began + SETTLE_WITHIN).expect("it is time");
    }

    #[tokio::test]
    async fn a_change_that_is_taken_back_is_none() {
        let began = Instant::now();
        let mut settling = settling(began);
        settling.tell(&identity("1+x", "shop:1", "b"), began).expect_err("not yet");
        settling.tell(&identity("1", "shop:1", "a"), began + Duration::from_secs(1)).expect("as it was");
        // And begins anew.
        settling.tell(&identity("1+x", "shop:1", "b"), began + Duration::from_secs(60)).expect_err("not yet");
    }

    #[tokio::test]
    async fn what_we_put_there_and_what_has_no_configuration_is_told_at_once() {
        let now = Instant::now();
        let ours = Identity { is_ours: true, ..identity("2", "shop:2", "b") };
        settling(now).tell(&ours, now).expect("ours");
        let bare = Identity { manifest: Manifest::default(), ..identity("2", "shop:2", "b") };
        settling(now).tell(&bare, now).expect("nothing else can follow");
    }

    #[tokio::test]
    async fn a_release_that_loses_its_configuration_is_no_other_release() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let why = "find the ConfigMap shop: there is none".to_owned();
        let missing = |identity: Identity| Identity { missing: Some(why.clone()), ..identity };
        let mut settling = settling(now);
        for at in [now, later] {
            assert_eq!(settling.tell(&missing(identity("1+x", "shop:1", "")), at), Err(why.clone()));
        }
        // A deploy that names what is not there is one.
        settling.tell(&missing(identity("2", "shop:2", "")), now).expect_err("not yet");
        settling.tell(&missing(identity("2", "shop:2", "")), later).expect("it is a deploy");
        // What was so already stays told, as after a restart.
        let base = identity("2", "shop:2", "").template.content();
        let mut again = Settling::after(Some(("2".into(), base)));
        again.tell(&missing(identity("2", "shop:2", "")), now).expect("the journal knows it");
    }
}
