//! The service that everybody probes: a process of its own, whose processor time counts for nobody.
//!
//! It answers `/probe/N` and closes, as it was asked to. It is steered by lines on its standard input, each answered by
//! lines on its standard output; it ends with its input. Times are nanoseconds of `CLOCK_MONOTONIC`.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::process::{self, Child};

/// The first argument of the process that serves.
pub(crate) const ROLE: &str = "serve";

/// Longest head of a request.
const HEAD_LIMIT_BYTES: usize = 2048;
/// A hanging connection is let go after this, should its client forget it.
const HANGS_FOR: Duration = Duration::from_secs(60);

/// The clock that all processes here share.
pub(crate) fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("a time since the machine's start")
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    hanging: HashSet<usize>,
    /// Since they fail: when each failing answer was given.
    failing: HashMap<usize, Vec<Duration>>,
    /// While it is being recorded: who asked when.
    arrivals: Option<Vec<(usize, Duration)>>,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until its standard input ends.
pub(crate) fn main() -> anyhow::Result<()> {
    let shared = Shared::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        println!("{}", listener.local_addr()?.port());
        let steered = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                steer(&steered, &line);
            }
            std::process::exit(0);
        });
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        }
    })
}

fn steer(shared: &Shared, line: &str) {
    let mut words = line.split(' ');
    let verb = words.next().unwrap_or_default();
    let place: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
    let mut state = lock(shared);
    let answer = match verb {
        "count" => state.count.to_string(),
        "hang" => {
            state.hanging.insert(place);
            "ok".to_owned()
        }
        "fail" => {
            state.failing.insert(place, Vec::new());
            monotonic().as_nanos().to_string()
        }
        "heal" => {
            let failed = state.failing.remove(&place).unwrap_or_default();
            failed.iter().map(|at| at.as_nanos().to_string()).collect::<Vec<_>>().join(" ")
        }
        "record" => {
            state.arrivals = Some(Vec::new());
            "ok".to_owned()
        }
        "arrivals" => {
            let arrivals = state.arrivals.take().unwrap_or_default();
            arrivals.iter().map(|(place, at)| format!("{place}:{}", at.as_nanos())).collect::<Vec<_>>().join(" ")
        }
        _ => "what?".to_owned(),
    };
    drop(state);
    println!("{answer}");
}

async fn serve(mut stream: TcpStream, shared: Shared) {
    let mut head = [0; HEAD_LIMIT_BYTES];
    let mut length = 0;
    while !head[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut head[length..]).await {
            Ok(read) if read > 0 => length += read,
            _ => return,
        }
    }
    let Some(place) = place_of(&head[..length]) else { return };
    let (fails, hangs) = {
        let mut state = lock(&shared);
        let now = monotonic();
        state.count += 1;
        if let Some(arrivals) = &mut state.arrivals {
            arrivals.push((place, now));
        }
        let failing = state.failing.get_mut(&place);
        let fails = failing.is_some();
        if let Some(failing) = failing {
            failing.push(now);
        }
        (fails, state.hanging.contains(&place))
    };
    if hangs {
        // Until the client has had enough.
        let _ended = tokio::time::timeout(HANGS_FOR, stream.read(&mut head)).await;
        return;
    }
    let status = if fails { "503 Service Unavailable" } else { "200 OK" };
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    // Whoever asked may be gone.
    let _gone = stream.write_all(answer.as_bytes()).await;
}

/// The number in `GET /probe/NUMBER HTTP/1.1`.
fn place_of(head: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(head.split(|&byte| byte == b'\r').next()?).ok()?;
    line.split(' ').nth(1)?.rsplit('/').next()?.parse().ok()
}

/// The path that probe `place` asks for.
pub(crate) fn path(place: usize) -> String {
    format!("/probe/{place}")
}

/// The serving process, as the others steer it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Child,
}

impl Server {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut command = process::pinned(process::Core::Server, std::env::current_exe()?);
        command.arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Child::start(command).context("start the server")?;
        let input = process.take_input();
        let mut output = BufReader::new(process.take_output());
        let mut line = String::new();
        output.read_line(&mut line)?;
        let port = line.trim().parse().context("start the server: it said no port")?;
        Ok(Self { port, input, output, _process: process })
    }

    fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        writeln!(self.input, "{line}").context("steer the server")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer).context("hear from the server")?;
        Ok(answer.trim().to_owned())
    }

    /// Requests so far.
    pub(crate) fn count(&mut self) -> anyhow::Result<u64> {
        Ok(self.ask("count")?.parse()?)
    }

    /// From now on `place` is never answered.
    pub(crate) fn hang(&mut self, place: usize) -> anyhow::Result<()> {
        self.ask(&format!("hang {place}")).map(drop)
    }

    /// From now on `place` answers 503. Returns since when.
    pub(crate) fn fail(&mut self, place: usize) -> anyhow::Result<Duration> {
        Ok(Duration::from_nanos(self.ask(&format!("fail {place}"))?.parse()?))
    }

    /// Ends it. Returns when each failing answer was given.
    pub(crate) fn heal(&mut self, place: usize) -> anyhow::Result<Vec<Duration>> {
        let answer = self.ask(&format!("heal {place}"))?;
        answer.split_whitespace().map(|word| Ok(Duration::from_nanos(word.parse()?))).collect()
    }

    /// Who asked when, within `time` from now.
    pub(crate) fn arrivals(&mut self, time: Duration) -> anyhow::Result<Vec<(usize, Duration)>> {
        self.ask("record")?;
        std::thread::sleep(time);
        let answer = self.ask("arrivals")?;
        let arrivals = answer.split_whitespace().map(|word| {
            let (place, at) = word.split_once(':').context("read an arrival")?;
            Ok((place.parse()?, Duration::from_nanos(at.parse()?)))
        });
        arrivals.collect()
    }
}
