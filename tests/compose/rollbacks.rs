//! Rollbacks by an override file of ours.

use backstop::core::operation::Operation;

use super::bed::{Bed, Fate, available, current, done, failed, is_settled_at, switch, until};

#[tokio::test]
async fn a_release_is_gone_back_to_and_the_projects_files_stay_untouched() {
    let bed = Bed::new("undone");
    let target = bed.two_releases(Fate::Serves, &bed.published()).await;
    until(&target, "settled", is_settled_at("2")).await;
    let before = std::fs::read_to_string(bed.here().join("compose.yaml")).expect("read");
    let ensured = done(bed.operate(&target, Operation::EnsureAvailable { version: "1".into() }, 20).await);
    assert!(ensured.contains("1 is there as image"), "{ensured}");
    let switched = done(bed.operate(&target, switch("2", "1"), 40).await);
    assert!(switched.contains("is up, pinned by") && switched.contains("override.yaml"), "{switched}");
    done(bed.operate(&target, Operation::WaitRollout { version: "1".into() }, 40).await);
    assert_eq!(bed.serves().as_deref(), Some("1"));
    let seen = target.observe().await.expect("it is seen");
    assert_eq!((current(&seen), available(&seen)), ("1", vec!["2"]));
    assert_eq!(seen.hindrances(), []);
    assert_eq!(std::fs::read_to_string(bed.here().join("compose.yaml")).expect("read"), before);
    // Once more does nothing: the container is the same.
    let container = bed.docker_says(&["compose", "ps", "--quiet", "api"]);
    done(bed.operate(&target, switch("2", "1"), 40).await);
    assert_eq!(bed.docker_says(&["compose", "ps", "--quiet", "api"]), container);
    // After a restart of the daemon it is called the same.
    let known: Vec<_> = seen.current.iter().chain(&seen.available).cloned().collect();
    let again = bed.target_anew(&known);
    assert_eq!(current(&again.observe().await.expect("it is seen")), "1");
    // A plain `up` brings back what the files say, and that is known for what it is.
    bed.up();
    let seen = until(&target, "the files' own release", |seen| current(seen) == "2").await;
    assert_eq!(available(&seen), ["1"]);
    // And taking a rollback back, when the files name that very image, needs no pin.
    done(bed.operate(&target, switch("2", "1"), 40).await);
    let taken_back = done(bed.operate(&target, switch("1", "2"), 40).await);
    assert!(taken_back.contains("without"), "{taken_back}");
    assert_eq!(current(&until(&target, "taken back", is_settled_at("2")).await), "2");
}

#[tokio::test]
async fn scale_profiles_and_environment_files_are_kept() {
    let bed = Bed::new("scaled");
    for tag in ["1", "2"] {
        bed.image(tag, Fate::Serves);
    }
    std::fs::write(bed.directory.path().join("prod.env"), "LIMIT=7\n").expect("written");
    let more = "    profiles: [full]\n    environment: {LIMIT: '${LIMIT}'}\n";
    let environment = bed.directory.path().join("prod.env");
    let environment = environment.to_str().expect("text");
    let up = |tag: &str| {
        bed.write(&bed.file(&bed.name_of(tag), more));
        let all = ["compose", "--env-file", environment, "--profile", "full", "up", "--detach", "--scale", "api=3"];
        bed.docker_says(&all);
    };
    let mut form = bed.form();
    form.profiles = vec!["full".to_owned()];
    form.env_file = Some(environment.into());
    let target = bed.target_of(form);
    up("1");
    until(&target, "the first release", |seen| is_settled_at("1")(seen) && super::bed::ready(seen) == 3).await;
    up("2");
    until(&target, "the second release", |seen| is_settled_at("2")(seen) && super::bed::ready(seen) == 3).await;
    done(bed.operate(&target, switch("2", "1"), 60).await);
    done(bed.operate(&target, Operation::WaitRollout { version: "1".into() }, 40).await);
    assert_eq!(bed.containers().len(), 3, "{:?}", bed.containers());
    for number in 1..=3 {
        let container = format!("{}-api-{number}", bed.project);
        let variables = bed.docker_says(&["inspect", "--format", "{{json .Config.Env}} {{.Image}}", &container]);
        assert!(variables.contains("LIMIT=7"), "{variables}");
    }
}

#[tokio::test]
async fn an_image_that_was_pruned_is_known_before_anything_is_done() {
    let bed = Bed::new("pruned");
    let target = bed.two_releases(Fate::Serves, "").await;
    let seen = until(&target, "settled", is_settled_at("2")).await;
    assert_eq!(available(&seen), ["1"]);
    // As `docker image prune --all` does, which takes our tag, too.
    let first = bed.docker_says(&["image", "inspect", "--format", "{{.Id}}", &bed.name_of("1")]);
    bed.docker_says(&["rmi", "--force", &first]);
    until(&target, "nothing to go back to", |seen| available(seen).is_empty()).await;
    let ensured = bed.operate(&target, Operation::EnsureAvailable { version: "1".into() }, 20).await;
    assert!(failed(&ensured).contains("is gone, and no registry is known to have it"), "{ensured:?}");
    let switched = bed.operate(&target, switch("2", "1"), 20).await;
    assert!(failed(&switched).contains("its image"), "{switched:?}");
    assert_eq!(current(&target.observe().await.expect("it is seen")), "2");
}
