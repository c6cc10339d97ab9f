//! People who stop, pause and take down, and what an exchange leaves that was cut short.

use backstop::core::{
    operation::OperationOutcome,
    release::{Hindrance, Observation},
};

use super::bed::{Bed, Fate, current, done, is_settled_at, switch, until};

fn is_theirs(seen: &Observation, why: &str) -> bool {
    seen.hindrances().iter().any(|one| matches!(one, Hindrance::NotUndoable { why: said } if said.contains(why)))
}

#[tokio::test]
async fn what_people_stop_pause_or_take_down_is_no_failure_and_not_undone() {
    let bed = Bed::new("by-hand");
    for (policy, fate) in [("\"no\"", Fate::Serves), ("on-failure", Fate::Serves), ("unless-stopped", Fate::Serves)] {
        bed.image("1", fate);
        bed.deploy_with("1", &format!("    restart: {policy}\n"));
        let target = bed.target();
        until(&target, "it serves", is_settled_at("1")).await;
        bed.docker_says(&["compose", "stop", "--timeout", "1", "api"]);
        let seen = until(&target, "it was stopped", |seen| is_theirs(seen, "stopped or paused by hand")).await;
        let failing = seen.live_instances().map(|live| live.failing);
        assert_eq!((seen.failing.as_deref(), failing.unwrap_or_default()), (None, 0), "{policy}: {seen:#?}");
        // A Backstop that is started later finds it so, too.
        let later = bed.target_anew(&[]);
        until(&later, "it was stopped", |seen| is_theirs(seen, "stopped or paused by hand") && seen.failing.is_none())
            .await;
        bed.docker_says(&["compose", "start", "api"]);
        until(&target, "it serves again", |seen| seen.hindrances().is_empty() && is_settled_at("1")(seen)).await;
        bed.docker_says(&["compose", "pause", "api"]);
        until(&target, "it is paused", |seen| is_theirs(seen, "stopped or paused by hand")).await;
        bed.docker_says(&["compose", "unpause", "api"]);
        bed.docker_says(&["compose", "down", "--timeout", "1"]);
        until(&target, "it is gone", |seen| is_theirs(seen, "taken down by hand") && seen.current.is_none()).await;
    }
}

/// What ends by itself fails all the same.
#[tokio::test]
async fn what_was_told_something_and_ends_later_by_itself_fails() {
    let bed = Bed::new("told");
    bed.image("1", Fate::Serves);
    bed.deploy("1");
    let target = bed.target();
    until(&target, "it serves", is_settled_at("1")).await;
    let name = format!("{}-api-1", bed.project);
    bed.docker_says(&["kill", "--signal", "WINCH", &name]);
    bed.docker_says(&["exec", &name, "sh", "-c", "kill -9 -1"]);
    let seen =
        until(&target, "it has ended", |seen| seen.workload.as_ref().is_some_and(|all| all.instances.failing > 0))
            .await;
    assert!(!is_theirs(&seen, "by hand"), "{seen:#?}");
}

/// A container as Compose makes it to take another one's place, by an override of ours.
fn leave_half_way(bed: &Bed, tag: &str) {
    let image = bed.docker_says(&["image", "inspect", "--format", "{{.Id}}", &bed.name_of(tag)]);
    let old = bed.docker_says(&["compose", "ps", "--all", "--quiet", "api"]);
    let name = format!("0123456789ab_{}-api-1", bed.project);
    let labels = [
        format!("com.docker.compose.project={}", bed.project),
        "com.docker.compose.service=api".to_owned(),
        "com.docker.compose.container-number=1".to_owned(),
        "com.docker.compose.oneoff=False".to_owned(),
        "com.docker.compose.config-hash=half".to_owned(),
        format!("com.docker.compose.project.working_dir={}", bed.here().display()),
        "com.docker.compose.version=2.26.1".to_owned(),
        format!("com.docker.compose.replace={}", old.trim()),
        format!("backstop.io/version={tag}"),
        format!("backstop.io/image={}", image.trim()),
    ];
    let mut arguments = vec!["create", "--name", &name];
    for label in &labels {
        arguments.extend(["--label", label]);
    }
    let image = bed.name_of(tag);
    arguments.push(&image);
    bed.docker_says(&arguments);
}

#[tokio::test]
async fn what_is_left_of_an_exchange_that_was_cut_short_is_in_nobodys_way() {
    for old_is_there in [true, false] {
        let bed = Bed::new(if old_is_there { "half-way" } else { "half-way-gone" });
        let target = bed.two_releases(Fate::Serves, &bed.published()).await;
        until(&target, "settled", is_settled_at("2")).await;
        leave_half_way(&bed, "1");
        if !old_is_there {
            bed.docker_says(&["rm", "--force", &format!("{}-api-1", bed.project)]);
        }
        // Whoever is exchanging it just now is not cut short.
        let mut outcome = bed.operate(&target, switch("2", "1"), 40).await;
        assert_eq!(matches!(outcome, OperationOutcome::Unknown(_)), old_is_there, "{outcome:?}");
        for _ in 0..100 {
            if !matches!(outcome, OperationOutcome::Unknown(_)) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            outcome = bed.operate(&target, switch("2", "1"), 40).await;
        }
        done(outcome);
        let seen = until(&target, "the first release", is_settled_at("1")).await;
        assert_eq!((current(&seen), bed.serves().as_deref()), ("1", Some("1")));
        assert_eq!(bed.containers(), [format!("{}-api-1 running", bed.project)], "nothing is left over");
    }
}
