//! What Backstop says of itself in the text format of Prometheus, rendered once for all who ask at about the same time.
//!
//! Whoever can connect may ask. A thousand services are megabytes of text and a good part of a second of work: neither may
//! grow with how many ask.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::{
    sync::Mutex,
    task::{JoinError, spawn_blocking},
};

use super::metrics::Metrics;

/// A text is shared for so long after it was rendered: less than any interval of scraping, so that a scraper sees its own
/// moment; and long enough that however many ask, rendering takes a part of one core only.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The last text, and when it was rendered. One at a time is rendered: the others wait for that one.
#[derive(Debug, Clone)]
pub(super) struct Scrapes {
    metrics: Arc<Metrics>,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Scrapes {
    pub(super) fn of(metrics: Arc<Metrics>) -> Self {
        Self { metrics, last: Arc::default() }
    }

    /// The text, no older than [`SHARED_FOR`]. An error means that rendering panicked.
    pub(super) async fn text(&self) -> Result<Bytes, JoinError> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < SHARED_FOR) {
            return Ok(text.clone());
        }
        let metrics = Arc::clone(&self.metrics);
        // Off the threads that carry connections. The work holds the lock, not who asked for it: that one may give up
        // while it goes on, and the next must not begin another beside it.
        spawn_blocking(move || {
            // The old text goes before the new one is made.
            *last = None;
            let text = Bytes::from(metrics.render());
            *last = Some((Instant::now(), text.clone()));
            text
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::task::JoinSet;

    use super::*;

    const SERVICES: usize = 200;
    const SCRAPERS: usize = 256;

    fn many_services() -> Scrapes {
        let mut text = String::from("services:\n");
        for number in 0..SERVICES {
            text.push_str(&format!(
                "- name: service-{number}\n  target: {{releases: {{directory: /a/{number}, current: /b/{number}, restart: \
                 ['true']}}}}\n  probes: {{ready: {{tcp: '127.0.0.1:1'}}}}\n"
            ));
        }
        let checked = crate::config::check_bytes("a.yaml", text.into_bytes(), None);
        let policy = checked.config.expect("a good configuration").policy;
        Scrapes::of(Arc::new(Metrics::new(&policy).expect("metrics")))
    }

    /// Asks from so many tasks at once. Every rendering has memory of its own, all of them kept meanwhile: how many there
    /// were shows in where the texts lie.
    async fn ask(scrapes: &Scrapes) -> BTreeMap<usize, Bytes> {
        let mut tasks = JoinSet::new();
        for _ in 0..SCRAPERS {
            let scrapes = scrapes.clone();
            tasks.spawn(async move { scrapes.text().await.expect("rendered") });
        }
        tasks.join_all().await.into_iter().map(|text| (text.as_ptr().addr(), text)).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn those_who_ask_at_once_share_one_rendering() {
        let scrapes = many_services();
        let began = Instant::now();
        let texts = ask(&scrapes).await;
        let most = 1 + began.elapsed().as_secs();
        assert!(texts.len() as u64 <= most, "{} renderings within {:?}", texts.len(), began.elapsed());
        let text = texts.values().next().expect("an answer");
        assert!(text.len() > 100 * SERVICES, "it is a large one: {} bytes", text.len());
    }

    /// As if the last text had been rendered so long ago.
    async fn age(scrapes: &Scrapes, by: Duration) {
        let mut last = scrapes.last.lock().await;
        last.as_mut().expect("there is one").0 = Instant::now().checked_sub(by).expect("the machine ran so long");
    }

    #[tokio::test]
    async fn a_text_is_shared_for_a_second_and_then_made_anew() {
        let scrapes = many_services();
        let first = scrapes.text().await.expect("rendered");
        scrapes.metrics.config_reload(true);
        age(&scrapes, SHARED_FOR / 10).await;
        assert_eq!(scrapes.text().await.expect("shared").as_ptr(), first.as_ptr());
        age(&scrapes, SHARED_FOR).await;
        let next = scrapes.text().await.expect("rendered");
        assert_ne!(next, first, "what was counted since shows");
    }

    #[tokio::test]
    async fn who_gives_up_does_not_make_room_for_a_second_rendering() {
        let scrapes = many_services();
        let asked = tokio::spawn({
            let scrapes = scrapes.clone();
            async move { scrapes.text().await }
        });
        while scrapes.last.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        asked.abort();
        assert!(asked.await.is_err(), "it gave up");
        assert!(scrapes.last.try_lock().is_err(), "what it began goes on, and the next one waits for it");
        let shared = scrapes.text().await.expect("rendered");
        let kept = scrapes.last.lock().await.as_ref().map(|(_, text)| text.as_ptr());
        assert_eq!(kept, Some(shared.as_ptr()));
    }
}
