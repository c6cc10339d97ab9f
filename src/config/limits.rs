//! The bounds of a configuration, each with its reason.

/// Largest file that is read, in bytes: two thousand services fit, and a wrong path to a log or an image is told at once.
pub const FILE_LIMIT_BYTES: usize = 1024 * 1024;
/// Largest file that `${file:…}` reads, in bytes: keys and tokens are far smaller.
pub const SECRET_FILE_LIMIT_BYTES: usize = 64 * 1024;
/// Most diagnostics that are kept: more than anybody mends in one go, few enough to be printed.
pub const DIAGNOSTICS_LIMIT: usize = 100;
/// Deepest nesting of YAML: the deepest path of the configuration is a tree of conditions, well within it.
pub const NESTING_LIMIT: usize = 64;
/// Most nodes of the YAML, aliases expanded: what a file of [`FILE_LIMIT_BYTES`] can hold without aliases, so that an
/// alias bomb is refused and an honest file never is.
pub const NODES_LIMIT: usize = 500_000;
/// Most events that aliases may replay, for the same reason.
pub const ALIAS_EVENTS_LIMIT: usize = 100_000;
/// Most services: one process watches so many on two cores.
pub const SERVICES_LIMIT: usize = 2_000;
/// Most signals of one service: its state is walked on each sample.
pub const SIGNALS_LIMIT: usize = 256;
/// Most own conditions of one service; their places are kept in 16 bits together with the built-in ones.
pub const CONDITIONS_LIMIT: usize = 256;
/// Most parts (`any`, `all`, `not` and facts) in all own conditions of one service: each is evaluated on each sample.
pub const EXPRESSION_PARTS_LIMIT: usize = 2_048;
/// Deepest nesting of `any`, `all` and `not`: more cannot be read by a person at night.
pub const EXPRESSION_DEPTH_LIMIT: usize = 8;
/// Deepest nesting of `ask_next`, for the same reason.
pub const TREE_DEPTH_LIMIT: usize = 8;
/// Most questions of one tree: each is rendered into every page's path.
pub const QUESTIONS_LIMIT: usize = 256;
/// Most channels: each has a sender of its own.
pub const CHANNELS_LIMIT: usize = 64;
/// Longest name, in bytes: names become parts of file names, metrics and incident ids.
pub const NAME_LIMIT_BYTES: usize = 63;
/// Longest text value, in bytes: a query or a selector is shorter.
pub const TEXT_LIMIT_BYTES: usize = 16 * 1024;
/// Most words of a command line.
pub const COMMAND_WORDS_LIMIT: usize = 256;
/// Most entries of the small lists and maps (headers, tokens, environment): nobody writes more by hand.
pub const SMALL_LIST_LIMIT: usize = 128;
/// Most bytes of a key or value that a diagnostic repeats.
pub const SHOWN_LIMIT_BYTES: usize = 80;
/// Most bytes of a source line that a diagnostic shows.
pub const EXCERPT_LIMIT_BYTES: usize = 240;
