//! Clients of the API that are slow, many, large or guessing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{nothing_is_done, peak_memory_mebibytes, releases, samples};
use crate::world::{
    QUICK, World, http,
    wait::{eventually, until},
};

/// After so long a connection on which nothing is asked goes by itself.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

const RIGHT: &str = "4ec3a5d0f5c14d0f9d1c0f9b8a7e6d5c";

fn with_tokens(world: &World) {
    world.configure_service(QUICK);
    let path = &world.cli.configuration;
    let text = std::fs::read_to_string(path).expect("it was written");
    let tokens = format!("backstop.sock, tokens: [{{name: oncall, role: operator, token: {RIGHT}}}]}}");
    std::fs::write(path, text.replace("backstop.sock}", &tokens)).expect("written");
}

fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", world.api_port())).expect("the kernel's queue has room");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time");
    stream
}

/// Sends a byte now and then until the other side has enough; what it answered.
fn dribble(mut stream: TcpStream, bytes: impl Iterator<Item = u8>) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(250))).expect("a time");
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    for byte in bytes {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn slow_writers_are_cut_off_and_hold_nobody_up() {
    let world = releases();
    with_tokens(&world);
    let mut daemon = world.watch();
    let head = "GET /api/v1/services HTTP/1.1\r\nx-slow: ".bytes().chain(std::iter::repeat_n(b'a', 4000));
    let body = format!(
        "POST /api/v1/services/api/deploys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {RIGHT}\r\n\
         content-type: application/json\r\ncontent-length: 4000\r\n\r\n"
    );
    let slow = [
        std::thread::spawn({
            let stream = connect(&world);
            move || dribble(stream, head)
        }),
        std::thread::spawn({
            let mut stream = connect(&world);
            stream.write_all(body.as_bytes()).expect("written");
            move || dribble(stream, std::iter::repeat_n(b' ', 4000))
        }),
    ];
    // 4,000 bytes at four a second would take a quarter of an hour.
    let mut served = 0;
    until("both are cut off", || {
        assert_eq!(world.api("/healthz").status(), 200);
        assert!(world.cli.run(&["status"]).status.success());
        served += 1;
        slow.iter().all(std::thread::JoinHandle::is_finished)
    });
    let answers = slow.map(|thread| thread.join().expect("no panic"));
    assert!(!answers[0].starts_with("HTTP/1.1 200"), "{}", answers[0]);
    assert!(answers[1].starts_with("HTTP/1.1 408"), "the body was not complete: {}", answers[1]);
    assert!(served > 20, "others were served all the while: {served}");
    assert_eq!(samples(&world, "ready", "missed"), 0);
    nothing_is_done(&world, &mut daemon, Duration::from_secs(1));
}

#[test]
fn a_thousand_connections_are_bounded_and_told() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("as far as allowed");
    let world = releases();
    world.configure_service(QUICK);
    let mut daemon = world.watch();
    let before = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count();
    let mut held: Vec<TcpStream> = (0..1000).map(|_| connect(&world)).collect();
    until("it is told", || daemon.said().contains("every place for connections was taken"));
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count();
    assert!(open <= before + 300, "{open} descriptors, {before} before");
    // The socket has places of its own.
    let status = world.cli.json(&["status"]);
    assert_eq!(status["services"][0]["name"], "api");
    // Those who say nothing give way, so that others get in at once although nobody goes by themselves.
    for round in 0..3 {
        let asked = Instant::now();
        let answer = http::get(world.api_port(), "/healthz").expect("answered");
        assert_eq!(answer.status(), 200);
        // It takes half a second, and several of them where the machine is busy with other things. Without giving way a
        // thousand would have to reach the deadline for a head in four turns, one after the other: 40 s.
        assert!(asked.elapsed() < HEAD_DEADLINE, "{round}: {:?}", asked.elapsed());
        held.extend((0..1000).map(|_| connect(&world)));
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count();
    assert!(open <= before + 300, "{open} descriptors, {before} before");
    nothing_is_done(&world, &mut daemon, Duration::from_secs(2));
    drop(held);
    until("there is room", || http::get(world.api_port(), "/metrics").is_ok());
    assert_eq!(samples(&world, "ready", "missed") + samples(&world, "ready", "failed"), 0, "probes kept their time");
    assert!(daemon.said().matches("every place for connections was taken").count() < 20, "and it is no flood of words");
}

#[test]
fn many_who_scrape_a_large_registry_share_what_is_rendered() {
    const SERVICES: usize = 300;
    const SCRAPERS: usize = 250;
    /// Of the text alone, without the memory that rendering it takes, each client's own would be 200 MiB.
    const MEMORY_MEBIBYTES: u64 = 64;
    let world = releases();
    let receiver = world.receiver.port.number;
    let home = world.path("").display().to_string();
    let mut services = String::new();
    for number in 0..SERVICES {
        services.push_str(&format!(
            "  - name: s{number}\n    target: {{releases: {{directory: {home}, current: {home}/none-{number}, restart: \
             [/bin/true]}}}}\n    probes: {{ready: {{tcp: '127.0.0.1:{receiver}', every: 1m}}}}\n"
        ));
    }
    world.configure("", &services);
    let daemon = world.watch();
    let one = world.api("/metrics").body;
    assert!(one.len() > 800_000, "it is a large one: {} bytes", one.len());
    let before = peak_memory_mebibytes(&daemon);
    let mut held: Vec<TcpStream> = (0..SCRAPERS).map(|_| connect(&world)).collect();
    let began = Instant::now();
    for stream in &mut held {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("written");
    }
    let readers: Vec<_> =
        held.into_iter().map(|stream| std::thread::spawn(|| http::Message::read(stream).expect("an answer"))).collect();
    let answers: Vec<http::Message> = readers.into_iter().map(|reader| reader.join().expect("no panic")).collect();
    let seconds = began.elapsed().as_secs();
    assert!(answers.iter().all(|answer| answer.status() == 200));
    // How old things are moves between two renderings, and so does how often something was decided.
    let rendered: std::collections::BTreeSet<&str> = answers.iter().map(|answer| answer.body.as_str()).collect();
    assert!(rendered.len() as u64 <= seconds + 2, "{} renderings within {seconds} s", rendered.len());
    let peak = peak_memory_mebibytes(&daemon);
    assert!(peak <= before + MEMORY_MEBIBYTES, "{peak} MiB, {before} before");
}

#[test]
fn a_gigabyte_is_refused_unread() {
    const GIGABYTE: u64 = 1 << 30;
    let world = releases();
    world.configure_service(QUICK);
    let mut daemon = world.watch();
    let path = "/api/v1/services/api/deploys";
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    for (length, framing) in
        [("announced", format!("content-length: {GIGABYTE}")), ("in pieces", "transfer-encoding: chunked".to_owned())]
    {
        let mut stream = UnixStream::connect(world.path("backstop.sock")).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
        stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a time");
        stream.write_all(format!("{head}{framing}\r\n\r\n").as_bytes()).expect("written");
        let chunk = [b"4000\r\n".as_slice(), &[b' '; 0x4000], b"\r\n"].concat();
        let mut sent = 0;
        while sent < GIGABYTE && stream.write_all(&chunk).is_ok() {
            sent += 0x4000;
        }
        assert!(sent < 16 << 20, "{length}: it took {sent} bytes");
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
    }
    // Who waits for the answer before the body gets it.
    let mut stream = UnixStream::connect(world.path("backstop.sock")).expect("connected");
    stream.write_all(format!("{head}content-length: {GIGABYTE}\r\n\r\n").as_bytes()).expect("written");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 413");
    let peak = peak_memory_mebibytes(&daemon);
    assert!(peak < 256, "{peak} MiB");
    nothing_is_done(&world, &mut daemon, Duration::from_secs(1));
}

fn ask_with(world: &World, token: &str) -> u16 {
    let mut stream = connect(world);
    write!(
        stream,
        "GET /api/v1/services HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    )
    .expect("written");
    http::Message::read(stream).expect("an answer").status()
}

#[test]
fn guessed_tokens_are_slowed_down_counted_and_never_written_down() {
    let world = releases();
    with_tokens(&world);
    let mut daemon = world.watch();
    assert_eq!(ask_with(&world, RIGHT), 200);
    let began = Instant::now();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..100)
            .map(|number| {
                let world = &world;
                // All but the last character is right.
                scope.spawn(move || ask_with(world, &format!("{}{number:03}", &RIGHT[..31])))
            })
            .collect();
        // An operator gets in all the while.
        assert_eq!(ask_with(&world, RIGHT), 200);
        guesses.into_iter().map(|guess| guess.join().expect("no panic")).collect()
    });
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    let looked_at = statuses.iter().filter(|&&status| status == 401).count();
    let a_second = looked_at as f64 / began.elapsed().as_secs_f64().max(0.5);
    assert!(a_second <= 33.0, "{looked_at} guesses were answered within {:?}", began.elapsed());
    let told = eventually("it is told", || {
        let said = daemon.said();
        said.contains("wrong tokens").then_some(said)
    });
    assert!(told.matches("wrong tokens").count() <= 5, "in bundles: {told}");
    assert!(!told.contains(&RIGHT[..31]), "no token is written down, right or wrong");
    assert_eq!(ask_with(&world, ""), 401);
    assert_eq!(ask_with(&world, RIGHT), 200);
    nothing_is_done(&world, &mut daemon, Duration::from_secs(1));
}
