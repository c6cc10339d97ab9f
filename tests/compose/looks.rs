//! What a look at a project shows.

use backstop::core::release::Hindrance;
use serde_json::json;

use super::bed::{Bed, Fate, available, current, is_settled_at, ready, until};

#[tokio::test]
async fn a_deploy_is_seen_with_its_image_and_what_could_be_gone_back_to() {
    let bed = Bed::new("seen");
    let (first, second) = (bed.image("1", Fate::Serves), bed.image("2", Fate::Serves));
    let target = bed.target();
    bed.deploy("1");
    let seen = until(&target, "the first release", is_settled_at("1")).await;
    assert_eq!(seen.current.as_ref().and_then(|release| release.digest.clone()), Some(first));
    // What was never live here is there, too, for people to mark.
    assert_eq!(available(&seen), ["2"]);
    bed.deploy("2");
    let seen = until(&target, "the second release", is_settled_at("2")).await;
    assert_eq!(seen.current.as_ref().and_then(|release| release.digest.clone()), Some(second));
    assert_eq!((available(&seen), seen.failing.as_deref()), (vec!["1"], None));
    assert_eq!(seen.hindrances(), []);
    // Another image under the same tag is another release.
    bed.image("2", Fate::Unhealthy);
    bed.up();
    let seen = until(&target, "another image", |seen| current(seen) != "2").await;
    assert!(current(&seen).starts_with("2+"), "{seen:?}");
    assert_eq!(available(&seen), ["2", "1"]);
}

#[tokio::test]
async fn a_bad_release_says_how_it_fails() {
    for (name, fate, more, why) in [
        ("exits", Fate::Exits, "", "it exited with status 3"),
        ("loops", Fate::Exits, "    restart: always\n", "it was started again"),
        ("unhealthy", Fate::Unhealthy, "", "unhealthy, its check failed"),
    ] {
        let bed = Bed::new(name);
        let target = bed.two_releases(fate, more).await;
        let seen = until(&target, why, |seen| seen.failing.as_ref().is_some_and(|said| said.contains(why))).await;
        assert_eq!(ready(&seen), 0, "{seen:?}");
        assert!(seen.failing.as_ref().is_some_and(|said| said.contains("-api-1")), "{seen:?}");
        assert_eq!(available(&seen), ["1"]);
    }
}

#[tokio::test]
async fn events_tell_when_to_look() {
    let bed = Bed::new("events");
    bed.image("1", Fate::Serves);
    let target = bed.target();
    bed.deploy("1");
    until(&target, "the first release", is_settled_at("1")).await;
    // The engine's events come a moment later than its answers.
    for _ in 0..100 {
        let _seen = target.observe().await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if !target.has_changed() {
            break;
        }
    }
    assert!(!target.has_changed(), "nothing has happened");
    bed.docker_says(&["kill", &format!("{}-api-1", bed.project)]);
    for _ in 0..100 {
        if target.has_changed() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(target.has_changed(), "it was killed");
    until(&target, "it has ended", |seen| ready(seen) == 0).await;
}

#[tokio::test]
async fn what_changed_beside_the_image_is_told() {
    let bed = Bed::new("environment");
    bed.image("1", Fate::Serves);
    bed.image("2", Fate::Serves);
    let target = bed.target();
    let with = |limit: u8| format!("{}    environment: {{LIMIT: '{limit}', PASSWORD: hunter2}}\n", bed.published());
    bed.deploy_with("1", &with(5));
    until(&target, "the first release", is_settled_at("1")).await;
    bed.deploy_with("2", &with(6));
    let seen = until(&target, "the second release", is_settled_at("2")).await;
    let way = seen.way_back(&"1".into()).expect("something stays");
    assert_eq!(way.leaves.as_deref(), Some("what changed since 1 stays as it is: environment LIMIT"));
    assert_eq!(way.hindered, None);
    // Configuration alone: going back by the image would change nothing.
    bed.deploy_with("2", &with(7));
    let seen = until(&target, "configured otherwise", |seen| current(seen).starts_with("2+")).await;
    let way = seen.way_back(&"2".into()).expect("hindered");
    assert!(way.hindered.as_ref().is_some_and(|why| why.contains("(environment LIMIT)")), "{way:?}");
    // No value is kept anywhere.
    for file in std::fs::read_dir(bed.kept()).expect("it is there") {
        let text = std::fs::read(file.expect("an entry").path()).expect("read");
        assert!(!String::from_utf8_lossy(&text).contains("hunter2"));
    }
}

#[tokio::test]
async fn files_that_were_edited_and_not_deployed_hold_a_rollback() {
    let bed = Bed::new("edited");
    let target = bed.two_releases(Fate::Serves, "").await;
    let seen = until(&target, "settled", is_settled_at("2")).await;
    assert_eq!(seen.hindrances(), []);
    // Another image in the file is what every deploy begins with, and a rollback leaves it there.
    bed.write(&bed.file(&bed.name_of("3"), ""));
    let seen = target.observe().await.expect("it is seen");
    assert_eq!(seen.hindrances(), []);
    bed.write(&bed.file(&bed.name_of("2"), "    environment: {LIMIT: '0'}\n"));
    let is_held = |why: &Hindrance| matches!(why, Hindrance::NotUndoable { why } if why.contains("say something else of the service api"));
    until(&target, "it is held", |seen| seen.hindrances().iter().any(is_held)).await;
    bed.write(&bed.file(&bed.name_of("2"), ""));
    until(&target, "it was taken back", |seen| seen.hindrances().is_empty()).await;
}

#[tokio::test]
async fn a_service_that_was_put_up_alone_is_no_edited_one() {
    let bed = Bed::new("alone");
    bed.image("1", Fate::Serves);
    bed.image("2", Fate::Serves);
    let more = format!("    depends_on: [other]\n  other:\n    image: {}\n    init: true\n", bed.name_of("1"));
    let target = bed.target();
    bed.deploy_with("1", &more);
    until(&target, "the first release", is_settled_at("1")).await;
    bed.write(&bed.file(&bed.name_of("2"), &more));
    bed.docker_says(&["compose", "up", "--detach", "--no-deps", "api"]);
    let seen = until(&target, "the second release", is_settled_at("2")).await;
    assert_eq!(seen.hindrances(), []);
    super::bed::done(bed.operate(&target, super::bed::switch("2", "1"), 40).await);
    let seen = until(&target, "rolled back", is_settled_at("1")).await;
    assert_eq!(seen.hindrances(), [], "nor is one that we put up");
    // What is changed beside the image since then is.
    bed.write(
        &bed.file(&bed.name_of("3"), &more.replace("    depends_on", "    environment: {A: '1'}\n    depends_on")),
    );
    until(&target, "it is held", |seen| !seen.hindrances().is_empty()).await;
}

#[tokio::test]
async fn some_of_several_replicas_failing_is_a_partial_failure() {
    let bed = Bed::new("partial");
    bed.image("1", Fate::Serves);
    let target = bed.target();
    bed.deploy_with("1", "    scale: 3\n");
    until(&target, "three serve", |seen| ready(seen) == 3).await;
    // Its check fails from now on, and it goes on running.
    let container = format!("{}-api-2", bed.project);
    bed.docker_says(&["exec", &container, "busybox", "rm", "/www/health/ready"]);
    // On a machine under load another one's check takes too long once in a while.
    let fails_alone = |seen: &backstop::core::release::Observation| {
        seen.partial_failure().is_some_and(|live| live.ready == 2 && live.failing == 1)
    };
    let seen = until(&target, "one of them fails", fails_alone).await;
    let live = seen.partial_failure().expect("one fails");
    assert_eq!((live.all, live.ready, live.failing, live.to_restart.len()), (3, 2, 1, 1), "{live:?}");
    assert!(live.to_restart[0].name.starts_with(&container), "{live:?}");
    assert_eq!(seen.failing, None, "the release as a whole serves");
    // A restart is what the plan does; this container needs its file back to serve.
    let to_restart = live.to_restart.clone();
    let operation = backstop::core::operation::Operation::RestartFailing { version: "1".into(), instances: to_restart };
    let before = bed.docker_says(&["inspect", "--format", "{{.State.StartedAt}}", &container]);
    let note = super::bed::done(bed.operate(&target, operation, 30).await);
    assert!(note.contains("restarted"), "{note}");
    assert_ne!(bed.docker_says(&["inspect", "--format", "{{.State.StartedAt}}", &container]), before);
    for other in ["1", "3"] {
        let restarts =
            bed.docker_says(&["inspect", "--format", "{{.State.Status}}", &format!("{}-api-{other}", bed.project)]);
        assert_eq!(restarts, "running");
    }
}

#[tokio::test]
async fn images_of_releases_that_served_are_kept_by_a_tag_of_ours() {
    let bed = Bed::new("kept");
    let first = bed.image("1", Fate::Serves);
    let target = bed.target();
    bed.deploy("1");
    until(&target, "the first release", is_settled_at("1")).await;
    let tags = |image: &str| bed.docker_says(&["image", "inspect", "--format", "{{json .RepoTags}}", image]);
    assert!(tags(&first).contains("backstop.local/kept/"), "{}", tags(&first));
    // A new image under the same tag leaves the older one without a name but ours, and pruning leaves it alone.
    bed.image("1", Fate::Unhealthy);
    bed.docker_says(&["image", "prune", "--force"]);
    assert!(tags(&first).contains("backstop.local/kept/"));
    // Beyond the number that is kept, it is let go of.
    for number in 2..=6 {
        bed.image(&number.to_string(), Fate::Serves);
        bed.deploy(&number.to_string());
        until(&target, "the next release", is_settled_at(&number.to_string())).await;
    }
    let gone = || !bed.docker(&["image", "inspect", &first]).status.success();
    for _ in 0..50 {
        let _seen = target.observe().await;
        if gone() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(gone(), "nobody else has a name for it");
    let seen = target.observe().await.expect("it is seen");
    assert_eq!(json!(available(&seen)[..4]), json!(["5", "4", "3", "2"]));
}
