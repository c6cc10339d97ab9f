//! What happens, in order, once everything runs.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    process::Command,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    DemoError,
    customers::Customers,
    follow::Follow,
    manager::Manager,
    outcome::{self, BAD, GOOD},
    place::Place,
    receiver::Receiver,
    release::Release,
    screen::Screen,
    summary,
};
use crate::{
    cli::{Fault, render::text::WARNING},
    core::{release::Standing, time::BootTime, view::IncidentView},
    runtime::{RunError, clock::Clock},
};

/// What the daemon says is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is on its way when the story ends may arrive for so long.
const AFTERMATH: Duration = Duration::from_secs(2);
/// The daemon and the shop end within this.
const END_LIMIT: Duration = Duration::from_secs(3);
/// With `--stay` it ends by itself after this: nobody watches for longer.
const STAY_LIMIT: Duration = Duration::from_hours(1);

/// Everything that runs.
pub(super) struct Stage {
    pub(super) place: Place,
    pub(super) screen: Screen,
    pub(super) program: PathBuf,
    pub(super) manager: Arc<Manager>,
    pub(super) customers: Arc<Customers>,
    pub(super) receiver: Arc<Receiver>,
    pub(super) follow: Follow,
    pub(super) daemon: JoinHandle<Result<(), RunError>>,
    pub(super) interrupted: CancellationToken,
    pub(super) clock: Clock,
    pub(super) until: BootTime,
    pub(super) tasks: JoinSet<()>,
}

impl Stage {
    pub(super) async fn play(&mut self, fault: Fault) -> Result<(), DemoError> {
        self.wait_until("the first release become known-good", |stage| {
            stage.follow.standing(GOOD) == Some(Standing::KnownGood)
        })
        .await?;
        self.place.lay(&Release { version: BAD.to_owned(), fault: Some(fault) })?;
        self.place.switch(BAD)?;
        self.screen.tell("deploy", WARNING, &format!("{BAD} is deployed: the link leads to it, the shop restarts"));
        let restarted = timeout(self.left(), self.manager.restart()).await;
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

    /// What is left of the story's time.
    fn left(&self) -> Duration {
        self.until.since(self.clock.boot())
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
            if self.left().is_zero() {
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
        let output = timeout(self.left(), command).await.map_err(|_| DemoError::Late("the approval given"))?;
        let output = output.map_err(|error| failed(&error))?;
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        self.screen.tell("on-call", WARNING, String::from_utf8_lossy(&output.stdout).trim());
        Ok(())
    }

    /// The last pages and evidence files are on their way still.
    async fn let_arrive(&mut self) {
        let began = self.clock.boot();
        let until = began.after(AFTERMATH).min(self.until);
        let is_empty = |stage: &Self| stage.follow.board().daemon().outbox_depth == 0;
        while self.clock.boot() < until {
            sleep(LOOK_EVERY).await;
            self.follow.look(&self.screen);
            // The board is renewed a little later than what it shows.
            if is_empty(self) && self.clock.boot().since(began) >= AFTERMATH / 2 {
                break;
            }
        }
    }

    pub(super) fn judge(&self, fault: Fault) -> Result<(), DemoError> {
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

    pub(super) async fn stay(&mut self) {
        summary::what_to_try(&self.place, &self.screen);
        self.until = self.clock.boot().after(STAY_LIMIT);
        // However this ends, the story is over.
        let _interrupted = self.wait_until("Ctrl-C", |_| false).await;
    }

    /// Ends everything that was started.
    pub(super) async fn end(mut self) {
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
