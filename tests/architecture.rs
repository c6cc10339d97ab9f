//! Rules of the house that no compiler checks, held against the source text itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Most lines of one file. Most stay under 200.
const LINES_LIMIT: usize = 600;
/// Most lines of a file of tests: tables are long.
const TEST_LINES_LIMIT: usize = 800;
/// Lines of a small file.
const SMALL_LINES: usize = 200;
/// Most lines of the binary.
const MAIN_LINES_LIMIT: usize = 60;

/// Crates that the core may name, and nothing of them that does anything.
const CRATES_OF_THE_CORE: [&str; 8] = ["std", "crate", "super", "self", "serde", "serde_json", "thiserror", "jiff"];
/// Parts of the standard library that the core may not name.
const EFFECTS: [&str; 10] =
    ["fs", "net", "process", "thread", "env", "io", "os", "SystemTime", "Instant", "RandomState"];
/// Words that have no place in the core at all. The standard maps are left out altogether: who has none iterates over
/// none.
const FOREIGN_TO_THE_CORE: [&str; 13] = [
    "tokio",
    "tracing",
    "rand",
    "reqwest",
    "hyper",
    "rusqlite",
    "rustix",
    "axum",
    "uuid",
    "SystemTime",
    "Instant",
    "HashMap",
    "HashSet",
];

/// Where the machine may be asked for the time, beside the one clock, and why.
const CLOCK_READERS: [(&str, &str); 16] = [
    ("src/runtime/clock.rs", "the clock itself"),
    ("src/probe/fault.rs", "a probe's phases share one deadline"),
    ("src/probe/net/resolve.rs", "the age of a remembered answer"),
    ("src/probe/schedule/task.rs", "ties the boot clock to the runtime's timers"),
    ("src/runtime/child/receipt.rs", "a deadline on the runtime's timers"),
    ("src/runtime/child/step.rs", "a deadline on the runtime's timers"),
    ("src/serve/idle.rs", "how long nothing was asked on a connection"),
    ("src/serve/scrapes.rs", "the age of a text that several share"),
    ("src/serve/throttle.rs", "how long ago a flood was last told of"),
    ("src/store/thread.rs", "how long a thread waits for more to write"),
    ("src/runtime/looks.rs", "when regular looks begin, on the runtime's timers"),
    ("src/target/blocking.rs", "how long a call to a file system takes"),
    ("src/target/command.rs", "what is left of a step's deadline"),
    ("src/target/releases.rs", "what is left of a step's deadline"),
    ("src/target/compose", "what is left of a deadline, and since when something was seen so"),
    ("src/target/kubernetes", "what is left of a deadline, and since when something was seen so"),
];

/// The one queue without a bound of its own, and why it is bounded all the same.
const UNBOUNDED: [(&str, &str); 1] =
    [("src/runtime/start.rs", "completions: each answers an effect, and effects in flight are counted")];

/// One file of Rust.
struct File {
    /// Relative to the repository.
    path: String,
    text: String,
    /// Without comments, texts and tests.
    code: String,
}

fn files(below: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting = vec![root.join(below)];
    let mut found = Vec::new();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let code = code_of(&text);
                let path = path.strip_prefix(root).expect("it is below").display().to_string();
                found.push(File { path, text, code });
            }
        }
    }
    assert!(!found.is_empty(), "there is source below {below}");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// Leaves out comments, texts, character literals, and the module of tests at a file's end.
fn code_of(text: &str) -> String {
    let text = text.split_once("\nmod tests {").map_or(text, |(code, _)| code);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_text(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
        } else if character == '"' {
            text_end(rest, '"')
        } else if character == '\'' && is_character(rest) {
            text_end(rest, '\'')
        } else {
            code.push(character);
            rest = &rest[character.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// How many hashes a raw text begins with, if one begins here.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|&byte| byte == b'#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn is_character(rest: &str) -> bool {
    let mut after = rest.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) => true,
        (_, second) => second == Some('\''),
    }
}

fn text_end(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Identifiers, and the marks that join paths.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(character) = rest.chars().next() {
        let length = if character.is_alphanumeric() || character == '_' {
            rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            character.len_utf8()
        };
        if !character.is_whitespace() {
            words.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    words
}

/// Paths named in the code, each with its segments; `use a::{b, c::d}` names `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let words = words(code);
    let is_name = |word: &str| word.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
    let mut found = Vec::new();
    let mut place = 0;
    while place < words.len() {
        if is_name(words[place]) && words.get(place + 1) == Some(&"::") {
            place = read_path(&words, place, &mut Vec::new(), &mut found);
        } else {
            place += 1;
        }
    }
    found
}

fn read_path<'a>(
    words: &[&'a str],
    mut place: usize,
    before: &mut Vec<&'a str>,
    found: &mut Vec<Vec<&'a str>>,
) -> usize {
    let depth = before.len();
    loop {
        match words.get(place) {
            Some(&"{") => {
                place += 1;
                // Bounded by the words that are left.
                while let Some(&word) = words.get(place) {
                    match word {
                        "}" => {
                            place += 1;
                            break;
                        }
                        "," => place += 1,
                        _ => place = read_path(words, place, before, found).max(place + 1),
                    }
                }
                break;
            }
            Some(&word) => {
                before.push(word);
                place += 1;
                if words.get(place) == Some(&"::") {
                    place += 1;
                } else {
                    found.push(before.clone());
                    break;
                }
            }
            None => break,
        }
    }
    before.truncate(depth);
    place
}

#[test]
fn the_core_names_nothing_that_acts() {
    let mut wrong = Vec::new();
    for file in files("src/core") {
        let tests_alone = is_test(&file.path);
        for word in words(&file.code) {
            if FOREIGN_TO_THE_CORE.contains(&word) && !(tests_alone && word.starts_with("Hash")) {
                wrong.push(format!("{}: {word}", file.path));
            }
        }
        for path in paths(&file.code) {
            let effect = path[0] == "std" && path.iter().any(|segment| EFFECTS.contains(segment));
            let outside = path[0] == "crate" && path.get(1).is_some_and(|&segment| segment != "core");
            if effect || (outside && !tests_alone) {
                wrong.push(format!("{}: {}", file.path, path.join("::")));
            }
        }
        for line in file.code.lines().filter(|line| line.trim_start().starts_with("use ")) {
            let named =
                line.trim_start().trim_start_matches("use ").split([':', ';', ' ', '{']).next().unwrap_or_default();
            let known = CRATES_OF_THE_CORE.contains(&named) || named.chars().next().is_some_and(char::is_uppercase);
            if !known && !tests_alone {
                wrong.push(format!("{}: uses {named}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "the core decides and does nothing else:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_small() {
    let all: Vec<File> = files("src").into_iter().chain(files("tests")).collect();
    let long: Vec<String> = all
        .iter()
        .map(|file| (file.path.as_str(), file.text.lines().count()))
        .filter(|(path, lines)| {
            let tests = is_test(path) || path.starts_with("tests/");
            *lines > if tests { TEST_LINES_LIMIT } else { LINES_LIMIT }
        })
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "split these into parts:\n{}", long.join("\n"));
    let small = all.iter().filter(|file| file.text.lines().count() <= SMALL_LINES).count();
    assert!(small * 3 > all.len() * 2, "only {small} of {} files are small", all.len());
    let main = all.iter().find(|file| file.path == "src/main.rs").expect("a binary");
    assert!(main.text.lines().count() <= MAIN_LINES_LIMIT, "everything is in the library");
}

#[test]
fn every_queue_is_bounded() {
    allowed_only(&UNBOUNDED, |code| words(code).contains(&"unbounded_channel"));
}

#[test]
fn time_is_read_by_the_clock() {
    allowed_only(&CLOCK_READERS, |code| {
        let reads = |name: &str| code.contains(&format!("{name}::now"));
        reads("Instant")
            || reads("SystemTime")
            || code.contains("clock_gettime")
            || reads("Timestamp")
            || reads("Zoned")
    });
}

/// Nothing but what is allowed does it, and everything allowed still does.
fn allowed_only(allowed: &[(&str, &str)], does: impl Fn(&str) -> bool) {
    let doing: Vec<String> = files("src")
        .into_iter()
        .filter(|file| !is_test(&file.path) && does(&file.code))
        .map(|file| file.path)
        .collect();
    let is_in = |path: &str, place: &str| path == place || path.starts_with(&format!("{place}/"));
    for path in &doing {
        assert!(allowed.iter().any(|(place, _)| is_in(path, place)), "{path} is not among {allowed:#?}");
    }
    for (place, why) in allowed {
        assert!(doing.iter().any(|path| is_in(path, place)), "{place} does so no more, and need not be allowed: {why}");
    }
}

#[test]
fn the_reader_of_source_text_reads_it_right() {
    let code = code_of(
        "let a = \"tokio::x // y\"; // tracing\nlet b = '\"'; /* rand */ let c = r#\"HashMap \"q\"\"#; fn f<'a>() {}",
    );
    assert_eq!(words(&code).join(" "), "let a = ; let b = ; let c = ; fn f < ' a > ( ) { }");
    let named = paths("use std::{fmt, fs::{self, File}, time::Duration}; crate::core::x(); let y: a::B<c::D>;");
    let named: Vec<String> = named.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        named,
        ["std::fmt", "std::fs::self", "std::fs::File", "std::time::Duration", "crate::core::x", "a::B", "c::D"]
    );
    let code = code_of("fn a() {}\n#[cfg(test)]\nmod tests {\n use tokio; }");
    assert!(code.contains("fn a") && !code.contains("tokio"), "{code}");
}
