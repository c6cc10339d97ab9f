//! What people read: each rendering at its ordinary width, and some at narrow ones.

use backstop::{
    cli::render::{self, Layout},
    core::{
        operation::HistoryRecord,
        saga::StepStatus,
        time::WallTime,
        view::{ConfigurationTrouble, DaemonView, DeploysView, PauseView, ServiceState, WaitsFor},
    },
    serve::answers::{Deploys, Explanation, IncidentSummary, Incidents, ServiceSummary, Services},
};

use crate::views;

const PLAIN: fn() -> Layout = || Layout::new(None, false);

fn services() -> Services {
    Services {
        services: [views::healthy(), views::rolling_back()].iter().map(ServiceSummary::from).collect(),
        daemon: views::daemon(),
    }
}

#[test]
fn status() {
    insta::assert_snapshot!(render::status(&services(), PLAIN()));
}

#[test]
fn status_of_a_quiet_daemon() {
    let services = Services { daemon: DaemonView::default(), services: services().services.split_off(1) };
    insta::assert_snapshot!(render::status(&services, Layout::new(Some(80), false)));
}

#[test]
fn a_suspended_sync_is_shown_until_it_is_on_again() {
    let mut view = views::healthy();
    let said = "the sync of shop is suspended";
    let shown = |view: &backstop::core::view::ServiceView| {
        let services = Services { services: vec![ServiceSummary::from(view)], daemon: DaemonView::default() };
        let explained = render::explanation(&Explanation::from(view), PLAIN());
        [render::status(&services, PLAIN()), explained].map(|text| text.contains(said))
    };
    assert_eq!(shown(&view), [false, false]);
    view.now.sync_suspended = Some(said.to_owned());
    assert_eq!(shown(&view), [true, true]);
}

#[test]
fn explain() {
    insta::assert_snapshot!(render::explanation(&Explanation::from(&views::rolling_back()), PLAIN()));
}

#[test]
fn explain_in_a_narrow_terminal() {
    insta::assert_snapshot!(render::explanation(
        &Explanation::from(&views::rolling_back()),
        Layout::new(Some(20), false)
    ));
}

#[test]
fn explain_a_healthy_service() {
    insta::assert_snapshot!(render::explanation(&Explanation::from(&views::healthy()), PLAIN()));
}

#[test]
fn a_service_that_says_another_version_than_the_target_is_shown_with_both() {
    let mut view = views::healthy();
    let live = view.now.release.as_ref().expect("it is known").version.clone();
    view.now.service_says = Some("2025-12-20".into());
    let services = Services { daemon: DaemonView::default(), services: vec![ServiceSummary::from(&view)] };
    let said = format!("the service says 2025-12-20, the target {live}: {live} does not soak until they agree");
    for text in [render::status(&services, PLAIN()), render::explanation(&Explanation::from(&view), PLAIN())] {
        let shown = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(&said), "{text}");
    }
    let row = serde_json::to_value(&services.services[0]).expect("plain data");
    assert_eq!(row["service_says"], "2025-12-20");
}

#[test]
fn colour_changes_nothing_but_colour() {
    let view = Explanation::from(&views::rolling_back());
    let coloured = render::explanation(&view, Layout::new(None, true));
    assert_ne!(coloured, render::explanation(&view, PLAIN()));
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(stripped, render::explanation(&view, PLAIN()));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in [60, 72, 80, 100, 140] {
        let layout = Layout::new(Some(columns), false);
        let text = [
            render::explanation(&Explanation::from(&views::rolling_back()), layout),
            render::incident(&views::open_incident(), layout),
            render::incident(&views::resolved_incident(), layout),
        ];
        for line in text.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
    }
}

#[test]
fn control_characters_are_made_harmless() {
    let mut view = views::rolling_back();
    view.now.release = Some(backstop::core::release::Release::of("v1\u{1b}[2J"));
    view.path.because = "x\u{7}\ny".to_owned();
    view.signals[0].reason = Some("\u{1b}]0;title\u{7}".to_owned());
    let text = render::explanation(&Explanation::from(&view), PLAIN());
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
}

#[test]
fn incidents() {
    let list = [views::open_incident(), views::resolved_incident()];
    let incidents = Incidents { incidents: list.iter().map(IncidentSummary::from).collect() };
    insta::assert_snapshot!(render::incidents(&incidents, PLAIN()));
    assert_eq!(render::incidents(&Incidents { incidents: Vec::new() }, PLAIN()), "no incidents\n");
}

#[test]
fn an_open_incident() {
    insta::assert_snapshot!(render::incident(&views::open_incident(), PLAIN()));
}

#[test]
fn an_incident_that_is_over() {
    insta::assert_snapshot!(render::incident(&views::resolved_incident(), PLAIN()));
}

#[test]
fn days_are_told_where_there_are_several() {
    let mut view = views::resolved_incident();
    view.timeline.push(backstop::core::view::TimelineView { at: views::at(60_000), text: "a day later".to_owned() });
    let text = render::incident(&view, PLAIN());
    assert!(text.contains("  2026-01-08 03:10:00  a day later"), "{text}");
    assert!(text.contains("  2026-01-07 08:30:20  done     2. roll back the target (8s)"), "{text}");
}

#[test]
fn deploys() {
    let services = [
        Deploys { service: "billing".into(), known: DeploysView::default() },
        Deploys { service: "solvereign-api".into(), known: views::deploys() },
    ];
    insta::assert_snapshot!(render::deploys(&services, PLAIN()));
}

#[test]
fn history() {
    let record = HistoryRecord {
        date: "2026-01-07T10:30:00Z".to_owned(),
        version_from: "v1.2.4".to_owned(),
        version_to: "v1.2.3".to_owned(),
        reason: "Error rate spike after deploy".to_owned(),
        duration_minutes: 8,
        root_cause: "Missing null check in new code path".to_owned(),
        post_mortem_link: String::new(),
        service: String::new(),
        incident: String::new(),
        outcome: String::new(),
    };
    let ours = HistoryRecord {
        root_cause: String::new(),
        service: "solvereign-api".to_owned(),
        outcome: "verified".to_owned(),
        ..record.clone()
    };
    insta::assert_snapshot!(render::history(&[record, ours], PLAIN()));
}

#[test]
fn a_rollback_by_hand_that_would_be_held_and_one_that_would_not() {
    let both = [true, false].map(|held| render::rollback(&views::preview(held), PLAIN()));
    insta::assert_snapshot!(both.join("----\n"));
}

#[test]
fn an_incident_opened_by_hand_and_aborted() {
    insta::assert_snapshot!(render::incident(&views::aborted_incident(), PLAIN()));
}

#[test]
fn status_of_what_is_under_way_waits_is_left_to_people_or_cannot_be_seen() {
    let views = [views::under_way(), views::to_be_approved(), views::left_to_people(), views::unseen()];
    let services =
        Services { services: views.iter().map(ServiceSummary::from).collect(), daemon: DaemonView::default() };
    insta::assert_snapshot!(render::status(&services, PLAIN()));
}

#[test]
fn explain_what_is_under_way_waits_is_left_to_people_or_cannot_be_seen() {
    let told =
        [views::under_way(), views::to_be_approved(), views::left_to_people(), views::unseen()].map(|mut view| {
            view.path.questions.clear();
            view.signals.clear();
            render::explanation(&Explanation::from(&view), PLAIN())
        });
    insta::assert_snapshot!(told.join("----\n"));
}

#[test]
fn a_plan_under_way_in_every_state() {
    let states = [
        StepStatus::Pending,
        StepStatus::Started,
        StepStatus::Unknown,
        StepStatus::Failed,
        StepStatus::Undoing,
        StepStatus::UndoUnknown,
    ];
    let mut view = views::under_way();
    let told = states.map(|status| {
        let plan = view.now.plan_under_way.as_mut().expect("it is under way");
        plan.status = status;
        plan.aborted_by = (status == StepStatus::Undoing).then(|| "root".to_owned());
        let services = Services { services: vec![ServiceSummary::from(&view)], daemon: DaemonView::default() };
        let text = render::status(&services, PLAIN());
        text.lines().skip_while(|line| !line.contains("rolling back v")).take(2).collect::<Vec<_>>().join("\n")
    });
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn where_a_restart_comes_first_its_gates_are_shown() {
    let view = views::partly_failing();
    let mut free = views::partly_failing();
    free.now.restart_gates.truncate(1);
    let explained = render::explanation(&Explanation::from(&view), PLAIN());
    let (_, restart) = explained.split_once("Restart of what fails, which comes before a rollback").expect("a heading");
    let (restart, rollback) = restart.split_once("\nRollback").expect("the rollback's own gates");
    assert!(restart.contains("paused by oncall") && !restart.contains("cooldown"), "{restart}");
    assert!(rollback.contains("cooldown"), "{rollback}");
    let status = |view| {
        let services = Services { services: vec![ServiceSummary::from(view)], daemon: DaemonView::default() };
        render::status(&services, PLAIN())
    };
    let told = status(&view);
    assert!(
        told.contains("a restart of what fails is held by: not_paused") && told.contains("after a restart"),
        "{told}"
    );
    assert!(status(&free).contains("what fails is to be restarted"), "{}", status(&free));
}

#[test]
fn a_rollback_by_hand_with_nothing_to_go_back_to() {
    insta::assert_snapshot!(render::rollback(&views::preview_of_nothing(), PLAIN()));
}

#[test]
fn an_incident_that_waits_for_people_names_their_next_commands() {
    let state = views::refused().now;
    let mut incident = views::open_incident();
    "open: the rollback was refused".clone_into(&mut incident.state);
    incident.approval = None;
    incident.timeline.clear();
    incident.path.questions.clear();
    let held = ServiceState { by_hand: None, ..state.clone() };
    let told = [state, held].map(|state| render::incident(&incident.just_now(&state), PLAIN()));
    insta::assert_snapshot!(told.join("----\n"));
    let mut another = incident.clone();
    another.id = "solvereign-api-18".into();
    assert_eq!(another.just_now(&views::refused().now), another, "what is so of one incident is said of no other");
}

#[test]
fn how_far_verification_has_got() {
    let mut view = views::verifying();
    let mut incident = views::open_incident();
    incident.id = "under-way-1".into();
    view.now.incident = Some(incident.id.clone());
    incident.approval = None;
    incident.timeline.clear();
    incident.path.questions.clear();
    let mut told = vec![render::incident(&incident.just_now(&view.now), PLAIN())];
    let plan = view.now.plan_under_way.as_mut().expect("it is under way");
    let verification = plan.verification.as_mut().expect("it verifies");
    verification.healthy_seconds = 0.0;
    verification.obstacle = Some("error_rate_critical is unknown".to_owned());
    let services = Services { services: vec![ServiceSummary::from(&view)], daemon: DaemonView::default() };
    told.push(render::status(&services, PLAIN()));
    insta::assert_snapshot!(told.join("----\n"));
}

#[test]
fn what_an_incident_waits_for_is_its_services_state() {
    let state = |waits_for: Option<WaitsFor>| {
        let mut view = views::refused();
        view.now.waits_for = waits_for;
        let services = Services { services: vec![ServiceSummary::from(&view)], daemon: DaemonView::default() };
        let text = render::status(&services, PLAIN());
        text.lines().find(|line| line.starts_with("refused")).expect("its row").to_owned()
    };
    for waits_for in [WaitsFor::Approval, WaitsFor::Refused, WaitsFor::Denied, WaitsFor::Persists, WaitsFor::Stuck] {
        let row = state(Some(waits_for));
        assert!(row.contains(waits_for.words()) && !row.contains("watched"), "{row}");
    }
    assert!(state(None).contains("impaired"), "a signal of it is lost");
}

#[test]
fn a_configuration_that_is_not_in_force_is_told_with_where_what_and_how() {
    let trouble = |line: Option<usize>, more| ConfigurationTrouble {
        file: "/etc/backstop/backstop.yaml".to_owned(),
        line,
        column: line.map(|_| 21),
        why: "services(api).gates.settle: `0s` is not between 100ms and 1d".to_owned(),
        help: "write 100ms or more".to_owned(),
        more,
    };
    let told = [trouble(Some(11), 0), trouble(Some(11), 2), trouble(None, 0)].map(|trouble| {
        let daemon = DaemonView { configuration: Some(trouble), ..DaemonView::default() };
        render::status(&Services { services: Vec::new(), daemon }, PLAIN())
    });
    insta::assert_snapshot!(told.join("----\n"));
}

#[test]
fn a_dry_run_beside_a_plan_says_that_it_runs() {
    let mut preview = views::preview(true);
    preview.plan_under_way = views::under_way().now.plan_under_way;
    preview.all_the_same = None;
    let text = render::rollback(&preview, PLAIN());
    let line = "A plan runs already, and another begins only after it: rolling back v1.2.4 -> v1.2.3: step 3 of 7, \
                wait for the rollout, since 12s";
    assert!(text.replace('\n', " ").contains(line), "{text}");
    assert!(text.contains("\nSteps\n") && text.ends_with("It would be refused.\n"), "{text}");
}

#[test]
fn what_waits_under_a_pause_says_how_to_take_that_back() {
    for (of_all, command) in [(false, "backstop resume solvereign-api"), (true, "backstop resume")] {
        let mut view = views::to_be_approved();
        let pause = views::healthy().now.paused.map(|pause| PauseView { of_all, ..pause });
        view.now.paused = pause;
        let services = Services { services: vec![ServiceSummary::from(&view)], daemon: DaemonView::default() };
        let status = render::status(&services, PLAIN());
        let incident = views::open_incident().just_now(&view.now);
        let explained = render::explanation(&Explanation::from(&view), PLAIN());
        for text in [status, explained, render::incident(&incident, PLAIN())] {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains("; it cannot be approved while the pause lasts"), "{text}");
            let commands: Vec<_> = text.lines().filter_map(|line| line.split_once("backstop ")).collect();
            assert_eq!(format!("backstop {}", commands[0].1), command, "first: {text}");
            assert!(commands[1].1.starts_with("incident approve"), "{text}");
        }
    }
}

#[test]
fn an_incident_shows_what_is_live_why_it_was_denied_and_how_to_resume() {
    let mut view = views::refused();
    view.now.paused = views::healthy().now.paused;
    view.now.waits_for = Some(WaitsFor::Stuck);
    let mut incident = views::open_incident();
    let approval = incident.approval.as_mut().expect("it was asked for");
    (approval.state, approval.by, approval.reason) = ("denied", Some("root".to_owned()), Some("a campaign".to_owned()));
    incident.timeline.clear();
    incident.path.questions.clear();
    let told = render::incident(&incident.just_now(&view.now), PLAIN());
    view.now.target_unseen = Some("read the link: it is not there".to_owned());
    let unseen = render::incident(&incident.just_now(&view.now), PLAIN());
    let line = unseen.lines().find(|line| line.contains("  live ")).expect("a line").to_owned();
    insta::assert_snapshot!(format!("{told}----\n{line}\n"));
}

#[test]
fn an_incident_lasted_as_long_as_its_page_says() {
    let mut view = views::resolved_incident();
    view.opened_at = views::at(0);
    view.resolved_at = Some(WallTime::from_millis(views::at(21).as_millis() + 700));
    assert!(render::incident(&view, PLAIN()).contains(", after 21s\n"));
}
