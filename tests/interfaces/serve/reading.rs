//! What is read: services, incidents, health.

use std::sync::atomic::Ordering;

use backstop::{
    core::{
        gate::Gate,
        name::ServiceIndex,
        time::BootTime,
        view::{DaemonView, IncidentView, ServiceView, WaitsFor},
    },
    serve::{
        LOOP_TURN_LIMIT,
        answers::{Deploys, Explanation, Incidents, Services},
    },
};
use reqwest::{Method, StatusCode, header};

use super::{plain, problem};
use crate::{daemon, views};

#[tokio::test]
async fn views_come_back_as_they_were_published() {
    let daemon = plain().await;
    let services: Services = daemon.get("/api/v1/services").await.json().await.expect("services");
    let names: Vec<_> = services.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["billing", "solvereign-api"]);
    assert_eq!(services.daemon, views::daemon());
    assert_eq!(services.services[1].held_by, [Gate::FaultAfterDeploy, Gate::Cooldown]);
    assert_eq!(services.services[1].rollback_possible, backstop::core::answer::Answer::No);

    let service: ServiceView = daemon.get("/api/v1/services/solvereign-api").await.json().await.expect("a service");
    assert_eq!(service, views::rolling_back());
    let explanation: Explanation =
        daemon.get("/api/v1/services/solvereign-api/explain").await.json().await.expect("an explanation");
    assert_eq!(explanation, Explanation::from(&views::rolling_back()));
    let deploys: Deploys = daemon.get("/api/v1/services/solvereign-api/deploys").await.json().await.expect("deploys");
    assert_eq!(deploys.known, views::deploys());
    let incident: IncidentView = daemon.get("/api/v1/incidents/solvereign-api-16").await.json().await.expect("one");
    assert_eq!(incident, views::resolved_incident());
}

#[tokio::test]
async fn an_open_incident_is_shown_with_what_is_so_just_now() {
    let daemon = plain().await;
    let mut view = views::refused();
    view.name = "solvereign-api".into();
    daemon.publisher.service(ServiceIndex(1), view.clone());
    let incident: IncidentView = daemon.get("/api/v1/incidents/solvereign-api-17").await.json().await.expect("one");
    assert_eq!((incident.waits_for, &incident.by_hand), (Some(WaitsFor::Refused), &view.now.by_hand));
    assert!(incident.by_hand.is_some());
}

#[tokio::test]
async fn incidents_are_filtered() {
    let daemon = plain().await;
    for (query, expected) in [
        ("", &["solvereign-api-17", "solvereign-api-16"][..]),
        ("?open=true", &["solvereign-api-17"]),
        ("?open=false", &["solvereign-api-16"]),
        ("?service=billing", &[]),
        ("?service=solvereign-api&open=false", &["solvereign-api-16"]),
    ] {
        let answer: Incidents = daemon.get(&format!("/api/v1/incidents{query}")).await.json().await.expect("incidents");
        let ids: Vec<_> = answer.incidents.iter().map(|incident| incident.id.as_str()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    problem(daemon.get("/api/v1/incidents?service=biling").await, StatusCode::NOT_FOUND).await;
    for query in ["?open=maybe", "?opne=true"] {
        problem(daemon.get(&format!("/api/v1/incidents{query}")).await, StatusCode::BAD_REQUEST).await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_as_a_problem() {
    let daemon = plain().await;
    for path in [
        "/",
        "/api/v1",
        "/api/v1/servces",
        "/api/v1/services/none",
        "/api/v1/services/none/explain",
        "/api/v1/services/none/deploys",
        "/api/v1/incidents/none-1",
        "/api/v2/services",
    ] {
        problem(daemon.get(path).await, StatusCode::NOT_FOUND).await;
    }
    problem(daemon.get("/api/v1/services/%ff").await, StatusCode::BAD_REQUEST).await;
    for (method, path, allow) in [
        (Method::DELETE, "/api/v1/services", "GET,HEAD"),
        (Method::GET, "/api/v1/incidents/solvereign-api-17/approve", "POST"),
        (Method::PUT, "/healthz", "GET,HEAD"),
    ] {
        let response = daemon.send(method, path, None, None).await;
        assert_eq!(response.headers()[header::ALLOW], allow, "{path}");
        problem(response, StatusCode::METHOD_NOT_ALLOWED).await;
    }
}

#[tokio::test]
async fn health_and_readiness_say_what_is_wrong() {
    let daemon = plain().await;
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    daemon.publisher.daemon(DaemonView { store_failing: Some("disk full".to_owned()), ..views::daemon() });
    let told = problem(daemon.get("/readyz").await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(told["detail"], "the journal cannot be written: disk full");

    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    let later = daemon.clock.load(Ordering::SeqCst) + u64::try_from(LOOP_TURN_LIMIT.as_nanos()).expect("fits") + 1;
    daemon.clock.store(later, Ordering::SeqCst);
    problem(daemon.get("/healthz").await, StatusCode::SERVICE_UNAVAILABLE).await;
    daemon.publisher.turned(BootTime::from_nanos(later));
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
}

#[test]
fn readiness_waits_for_the_journal_and_for_every_service() {
    let policy = daemon::policy(&["billing", "solvereign-api"]);
    let (publisher, board) = backstop::serve::board(&policy, std::sync::Arc::new(BootTime::default));
    assert_eq!(board.ready(), Err("the journal is still being read".to_owned()));
    publisher.started();
    publisher.service(ServiceIndex(0), views::healthy());
    assert_eq!(board.ready(), Err("service solvereign-api has not been evaluated yet".to_owned()));
    publisher.service(ServiceIndex(1), views::rolling_back());
    assert_eq!(board.ready(), Ok(()));
}
