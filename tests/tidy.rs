//! The house stays tidy: layers are straight, files fit a head, nothing gives up on an error.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every room, each imports only from those above it.
const ROOMS: [&str; 29] = [
    "position", // offsets, chunk ids, names
    "error",
    "panics",    // what goes wrong, with chunk ids
    "sync",      // locks and atomics, or a model checker's
    "random",    // numbers that differ
    "clock",     // the time of day
    "format",    // bytes only; names damage with the words of `error`
    "codec",     // a user's types through serde
    "config",    // knows how long a header is
    "payload",   // bytes as an action
    "record",    // what the user brings
    "storage",   // the one seam to the disk
    "directory", // names, listings, the lock, a chunk's file by its name
    "chunk",     // buffers and files
    "flush",     // from buffer to disk
    "recovery",  // from directory to log
    "reader",    // concurrent reads
    "pin",       // who keeps the log, and for how long
    "wal",       // the facade
    "shared",    // the facade for many threads
    "snapshot",  // the whole state beside the log
    "dump",      // a method of the facade
    "raw",       // any log, without its types
    "blob",      // big payloads beside the log
    "embedded",  // a ring in a file
    "testing",   // a log of one's own under crashes and faults
    "monitor",   // how a log grows, from its files alone
    "tools",     // the command, above everything
    "lib",       // names it all
];

/// Those of the adapters, each a crate of its own.
const RAFT_CORE_ROOMS: [&str; 13] = [
    "types",      // a raft library's types
    "error",      // what goes wrong
    "places",     // where each entry is
    "record",     // the records in the log
    "indexer",    // the index of each checkpoint, for other programs
    "recent",     // the newest entries in memory
    "state",      // what the log is replayed into, the index among it
    "reader",     // entries, from memory or from the log
    "store",      // the log and its state
    "operations", // what raft asks for
    "stats",      // what is on disk and in memory
    "blocking",   // the store without a runtime
    "lib",        // names it all
];
const OPENRAFT_ROOMS: [&str; 6] = [
    "record",  // openraft's types as the log's
    "error",   // what goes wrong, as openraft says it
    "reader",  // openraft's trait for reading
    "store",   // opening and closing
    "storage", // openraft's trait for writing
    "lib",     // names it all
];
const OPENRAFT_0_10_ROOMS: [&str; 5] = ["record", "reader", "store", "storage", "lib"];
const OPENRAFT_GROUPS_ROOMS: [&str; 5] = ["record", "reader", "store", "storage", "lib"];
const RAFT_RS_ROOMS: [&str; 6] = [
    "ready",  // what a member needs of its store
    "record", // the records in the log
    "store",  // one group in one log
    "group",  // one of many groups in one log
    "node",   // a member
    "lib",    // names it all
];
/// Those of the log of groups.
const GROUPS_ROOMS: [&str; 18] = [
    "error",    // what goes wrong
    "config",   // the log's settings, and those of space
    "number",   // numbers as bytes
    "record",   // the records in the log
    "callback", // callers' callbacks, on the log's thread
    "entry",    // callers' entries
    "index",    // what is alive, and where
    "changes",  // what callers ask for, as records
    "open",     // chunks read side by side
    "reserve",  // space for a full disk
    "wake",     // when there is space to reclaim
    "shared",   // the log, its lock and its index
    "reclaim",  // gives space back
    "batch",    // changes that are made together
    "store",    // the groups
    "holders",  // who has how much
    "inspect",  // the same, for another process's log
    "lib",      // names it all
];
/// Those of the importer.
const IMPORT_ROOMS: [&str; 10] = [
    "error",   // what stops an import
    "msgpack", // values as bytes
    "convert", // what old records become
    "raft",    // what those of raft-log become
    "source",  // the old log
    "staging", // where the new log is until it's whole
    "report",  // what was done
    "import",  // writes and checks
    "command", // arguments and exit statuses
    "lib",     // names it all
];

/// Those of the archive.
const ARCHIVE_ROOMS: [&str; 12] = [
    "error",    // what stops an archiver
    "manifest", // the format of manifests, and the objects' names
    "store",    // an object store, tried again
    "runtime",  // drives its futures
    "progress", // what a person sees
    "chain",    // who may add the next manifest
    "log",      // a log's durable bytes
    "archiver", // uploads them
    "restore",  // puts them together
    "archive",  // reads and prunes
    "command",  // arguments and exit statuses
    "lib",      // names it all
];

/// The crates, by the directories of their sources, and their rooms.
const HOUSES: [(&str, &[&str]); 9] = [
    ("src", &ROOMS),
    ("adapters/raft-core/src", &RAFT_CORE_ROOMS),
    ("adapters/openraft/src", &OPENRAFT_ROOMS),
    ("adapters/openraft-0-10/src", &OPENRAFT_0_10_ROOMS),
    ("adapters/openraft-groups/src", &OPENRAFT_GROUPS_ROOMS),
    ("adapters/raft-rs/src", &RAFT_RS_ROOMS),
    ("groups/src", &GROUPS_ROOMS),
    ("import/src", &IMPORT_ROOMS),
    ("archive/src", &ARCHIVE_ROOMS),
];

/// Lines without tests, above which a file is too long, and above which it is worth a look.
const LINES_MAX: usize = 600;
const LINES_WORTH_A_LOOK: usize = 300;

/// A source file.
struct Source {
    /// From the repository's root.
    path: PathBuf,
    /// All rooms of its crate.
    rooms: &'static [&'static str],
    room: String,
    /// Without the tests at its end.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The published package has no adapters.
    let houses = HOUSES.into_iter().filter(|(src, _)| root.join(src).is_dir());
    houses.flat_map(|(src, rooms)| sources_of(root, src, rooms)).collect()
}

fn sources_of(root: &Path, src: &str, rooms: &'static [&'static str]) -> Vec<Source> {
    let src = root.join(src);
    let found = rust_files(&src);
    let source = |path: PathBuf| {
        let name = path.strip_prefix(&src).unwrap();
        let is_test = name.iter().any(|part| part == "tests" || part == "tests.rs");
        let first = name.iter().next().unwrap().to_str().unwrap();
        let room = first.trim_end_matches(".rs").to_string();
        let code = without_tests(&fs::read_to_string(&path).unwrap());
        let path = path.strip_prefix(root).unwrap().to_owned();
        (!is_test && room != "bin").then_some(Source { path, rooms, room, code })
    };
    found.into_iter().filter_map(source).collect()
}

/// All Rust files in a directory and below it, sorted.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text without its module `tests`.
fn without_tests(text: &str) -> String {
    let mut begins = text.len();
    if let Some(module) = text.find("\nmod tests {") {
        begins = text[..module].rfind("#[cfg(test)]").unwrap_or(begins);
    }
    text[..begins].to_string()
}

/// A line's code: no comment.
fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap()
}

/// The rooms that a text imports from: every `crate::room`, grouped imports included.
fn imports(code: &str) -> BTreeSet<String> {
    let code: String = code.lines().map(without_comment).collect::<Vec<_>>().join("\n");
    let word = |text: &str| {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        text[..end].to_string()
    };
    let mut rooms = BTreeSet::new();
    // `$crate::` in an exported macro is not an import of this room.
    let paths = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with('$'));
    for behind in paths.map(|(at, found)| &code[at + found.len()..]) {
        match behind.strip_prefix('{') {
            None => drop(rooms.insert(word(behind))),
            Some(group) => {
                let mut depth = 0;
                let mut at_name = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_name = true,
                        c if at_name && c.is_alphabetic() => {
                            rooms.insert(word(&group[at..]));
                            at_name = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

/// What is wrong with a file's imports.
fn crooked(source: &Source) -> Vec<String> {
    let place_of = |room: &str| source.rooms.iter().position(|known| *known == room);
    let Some(own) = place_of(&source.room) else {
        return vec![format!("{}: `{}` is no room that is known here", source.path.display(), source.room)];
    };
    let wrong = |room: &String| match place_of(room) {
        Some(place) if place <= own => None,
        Some(_) => Some(format!("{} imports from `{room}`, which is below it", source.path.display())),
        // Names that lib.rs exports are below everything.
        None => Some(format!("{} imports `crate::{room}`, which is no room", source.path.display())),
    };
    imports(&source.code).iter().filter_map(wrong).collect()
}

#[test]
fn rooms_import_only_from_rooms_above_them() {
    let wrong: Vec<_> = sources().iter().flat_map(crooked).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_there_and_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (src, rooms) in HOUSES.into_iter().filter(|(src, _)| root.join(src).is_dir()) {
        let found: BTreeSet<_> = sources_of(root, src, rooms).into_iter().map(|source| source.room).collect();
        let known: BTreeSet<_> = rooms.iter().map(|room| room.to_string()).collect();
        assert_eq!(found, known, "{src}");
    }
}

/// Pages show what the adapters' READMEs show, where it is compiled and run.
#[test]
fn the_stores_that_pages_show_are_those_that_are_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, adapter) in [("README.md", "openraft"), ("docs/guide/raft.md", "openraft-0-10")] {
        let tested = root.join("adapters").join(adapter).join("README.md");
        let Ok(tested) = fs::read_to_string(tested) else { return };
        let text = fs::read_to_string(root.join(page)).unwrap();
        let begins = "```rust,ignore\n";
        let shown = &text[text.find(begins).unwrap() + begins.len()..];
        let shown = &shown[..shown.find("```").unwrap()];
        assert!(shown.contains("LogStore::"), "{page}");
        assert!(tested.contains(&format!("```rust\n{shown}```")), "{page}");
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "
        use crate::flush::Worker;
        pub(crate) use crate::chunk;
        use crate::{error::{Error, Result}, wal, reader::*};
        fn f(x: &crate::directory::WalLock) {} // crate::comment
    ";
    let found: Vec<_> = imports(code).into_iter().collect();
    assert_eq!(found, ["chunk", "directory", "error", "flush", "reader", "wal"]);
    let source = |room: &str, code: &str| Source {
        path: "x.rs".into(),
        rooms: &ROOMS,
        room: room.into(),
        code: code.into(),
    };
    assert_eq!(crooked(&source("wal", code)).len(), 0);
    assert_eq!(crooked(&source("chunk", code)).len(), 3);
    assert_eq!(crooked(&source("cellar", code)).len(), 1);
    assert_eq!(crooked(&source("wal", "use crate::Config;")).len(), 1);
}

/// The path of a `use` line up to its last name or its group, with the words before the path.
fn imported_from(line: &str) -> Option<&str> {
    let is_import = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "].iter().any(|word| {
        let code = line.trim_start();
        code.starts_with(word)
    });
    if !is_import {
        return None;
    }
    let end = line.find("::{").or_else(|| line.rfind("::"))?;
    Some(&line[..end])
}

/// Imports of a block that name the same path as an earlier one.
fn scattered(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let (mut in_group, mut has_attribute) = (false, false);
    for (number, line) in text.lines().enumerate() {
        match imported_from(line) {
            Some(from) => {
                let is_own = has_attribute || line.contains(" as _;");
                if !is_own && !seen.insert(from.to_string()) {
                    found.push((number + 1, line.trim().to_string()));
                }
                (in_group, has_attribute) = (!line.ends_with(';'), false);
            }
            None if in_group => in_group = !line.trim_end().ends_with("};"),
            // It belongs to the next import alone.
            None if line.trim_start().starts_with("#[") => has_attribute = true,
            None => seen.clear(),
        }
    }
    found
}

#[test]
fn imports_are_grouped_by_path() {
    let code = "use a::b::C;\nuse a::b::{D,\n    E};\nuse a::f;\n\nuse a::b::G;\n";
    assert_eq!(scattered(code).len(), 1);
    let mut all = Vec::new();
    for source in sources() {
        let path = source.path.display();
        all.extend(scattered(&source.code).into_iter().map(|(line, what)| format!("{path}:{line}: {what}")));
    }
    assert!(all.is_empty(), "one `use` for each path: {}", all.join("\n"));
}

#[test]
fn files_fit_a_head() {
    let mut too_long = Vec::new();
    for source in sources() {
        let lines = source.code.lines().count();
        if lines > LINES_WORTH_A_LOOK {
            println!("{lines} lines: {}", source.path.display());
        }
        if lines > LINES_MAX {
            too_long.push(format!("{} has {lines} lines without tests", source.path.display()));
        }
    }
    assert!(too_long.is_empty(), "{}", too_long.join("\n"));
}

#[test]
fn nothing_gives_up_on_an_error_or_is_left_undone() {
    let words = [".unwrap()", ".expect(\"", ".expect(&", "todo!", "unimplemented!", "dbg!"];
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            let code = without_comment(line);
            for word in words.iter().filter(|word| code.contains(**word)) {
                found.push(format!("{}:{}: {word}", source.path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The Markdown pages below `dir`, without those in build directories.
fn pages_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
            pages_below(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The lines of a page outside code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(anchor).collect()
}

/// The targets of a page's links, without those on the web.
fn links(page: &str) -> Vec<String> {
    let page = prose(page).collect::<Vec<_>>().join("\n");
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_string()).filter(|target| !target.contains(':')).collect()
}

/// What is wrong with a link of the page at `path`.
fn dangling(path: &Path, page: &str, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { path.to_owned() } else { path.parent().unwrap().join(file) };
    if !target.exists() {
        return Some(format!("{}: {link}: no such file", path.display()));
    }
    if anchor.is_empty() {
        return None;
    }
    let text = if file.is_empty() { page.to_string() } else { fs::read_to_string(&target).unwrap() };
    (!anchors(&text).contains(anchor)).then(|| format!("{}: {link}: no such heading", path.display()))
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("adapters").is_dir() {
        return; // The published package lacks some of the pages.
    }
    let mut pages = Vec::new();
    pages_below(root, &mut pages);
    assert!(pages.len() > 20, "{pages:?}");
    let mut wrong = Vec::new();
    for path in pages {
        let page = fs::read_to_string(&path).unwrap();
        wrong.extend(links(&page).iter().filter_map(|link| dangling(&path, &page, link)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// crates.io and the unpacked package show the README too.
#[test]
fn the_package_has_what_the_readme_links() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let excluded = manifest.lines().find(|line| line.starts_with("exclude = [\".ci/\"")).unwrap_or_default();
    for link in links(&fs::read_to_string(root.join("README.md")).unwrap()) {
        let file = link.split('#').next().unwrap();
        let is_left_out = excluded.split('"').any(|path| path.contains('/') && file.starts_with(path));
        assert!(!is_left_out, "{link} is not in the package");
        assert!(root.join(file).exists(), "{link}");
    }
}

#[test]
fn links_and_anchors_are_found() {
    let page =
        "# One `two`, three-four\n[a](b.md#c) ![d](e/f.svg)\n[w](https://w)\n```\n# no\n[no](no)\n```\n";
    assert_eq!(links(page), ["b.md#c", "e/f.svg"]);
    assert_eq!(anchors(page).into_iter().collect::<Vec<_>>(), ["one-two-three-four"]);
    let dangles = |link| dangling(Path::new("README.md"), page, link).is_some();
    assert_eq!(
        ["#one-two-three-four", "#five", "Cargo.toml", "Cargo.md"].map(dangles),
        [false, true, false, true]
    );
}

/// Words that read like a translation; each with its forms.
const WORDS: [&[&str]; 5] = [
    &["behind"],
    &["stand", "stands", "stood", "standing"],
    &["begun"],
    &["tell", "tells", "told"],
    &["nobody", "somebody"],
];

/// Prints how often these words come in the comments of `src`. A hint, not a gate:
/// `cargo test --test tidy words -- --nocapture`.
#[test]
fn words_of_comments_are_counted() {
    let mut all = 0;
    let mut counts = [0; WORDS.len()];
    for path in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(path).unwrap();
        let comments = text.lines().filter_map(|line| line.split_once("//")).map(|(_, comment)| comment);
        let words = comments.flat_map(|comment| comment.split(|c: char| !c.is_alphabetic()));
        for word in words.filter(|word| !word.is_empty()).map(str::to_lowercase) {
            all += 1;
            let forms = WORDS.iter().zip(&mut counts).filter(|(forms, _)| forms.contains(&word.as_str()));
            forms.for_each(|(_, count)| *count += 1);
        }
    }
    assert!(all > 0, "no comments");
    for (forms, count) in WORDS.iter().zip(counts) {
        println!(
            "{:.1} per 10,000 words of comments: {}",
            f64::from(count) * 1e4 / f64::from(all),
            forms.join(", ")
        );
    }
}
