//! Real requests at a steady pace, for as long as this value lives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::http;

#[derive(Debug)]
pub(crate) struct Traffic {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// `a_second` requests to the service's `/work`, one after another. Those that fail are the service's affair.
    pub(crate) fn start(port: u16, a_second: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            let mut number = 0;
            while !ends.load(Ordering::SeqCst) {
                let _failed = http::get(port, "/work");
                number += 1;
                let due = began + Duration::from_secs(1) * number / a_second;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
