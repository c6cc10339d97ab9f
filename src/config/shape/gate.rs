//! Gates and verification.

use super::{DAY, HOUR, Object, SHORTEST, Scalar, Shape, default, duration, object};

/// What must hold before a rollback.
pub(super) static GATES: Object = object(
    "gates",
    "What must hold before a rollback.",
    &[
        default(
            "known_good",
            Shape::Scalar(Scalar::Choice(&["soaked", "previous"])),
            "soaked",
            "soaked: only what was healthy here or was marked; previous: whatever ran before.",
        ),
        default(
            "known_good_after",
            duration(SHORTEST, 30 * DAY),
            "10m",
            "Healthy this long, with min_requests served, a release becomes a place to go back to.",
        ),
        default(
            "settle",
            duration(SHORTEST, DAY),
            "120s",
            "A rollout may take so long to its first healthy answer before anything is opened.",
        ),
        default(
            "deployed_within",
            duration(SHORTEST, 366 * DAY),
            "24h",
            "Older than this, the deploy is not to blame.",
        ),
        default("rollbacks", Shape::Object(&ROLLBACKS), "{}", "The budget of rollbacks."),
        default("cooldown", duration(SHORTEST, 30 * DAY), "10m", "Time between two rollbacks."),
        default(
            "shared_cause",
            Shape::Object(&SHARED_CAUSE),
            "{}",
            "Several services at once point to what they share.",
        ),
        default(
            "gitops",
            Shape::Scalar(Scalar::Choice(&["refuse", "suspend", "act"])),
            "refuse",
            "What to do with an object that a GitOps controller owns.",
        ),
        default(
            "resume_within",
            duration(SHORTEST, DAY),
            "15m",
            "A plan found unfinished at start goes on within this time; steps that restore traffic always do.",
        ),
    ],
);

static ROLLBACKS: Object = object(
    "rollbacks",
    "The budget of rollbacks.",
    &[
        default("at_most", Shape::Scalar(Scalar::Whole(1, 1_000)), "2", "The most."),
        default("over", duration(SHORTEST, 30 * DAY), "1h", "Over this time."),
    ],
);

static SHARED_CAUSE: Object = object(
    "shared_cause",
    "Several services at once point to what they share.",
    &[
        default("services", Shape::Scalar(Scalar::Whole(2, 1_000)), "3", "So many services."),
        default("within", duration(SHORTEST, DAY), "5m", "Within this time."),
        default("wait", duration(100, HOUR), "3s", "How long acting waits, so that the last of them can be counted."),
    ],
);

/// How a rollback is proved.
pub(super) static VERIFY: Object = object(
    "verify",
    "How a rollback is proved.",
    &[
        default("healthy_for", duration(SHORTEST, DAY), "60s", "All that fired must be clear for so long."),
        default("timeout", duration(SHORTEST, DAY), "10m", "Given up after so long."),
    ],
);
