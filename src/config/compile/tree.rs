//! The decision tree.

use super::{
    super::decode::{did_you_mean, shown},
    Node, Sink, View,
    condition::Conditions,
    visible,
};
use crate::{
    config::{
        limits::{QUESTIONS_LIMIT, TREE_DEPTH_LIMIT},
        node::State,
        shape::Shape,
    },
    core::{
        policy::{Question, Then},
        verdict::{PlanKind, VerdictKind},
    },
};

/// The runbook's tree: question, condition, verdict, plan.
const DEFAULT: [(&str, &str, VerdictKind, Option<PlanKind>); 9] = [
    ("Is system down?", "system_down", VerdictKind::RollBack, None),
    ("Are health probes failing after the deploy?", "rollout_failing", VerdictKind::RollBack, None),
    ("Is data at risk?", "data_at_risk", VerdictKind::RollBack, Some(PlanKind::StopWrites)),
    ("Is a vulnerability exploited?", "security_exploited", VerdictKind::RollBack, None),
    ("Is error rate > 5%?", "error_rate_critical", VerdictKind::RollBack, None),
    ("Is error rate > 1%?", "error_rate_elevated", VerdictKind::Consider, None),
    ("Is key feature broken?", "key_feature_broken", VerdictKind::Consider, None),
    ("Is performance much degraded?", "performance_degraded", VerdictKind::Consider, None),
    ("Do several customers complain?", "complaints", VerdictKind::Consider, None),
];

/// The tree as written, or the runbook's own.
pub(super) fn tree(view: &View<'_>, conditions: &Conditions, sink: &mut Sink) -> Vec<Question> {
    if view.written("decision_tree").is_none() {
        return default(conditions);
    }
    let mut maker = Maker { conditions, sink, count: 0, shape: view.shape("decision_tree") };
    let questions = maker.questions(view.list("decision_tree"), &view.path_of("decision_tree"), 1);
    if maker.count > QUESTIONS_LIMIT {
        let message = format!("{}: more than {QUESTIONS_LIMIT} questions", view.path_of("decision_tree"));
        sink.error(&view.key_span("decision_tree"), message, "ask less");
    }
    questions
}

fn default(conditions: &Conditions) -> Vec<Question> {
    DEFAULT
        .iter()
        .map(|(ask, when, verdict, plan)| Question {
            ask: (*ask).into(),
            when: conditions.place(when).expect("it is built in"),
            then: Then::Verdict(*verdict),
            plan: *plan,
        })
        .collect()
}

struct Maker<'a> {
    conditions: &'a Conditions,
    sink: &'a mut Sink,
    count: usize,
    shape: Shape,
}

impl Maker<'_> {
    fn questions(&mut self, nodes: &[Node], path: &str, depth: usize) -> Vec<Question> {
        self.count += nodes.len();
        if depth > TREE_DEPTH_LIMIT {
            if let Some(node) = nodes.first() {
                let message = format!("{path}: nested deeper than {TREE_DEPTH_LIMIT}");
                self.sink.error(&node.span, message, "ask some of these questions further up");
            }
            return Vec::new();
        }
        let questions = nodes.iter().enumerate();
        questions.filter_map(|(place, node)| self.question(node, &format!("{path}[{}]", place + 1), depth)).collect()
    }

    fn question(&mut self, node: &Node, path: &str, depth: usize) -> Option<Question> {
        let view = View::of(node, self.shape, &node.span, path.to_owned());
        let when = self.when(&view);
        let then = match view.text("then").map(|then| then.value) {
            Some(word) if word == "roll_back" => Some(Then::Verdict(VerdictKind::RollBack)),
            Some(word) if word == "consider" => Some(Then::Verdict(VerdictKind::Consider)),
            Some(_) => Some(Then::Verdict(VerdictKind::Monitor)),
            None if view.written("ask_next").is_some() => {
                Some(Then::AskNext(self.questions(view.list("ask_next"), &view.path_of("ask_next"), depth + 1)))
            }
            None => None,
        };
        let plan = view.text("plan").and_then(|plan| plan_kind(&plan.value));
        if let Some(written) = view.written("plan")
            && !matches!(then, None | Some(Then::Verdict(VerdictKind::RollBack | VerdictKind::Consider)))
        {
            let message = format!("{}: a plan without `then: roll_back` or `then: consider`", view.path_of("plan"));
            self.sink.error(&written.span, message, "leave the plan out, or give the verdict that it belongs to");
        }
        let ask = view.text("ask").map(|ask| ask.value).unwrap_or_default();
        Some(Question { ask: ask.into(), when: when?, then: then?, plan })
    }

    fn when(&mut self, view: &View<'_>) -> Option<u16> {
        let node = view.usable("when").filter(|node| node.state == State::Fine)?;
        let place = self.conditions.place(node.text()?);
        if place.is_none() {
            let message = format!("{}: there is no condition called `{}`", view.path_of("when"), shown(visible(node)));
            self.sink.error(&node.span, message, did_you_mean(visible(node), self.conditions.names()));
        }
        place
    }
}

fn plan_kind(word: &str) -> Option<PlanKind> {
    [PlanKind::Quick, PlanKind::Full, PlanKind::StopWrites, PlanKind::RestartFailing, PlanKind::Gather]
        .into_iter()
        .find(|plan| plan.as_str() == word)
}
