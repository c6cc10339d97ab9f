//! Follows the daemon by what it shows its readers, and tells each change once.

use std::{sync::Arc, time::Duration};

use super::{receiver::Receiver, screen::Screen};
use crate::{
    cli::render::{
        self,
        text::{ALARM, FAINT, WARNING, WELL, plain, verdict_style, verdict_words},
    },
    core::{
        answer::Answer,
        release::Standing,
        saga::StepStatus,
        time::{BootTime, WallTime},
        verdict::{Path, VerdictKind},
        view::{IncidentView, ServiceView},
    },
    runtime::clock::Clock,
    serve::Board,
};

/// The one service.
pub(super) const SERVICE: &str = "shop";
/// Answers that change to and fro while windows fill are told once they have stood for so long.
const STEADY_FOR: Duration = Duration::from_millis(700);
/// Questions stand further to the left than what is told, to have room for their numbers.
const TREE_INDENT: usize = 4;
/// A page is told a little after it came: what it is about is shown by then, since readers are served a few times a second.
const PAGES_AFTER: Duration = Duration::from_millis(300);
/// The page for each step as it ends; the steps themselves are told already.
const STEP_PAGE: &str = "rollback.step";
/// The first page of an incident.
const FIRST_PAGE: &str = "incident.opened";
/// The page that asks for approval.
const ASKING_PAGE: &str = "approval.requested";

/// What was told already.
pub(super) struct Follow {
    board: Arc<Board>,
    receiver: Arc<Receiver>,
    clock: Clock,
    tree: Tree,
    live: Option<(String, Standing, bool)>,
    incident: Option<(String, VerdictKind)>,
    steps: usize,
    pages: usize,
    /// When the first page of an incident arrived.
    pub(super) paged_at: Option<WallTime>,
    /// The page that asks for approval arrived.
    pub(super) asked: bool,
}

#[derive(Debug, Default)]
struct Tree {
    told: Option<(VerdictKind, Vec<Answer>)>,
    /// What is not told yet, and since when it has stood.
    new: Option<(VerdictKind, Vec<Answer>, BootTime)>,
}

impl Follow {
    pub(super) fn new(board: Arc<Board>, receiver: Arc<Receiver>, clock: Clock) -> Self {
        let tree = Tree::default();
        Self {
            board,
            receiver,
            clock,
            tree,
            live: None,
            incident: None,
            steps: 0,
            pages: 0,
            paged_at: None,
            asked: false,
        }
    }

    /// The service as it is now, once it has been looked at.
    pub(super) fn service(&self) -> Option<Arc<ServiceView>> {
        self.board.service(SERVICE).flatten()
    }

    /// The latest incident.
    pub(super) fn incident(&self) -> Option<Arc<IncidentView>> {
        self.board.incidents().first().cloned()
    }

    /// What is known of a version.
    pub(super) fn standing(&self, version: &str) -> Option<Standing> {
        let known = self.board.deploys(SERVICE)?;
        known.deploys.iter().find(|deploy| deploy.release.version.as_str() == version).map(|deploy| deploy.standing)
    }

    /// What the daemon shows its readers.
    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// How many pages arrived.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    /// Tells what is new.
    pub(super) fn look(&mut self, screen: &Screen) {
        let incident = self.incident();
        if let Some(incident) = &incident {
            self.verdict(incident, screen);
        }
        self.pages_that_came(screen);
        if let Some(incident) = &incident {
            self.course(incident, screen);
        }
        if let Some(view) = self.service() {
            self.release(&view, screen);
            self.tree.look(&view.path, self.clock.boot(), screen);
        }
    }

    /// Tells the whole tree as it is now, whatever was told before.
    pub(super) fn whole_tree(&mut self, screen: &Screen) {
        if let Some(view) = self.service() {
            self.tree = Tree::default();
            self.tree.tell(&view.path, screen);
        }
    }

    fn release(&mut self, view: &ServiceView, screen: &Screen) {
        let (Some(release), Some(standing)) = (&view.now.release, view.now.standing) else { return };
        let now = (release.version.to_string(), standing, view.now.rolling_out);
        if self.live.as_ref() == Some(&now) {
            return;
        }
        let (version, before) = (plain(&now.0), self.live.replace(now.clone()));
        let same = before.as_ref().is_some_and(|before| before.0 == now.0);
        let why = self.board.deploys(SERVICE).and_then(|known| known.deploys.first().map(|deploy| deploy.why.clone()));
        let text = match (standing, view.now.rolling_out) {
            (_, true) => format!("{version} is live at the target, and its rollout is watched"),
            (Standing::KnownGood, _) if same && before.is_some_and(|before| before.1 != standing) => {
                format!("{version} is a place to go back to: it {}", plain(&why.unwrap_or_default()))
            }
            _ if same => format!("{version} answers: its rollout is over, and the windows begin anew"),
            _ => format!("{version} is live; what it is worth is not known yet"),
        };
        screen.tell("release", if standing == Standing::KnownGood { WELL } else { FAINT }, &text);
    }

    fn pages_that_came(&mut self, screen: &Screen) {
        let now = self.clock.now().wall;
        for page in self.receiver.since(self.pages) {
            if now.since(page.at) < PAGES_AFTER {
                break;
            }
            self.pages += 1;
            if page.kind == FIRST_PAGE {
                self.paged_at = self.paged_at.or(Some(page.at));
            }
            self.asked |= page.kind == ASKING_PAGE;
            if page.kind != STEP_PAGE {
                screen.tell("page", WARNING, &plain(&format!("{} {}: {}", page.severity, page.kind, page.summary)));
                screen.below(&plain(&format!("-> {}", page.action)));
            }
        }
    }

    /// The verdict that opened an incident, or rose in it, as it was at that moment.
    fn verdict(&mut self, incident: &IncidentView, screen: &Screen) {
        let now = (incident.id.to_string(), incident.verdict);
        if self.incident.as_ref().is_none_or(|(id, _)| *id != now.0) {
            self.steps = 0;
        }
        if self.incident.as_ref() != Some(&now) {
            self.incident = Some(now);
            self.tree.tell(&incident.path, screen);
        }
    }

    /// The incident's plan, step by step.
    fn course(&mut self, incident: &IncidentView, screen: &Screen) {
        let Some(plan) = incident.plans.last() else { return };
        let ended = |status: StepStatus| {
            !matches!(status, StepStatus::Pending | StepStatus::UndoUnknown) && !status.in_flight()
        };
        while let Some(step) = plan.steps.get(self.steps).filter(|step| ended(step.status)) {
            self.steps += 1;
            let (place, all) = (self.steps, plan.steps.len());
            let took = step.started_at.zip(step.ended_at).map(|(began, ended)| super::screen::seconds(began, ended));
            let took = took.map_or_else(String::new, |took| format!(" after {took}"));
            let note = if step.note.is_empty() { String::new() } else { format!(": {}", step.note) };
            let text = format!("{place} of {all} {}: {}{took}{note}", step.title, step.status.as_str());
            screen.tell("step", if step.status == StepStatus::Done { WELL } else { ALARM }, &plain(&text));
        }
    }
}

impl Tree {
    fn look(&mut self, path: &Path, now: BootTime, screen: &Screen) {
        let answers: Vec<Answer> = path.questions.iter().map(|question| question.answer).collect();
        let state = (path.verdict, answers);
        if self.told.as_ref() == Some(&state) {
            self.new = None;
            return;
        }
        let since = match self.new.take() {
            Some((verdict, answers, since)) if (verdict, &answers) == (state.0, &state.1) => since,
            _ => now,
        };
        if now.since(since) < STEADY_FOR {
            self.new = Some((state.0, state.1, since));
            return;
        }
        self.tell(path, screen);
    }

    /// Tells the verdict, and those answers that are new; where it is grave, the whole way to it.
    fn tell(&mut self, path: &Path, screen: &Screen) {
        let verdict = screen.layout.paint(verdict_style(path.verdict), verdict_words(path.verdict));
        screen.tell("tree", FAINT, &format!("{verdict}: {}", plain(&path.because)));
        let rises = path.deciding().is_some() && self.told.as_ref().is_none_or(|told| told.0 < path.verdict);
        for (place, question) in path.questions.iter().enumerate() {
            let is_new = self.told.as_ref().is_none_or(|told| told.1.get(place) != Some(&question.answer));
            if is_new || rises {
                screen.print(&render::question(question, TREE_INDENT, screen.layout));
            }
            if rises && question.decided {
                break;
            }
        }
        self.told = Some((path.verdict, path.questions.iter().map(|question| question.answer).collect()));
        self.new = None;
    }
}
