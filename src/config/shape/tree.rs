//! The decision tree, and what follows from consider.

use super::{
    DAY, Items, NAME, Object, SHORTEST, Scalar, Shape, TEXT, choice, default, duration, object, optional, required,
};
use crate::config::limits::QUESTIONS_LIMIT;

/// A list of questions.
pub(super) static QUESTIONS: Items =
    Items { item: Shape::Object(&QUESTION), at_least: 1, at_most: QUESTIONS_LIMIT, command_line: false };

static QUESTION: Object = choice(
    "question",
    "What follows from yes.",
    &["then", "ask_next"],
    &[
        required("ask", TEXT, "As a person would ask it."),
        required("when", NAME, "The condition behind it, built in or own."),
        optional(
            "then",
            Shape::Scalar(Scalar::Choice(&["roll_back", "consider", "monitor"])),
            "The verdict that follows from yes.",
        ),
        optional(
            "ask_next",
            Shape::List(&QUESTIONS),
            "Further questions that follow from yes; if none says yes, the list above goes on.",
        ),
        optional(
            "plan",
            Shape::Scalar(Scalar::Choice(&["quick", "full", "stop_writes", "restart_failing", "gather"])),
            "The plan for it, where another than the usual one is wanted.",
        ),
    ],
);

/// What follows from consider.
pub(super) static CONSIDER: Object = object(
    "consider",
    "What follows from a verdict of consider.",
    &[
        default(
            "then",
            Shape::Scalar(Scalar::Choice(&["ask", "roll_back"])),
            "ask",
            "ask: page for approval at once; roll_back: do it when it is still so after the window.",
        ),
        default("window", duration(SHORTEST, DAY), "5m", "The window."),
    ],
);
