//! What happens, in order.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    net::{TcpListener, UnixListener},
    process::Command,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    DemoError,
    configuration::{self, Surroundings},
    customers::{Customers, ORDERS_A_SECOND},
    follow::Follow,
    manager::Manager,
    outcome::{self, BAD, GOOD},
    place::{Place, free_ports},
    receiver::Receiver,
    release::Release,
    screen::Screen,
    summary,
};
use crate::{
    cli::{
        self, Fault,
        render::text::{FAINT, WARNING},
    },
    config::{self, SystemSecrets, form::Config},
    core::{release::Standing, view::IncidentView},
    runtime::{self, RunError, clock::Clock},
};

/// The whole story: a little less than a minute, so that its end fits in.
const STORY_LIMIT: Duration = Duration::from_secs(54);
/// What the daemon says is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is on its way when the story ends may arrive for so long.
const AFTERMATH: Duration = Duration::from_secs(2);
/// The daemon and the shop end within this.
const END_LIMIT: Duration = Duration::from_secs(3);
/// With `--stay` it ends by itself after this: nobody watches for longer.
const STAY_LIMIT: Duration = Duration::from_hours(1);

/// Everything that runs.
struct Stage {
    place: Place,
    screen: Screen,
    program: PathBuf,
    manager: Arc<Manager>,
    customers: Arc<Customers>,
    receiver: Arc<Receiver>,
    follow: Follow,
    daemon: JoinHandle<Result<(), RunError>>,
    interrupted: CancellationToken,
    until: Instant,
    tasks: JoinSet<()>,
}

/// Tells the story, and cleans up whatever came of it.
pub(super) async fn tell(fault: Fault, stay: bool) -> Result<(), DemoError> {
    let until = Instant::now() + STORY_LIMIT;
    let clock = Clock::new();
    let interrupted = CancellationToken::new();
    cli::end_on_signals(&interrupted).map_err(|failure| DemoError::Configuration(failure.what))?;
    let shutdown = CancellationToken::new();
    let _however_this_ends = shutdown.clone().drop_guard();

    let screen = Screen::new(clock.clone());
    let place = Place::new()?;
    let program = std::env::current_exe().map_err(DemoError::io("find", "this program".as_ref()))?;
    place.lay(&Release { version: GOOD.to_owned(), fault: None })?;
    place.switch(GOOD)?;
    let mut tasks = JoinSet::new();
    let (receiver, receiver_port) = receive_pages(&place, &clock, &mut tasks).await?;
    let [shop_port, api_port] = free_ports()?;
    let around = Surroundings { program: &program, shop_port, api_port, receiver_port };
    let text = configuration::text(&place, &around);
    introduce(fault, &place, &text, &screen);
    let config = check(&place, &text)?;
    log_to(&place)?;

    screen.heading("As it happens");
    let manager = manage_shop(&place, &program, shop_port, &clock, &mut tasks)?;
    manager.restart().await?;
    let customers = Arc::new(Customers::default());
    tasks.spawn(Arc::clone(&customers).come(shop_port));
    screen.tell("shop", FAINT, &format!("{GOOD} serves; {ORDERS_A_SECOND} orders a second come in"));
    let running = runtime::start(config, shutdown.clone()).await?;
    let api = format!("Backstop watches; its API is at http://{}", running.address);
    screen.tell("daemon", FAINT, &api);
    let follow = Follow::new(Arc::clone(&running.board), Arc::clone(&receiver), clock.clone());
    let daemon = tokio::spawn(running.wait());
    let mut stage =
        Stage { place, screen, program, manager, customers, receiver, follow, daemon, interrupted, until, tasks };
    let outcome = match stage.play(fault).await {
        Ok(()) => stage.judge(fault),
        Err(error) => Err(error),
    };
    if stay && !matches!(outcome, Err(DemoError::Interrupted)) {
        stage.stay().await;
    }
    shutdown.cancel();
    stage.end().await;
    outcome
}

async fn receive_pages(
    place: &Place,
    clock: &Clock,
    tasks: &mut JoinSet<()>,
) -> Result<(Arc<Receiver>, u16), DemoError> {
    // 148 random bits: more than a signature on this machine alone has use for.
    let key = [uuid::Uuid::now_v7(), uuid::Uuid::now_v7()].map(uuid::Uuid::into_bytes).concat();
    Place::write_private(&place.secret(), &format!("whsec_{}", STANDARD.encode(&key)))?;
    let at = "127.0.0.1".as_ref();
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(DemoError::io("listen on", at))?;
    let port = listener.local_addr().map_err(DemoError::io("listen on", at))?.port();
    let receiver = Arc::new(Receiver::new(key, clock.clone()));
    tasks.spawn(Arc::clone(&receiver).serve(listener));
    Ok((receiver, port))
}

fn manage_shop(
    place: &Place,
    program: &std::path::Path,
    port: u16,
    clock: &Clock,
    tasks: &mut JoinSet<()>,
) -> Result<Arc<Manager>, DemoError> {
    let socket = place.manager_socket();
    let listener = UnixListener::bind(&socket).map_err(DemoError::io("listen on", &socket))?;
    let manager = Arc::new(Manager::new(program.to_owned(), place.current(), port, clock.clone()));
    tasks.spawn(Arc::clone(&manager).obey(listener));
    Ok(manager)
}

fn introduce(fault: Fault, place: &Place, configuration: &str, screen: &Screen) {
    let (wrong, right) = outcome::expectation(fault);
    screen.heading("Backstop: a release, and what becomes of it");
    screen.paragraph(&format!(
        "A small shop runs as {GOOD}. Once that has proved itself, {BAD} is deployed, which {wrong} The right thing to \
         do: {right}"
    ));
    screen.paragraph(
        "The daemon, its probes, its store and its rollback are the real ones; only the times are compressed, by this \
         configuration:",
    );
    screen.print("\n");
    for line in configuration.lines() {
        screen.print(&format!("    {line}\n"));
    }
    screen.print("\n");
    screen.paragraph(&format!(
        "Everything of this run lies in {}, and stays there until the machine clears its temporary files.",
        place.path().display()
    ));
}

fn check(place: &Place, text: &str) -> Result<Config, DemoError> {
    let path = place.configuration();
    Place::write_private(&path, text)?;
    match config::load(&path, &SystemSecrets) {
        Ok((config, _)) => Ok(config),
        Err(diagnostics) => Err(DemoError::Configuration(diagnostics.render(false))),
    }
}

/// What the daemon logs goes to a file: the terminal is for the story.
fn log_to(place: &Place) -> Result<(), DemoError> {
    let path = place.log();
    let file = std::fs::File::create(&path).map_err(DemoError::io("write", &path))?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("backstop=info,warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false);
    // It fails only where a subscriber is there already.
    let _already_there = log.with_writer(std::sync::Mutex::new(file)).try_init();
    Ok(())
}

impl Stage {
    async fn play(&mut self, fault: Fault) -> Result<(), DemoError> {
        self.wait_until("the first release become known-good", |stage| {
            stage.follow.standing(GOOD) == Some(Standing::KnownGood)
        })
        .await?;
        self.place.lay(&Release { version: BAD.to_owned(), fault: Some(fault) })?;
        self.place.switch(BAD)?;
        self.screen.tell("deploy", WARNING, &format!("{BAD} is deployed: the link leads to it, the shop restarts"));
        let restarted = timeout_at(self.until, self.manager.restart()).await;
        restarted.map_err(|_| DemoError::Late("the second release started"))??;
        let (served, failed) = self.customers.seen();
        let before = served + failed;
        let mut approved = None;
        loop {
            let what = "the story end";
            self.wait_until(what, |stage| {
                let (served, failed) = stage.customers.seen();
                outcome::is_over(fault, &stage.follow, served + failed - before)
                    || open_approval(stage).is_some_and(|asked| Some(asked.1) != approved)
            })
            .await?;
            match open_approval(self).filter(|asked| Some(asked.1) != approved) {
                Some((incident, approval)) if fault == Fault::Slow => {
                    approved = Some(approval);
                    self.approve(&incident, approval).await?;
                }
                _ => break,
            }
        }
        if fault == Fault::Flaky {
            self.follow.whole_tree(&self.screen);
        }
        self.let_arrive().await;
        Ok(())
    }

    /// Looks on until something is so.
    async fn wait_until(&mut self, what: &'static str, is_so: impl Fn(&Self) -> bool) -> Result<(), DemoError> {
        loop {
            self.follow.look(&self.screen);
            if is_so(self) {
                return Ok(());
            }
            if self.daemon.is_finished() {
                return Err(DemoError::Daemon(RunError::LoopEnded));
            }
            if Instant::now() >= self.until {
                return Err(DemoError::Late(what));
            }
            tokio::select! {
                () = self.interrupted.cancelled() => return Err(DemoError::Interrupted),
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// The demonstration plays the on-call engineer, by the command that a page names.
    async fn approve(&self, incident: &str, approval: u32) -> Result<(), DemoError> {
        let number = approval.to_string();
        let told =
            format!("the demonstration plays the on-call: backstop incident approve {incident} --approval {number}");
        self.screen.tell("on-call", WARNING, &told);
        let mut command = Command::new(&self.program);
        command.args(["incident", "approve", incident, "--approval", &number, "--socket"]).arg(self.place.socket());
        let command = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let failed = |why: &dyn std::fmt::Display| DemoError::Approve(why.to_string());
        let output = timeout_at(self.until, command).await.map_err(|_| DemoError::Late("the approval given"))?;
        let output = output.map_err(|error| failed(&error))?;
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        self.screen.tell("on-call", WARNING, String::from_utf8_lossy(&output.stdout).trim());
        Ok(())
    }

    /// The last pages and evidence files are on their way still.
    async fn let_arrive(&mut self) {
        let until = (Instant::now() + AFTERMATH).min(self.until);
        let is_empty = |stage: &Self| stage.follow.board().daemon().outbox_depth == 0;
        while Instant::now() < until {
            sleep(LOOK_EVERY).await;
            self.follow.look(&self.screen);
            // The board is renewed a little later than what it shows.
            if is_empty(self) && Instant::now() + AFTERMATH / 2 >= until {
                break;
            }
        }
    }

    fn judge(&self, fault: Fault) -> Result<(), DemoError> {
        let mut wrong = outcome::faults(fault, &self.follow, &self.place);
        let refused = self.receiver.refused();
        if refused > 0 {
            wrong.push(format!("{refused} messages had a wrong signature"));
        }
        let told = summary::Told {
            place: &self.place,
            screen: &self.screen,
            follow: &self.follow,
            fault_began: self.manager.fault_began(),
            orders: self.customers.seen(),
        };
        told.tell(fault, &wrong);
        if wrong.is_empty() { Ok(()) } else { Err(DemoError::Outcome(wrong.join("; "))) }
    }

    async fn stay(&mut self) {
        summary::what_to_try(&self.place, &self.screen);
        self.until = Instant::now() + STAY_LIMIT;
        // However this ends, the story is over.
        let _interrupted = self.wait_until("Ctrl-C", |_| false).await;
    }

    /// Ends everything that was started.
    async fn end(mut self) {
        self.tasks.abort_all();
        let end = async {
            self.manager.stop().await;
            let _ = (&mut self.daemon).await;
        };
        // What takes longer ends with this process: the shop by its closed input, children by their supervisors.
        let _late = timeout(END_LIMIT, end).await;
    }
}

/// The incident and the approval that wait for a human, once a page has asked for it.
fn open_approval(stage: &Stage) -> Option<(String, u32)> {
    let incident: Arc<IncidentView> = stage.follow.incident().filter(|_| stage.follow.asked)?;
    let approval = incident.approval.as_ref().filter(|approval| approval.state == "open")?;
    Some((incident.id.to_string(), approval.approval))
}
