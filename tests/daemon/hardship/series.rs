//! Fifty thousand series where a handful was expected.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    time::Duration,
};

use super::{nothing_is_done, peak_memory_mebibytes, releases, samples};
use crate::world::{QUICK, World, daemon::Daemon, port::Port, prometheus::Prometheus, wait::until};

const SERIES: usize = 50_000;

/// Far more than ten thousand series take; a page of them is read into memory, and little else.
const MEMORY_MEBIBYTES: u64 = 256;

/// A service whose page has ever so many series. Its counts stand still: they are not what this is about.
fn flood() -> Port {
    let port = Port::reserve();
    let listener = TcpListener::bind(("127.0.0.1", port.number)).expect("the port is ours");
    let mut page = String::from("# TYPE http_requests_total counter\n");
    for number in 0..SERIES {
        page.push_str(&format!("http_requests_total{{app=\"api\",code=\"200\",user=\"{number}\"}} 7\n"));
    }
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let head = format!("HTTP/1.1 200 -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
            // Whoever asks says all of it at once, and may be gone before the end.
            let _gone = connection.read(&mut [0; 4096]).and_then(|_| {
                connection.write_all(head.as_bytes())?;
                connection.write_all(page.as_bytes())
            });
        }
    });
    port
}

fn is_told_and_the_rest_goes_on(world: &World, mut daemon: Daemon, why: &str) {
    let lost = world.receiver.wait_for("signal.lost");
    let summary = lost.text("summary");
    assert!(
        summary.contains("requests") && summary.contains(why) && summary.contains("narrow the selector"),
        "{summary}"
    );
    let (passed, missed) = (samples(world, "ready", "passed"), samples(world, "requests", "missed"));
    nothing_is_done(world, &mut daemon, Duration::from_secs(4));
    until("it is asked again, and missed again", || samples(world, "requests", "missed") > missed);
    until("the other probe goes on", || samples(world, "ready", "passed") >= passed + 8);
    assert_eq!(samples(world, "ready", "failed"), 0, "nothing of it is the service's fault");
    let peak = peak_memory_mebibytes(&daemon);
    assert!(peak <= MEMORY_MEBIBYTES, "{peak} MiB");
}

#[test]
fn on_the_services_own_page_they_are_missed_and_told() {
    let world = releases();
    let flood = flood();
    world.configure_service(&format!(
        "    requests: {{metrics: {{url: \"http://127.0.0.1:{}/metrics\", total: http_requests_total, errors: \
         'http_requests_total{{code=\"500\"}}'}}, every: 1s, timeout: 1s}}\n{QUICK}",
        flood.number
    ));
    let daemon = world.watch();
    is_told_and_the_rest_goes_on(&world, daemon, "more than 10000 series are selected");
}

#[test]
fn from_prometheus_they_are_missed_and_told() {
    let world = releases();
    let flood = flood();
    let prometheus = Prometheus::start(&world.path(""), flood.number);
    world.configure_service(&format!(
        "    requests: {{prometheus: {{url: \"http://127.0.0.1:{}\", total: http_requests_total, errors: \
         'http_requests_total{{code=\"500\"}}'}}, every: 8s, timeout: 8s}}\n{QUICK}",
        prometheus.port.number
    ));
    let daemon = world.watch();
    is_told_and_the_rest_goes_on(&world, daemon, "the answer is larger than 16777216 bytes");
}
