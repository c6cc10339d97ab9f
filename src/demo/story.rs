//! Prepares everything, has the story played, and ends whatever was started.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
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
    stage::Stage,
};
use crate::{
    cli::{self, Fault, render::text::FAINT},
    config::{self, SystemSecrets, form::Config},
    runtime::{self, clock::Clock},
};

/// The whole story: a little less than a minute, so that its end fits in.
const STORY_LIMIT: Duration = Duration::from_secs(54);

/// Tells the story, and cleans up whatever came of it.
pub(super) async fn tell(fault: Fault, stay: bool) -> Result<(), DemoError> {
    let clock = Clock::new();
    let until = clock.boot().after(STORY_LIMIT);
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
    let running = runtime::start(config, None, shutdown.clone()).await?;
    let api = format!("Backstop watches; its API is at http://{}", running.address);
    screen.tell("daemon", FAINT, &api);
    let follow = Follow::new(Arc::clone(&running.board), Arc::clone(&receiver), clock.clone());
    let daemon = tokio::spawn(running.wait());
    let mut stage = Stage {
        place,
        screen,
        program,
        manager,
        customers,
        receiver,
        follow,
        daemon,
        interrupted,
        clock,
        until,
        tasks,
    };
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
