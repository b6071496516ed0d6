//! Proves that the model would notice: puts one deliberate error after the other into `Log.tla`, and expects the
//! promise that it breaks, by name. With `MUTATION=seal` in the environment, only those whose name contains "seal".

use std::sync::Mutex;
use std::thread::scope;
use std::time::Instant;

use chunked_wal_spec::{Outcome, check, read};

/// More than any of these needs; a check that gets there has missed its error.
const STATES_MAX: usize = 300_000;

/// An error in the protocol.
#[derive(Clone, Copy)]
struct Mutation {
    name: &'static str,
    /// The first occurrence of a piece of `Log.tla` after this one is replaced.
    action: &'static str,
    from: &'static str,
    to: &'static str,
    model: &'static str,
    breaks: &'static str,
}

const fn mutation(
    name: &'static str,
    action: &'static str,
    [from, to]: [&'static str; 2],
    model: &'static str,
    breaks: &'static str,
) -> Mutation {
    Mutation { name, action, from, to, model, breaks }
}

const SYNCED: &str = "files' = Synced(files, Open.file)";
const ALL_WRITTEN: &str = "    /\\ w.written = w.synced\n";
const LOCKED: &str = "    /\\ w.dir = \"durable\"\n";

const COMMITS: [Mutation; 8] = [
    mutation(
        "acknowledge before the sync",
        "Sync ==",
        [SYNCED, "files' = files"],
        "batches",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "acknowledge what was appended while the sync ran",
        "Sync ==",
        ["Acknowledge(w.written)", "Acknowledge(Len(h.log))"],
        "batches",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "sync again after a sync that failed",
        "Sync ==",
        [
            "files' = NotSynced(files, Open.file) /\\ Fail",
            "files' = NotSynced(files, Open.file) /\\ h.faults < Faults /\\ h' = [h EXCEPT !.faults = @ + 1] /\\ UNCHANGED w",
        ],
        "faults",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "a mark after a record that is not synced",
        "WriteMark ==",
        [ALL_WRITTEN, ""],
        "batches",
        "NoCrashIsDamage",
    ),
    mutation(
        "ignore the flag of a batch",
        "End(f) ==",
        ["Max({p \\in 1 .. Break(f) : ~At(f, p - 1).more})", "Break(f)"],
        "batches",
        "NoBatchIsTorn",
    ),
    mutation(
        "no search after a mark",
        "Ending(f) ==",
        ["\\E p \\in at + 1 .. Last : Valid(f, p)", "FALSE"],
        "batches",
        "RecoveredIsPrefix",
    ),
    mutation(
        "an open does not sync the mark that replaces a closing mark",
        "WriteEnd ==",
        ["IF ending = \"zeros\" THEN", "IF ending \\in {\"zeros\", \"closed\"} THEN"],
        "batches",
        "RecoveryIsIdempotent",
    ),
    mutation(
        "an open does not write the records again",
        "RewriteRecords ==",
        ["Synced(WriteAgain(files, Newest, doubtful), Newest)", "Synced(files, Newest)"],
        "faults",
        "RecoveredIsDurable",
    ),
];

const ROTATIONS: [Mutation; 11] = [
    mutation(
        "a seal before its records are synced",
        "WriteSeal ==",
        [ALL_WRITTEN, ""],
        "rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "a chunk begins before the seal is synced",
        "SyncSeal ==",
        [SYNCED, "files' = files"],
        "rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "rename a chunk before its sync",
        "SyncChunk ==",
        [SYNCED, "files' = files"],
        "rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "acknowledge before the first chunk's name is durable",
        "NameChunk ==",
        ["/\\ UNCHANGED h", "/\\ Acknowledge(w.written)"],
        "rotations",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "a spare is offered before its name is durable",
        "MakeSpare ==",
        ["!.dir = \"moving\", !.moving = f", "!.spares = {f}, !.fresh = {f}"],
        "rotations",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "a chunk without its name is not looked for",
        "Unnamed ==",
        ["IF Named = {} \\/ ~IsHead(Newest) THEN {}", "IF TRUE THEN {}"],
        "rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "the head of a chunk without its name is not written again",
        "AdoptHead ==",
        ["Synced(WriteAgain(files, f, {0}), f)", "files"],
        "rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "a sealed newest chunk is not sealed again",
        "WriteEnd ==",
        [
            "w' = [Down EXCEPT !.pc = \"ending\"]",
            "w' = [Down EXCEPT !.pc = IF ending = \"sealed\" THEN \"opened\" ELSE \"ending\"]",
        ],
        "rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "a torn chunk goes on",
        "WriteEnd ==",
        ["\"closed\", \"zeros\"}", "\"closed\", \"zeros\", \"torn\"}"],
        "batches",
        "RecoveryIsIdempotent",
    ),
    mutation(
        "a mark before the chunk's name is durable",
        "WriteMark ==",
        ["    /\\ w.dir # \"pending\"\n", ""],
        "faults",
        "RecoveredIsDurable",
    ),
    mutation(
        "an open does not make the newest name again",
        "RepairNames ==",
        ["RenameAgain(names, Spares \\cup doubtful)", "RenameAgain(names, Spares)"],
        "faults",
        "RecoveredIsDurable",
    ),
];

const REMOVALS: [Mutation; 10] = [
    mutation(
        "a removal before its reason is durable",
        "HandOverRemoval ==",
        ["    /\\ w.synced >= w.removal.asked\n", ""],
        "removals",
        "RemovedForAReason",
    ),
    mutation(
        "the newer of two chunks is removed first",
        "AskRemoval ==",
        ["file |-> w.live[1].file", "file |-> w.live[2].file"],
        "removals",
        "RemovedIsRemoved",
    ),
    mutation(
        "a removal while a new chunk's name is not durable",
        "RenameRemoved ==",
        [LOCKED, ""],
        "removals",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "a file is used again before its removal is durable",
        "RenameRemoved ==",
        ["!.moving = w.removal.file]", "!.spares = {w.removal.file}]"],
        "removals",
        "NoCrashIsDamage",
    ),
    mutation(
        "a removal counts before it is durable",
        "SyncMove ==",
        [
            "names' = NamesSynced(names)",
            "names' = IF w.removal.step = \"renamed\" THEN names ELSE NamesSynced(names)",
        ],
        "removals",
        "RemovedIsRemoved",
    ),
    mutation(
        "a spare with any head is taken for a chunk",
        "Continues(f) ==",
        [
            "    /\\ Start(f) > Start(Newest)\n    /\\ LET p == Start(f) - Start(Newest) IN\n       \\/",
            "    /\\ LET p == 0 IN\n       \\/ TRUE\n       \\/",
        ],
        "removals",
        "RemovedIsRemoved",
    ),
    mutation(
        "bytes of a file's earlier life are taken for records",
        "Valid(f, p) ==",
        ["IsFrame(At(f, p)) /\\ At(f, p).salt = At(f, 0).salt", "IsFrame(At(f, p))"],
        "removals",
        "NoCrashIsDamage",
    ),
    mutation(
        "a failed removal is only synced again",
        "RenameRemovedAgain ==",
        ["names' = RenameAgain(names, {w.removal.file})", "names' = names"],
        "removal_faults",
        "RemovedIsRemoved",
    ),
    mutation(
        "an open does not rename the spares",
        "RepairNames ==",
        ["RenameAgain(names, Spares \\cup doubtful)", "RenameAgain(names, doubtful)"],
        "removal_faults",
        "RecoveredIsDurable",
    ),
    mutation(
        "a removal before the chunk's file is cut",
        "RenameRemoved ==",
        ["    /\\ \\A cut \\in w.cuts : cut.file # w.removal.file\n", ""],
        "reuse",
        "AcknowledgedIsDurable",
    ),
];

/// The specification with the error in it.
fn apply(spec: &str, mutation: &Mutation) -> String {
    let at = spec.find(&format!("\n{}", mutation.action));
    let (before, after) = spec.split_at(at.unwrap_or_else(|| panic!("{}: no such action", mutation.name)));
    assert!(
        after.contains(mutation.from),
        "{}: '{}' is not in Log.tla any more",
        mutation.name,
        mutation.from
    );
    before.to_owned() + &after.replacen(mutation.from, mutation.to, 1)
}

/// What the check of a mutation has found, if it is not the promise that should be broken.
fn missed(spec: &str, mutation: &Mutation) -> Option<String> {
    let model = read(format!("models/small/{}.cfg", mutation.model)).unwrap();
    let started = Instant::now();
    let outcome = check(&apply(spec, mutation), &model, STATES_MAX);
    let line = format!("{}: {}", mutation.name, outcome.summary());
    println!("{} ms, {line}", started.elapsed().as_millis());
    let is_caught = matches!(&outcome, Outcome::Broken { promise, .. } if promise == mutation.breaks);
    (!is_caught).then_some(line)
}

#[test]
fn each_error_breaks_a_promise() {
    let spec = read("Log.tla").unwrap();
    let only = std::env::var("MUTATION").unwrap_or_default();
    let all = [&COMMITS[..], &ROTATIONS, &REMOVALS].concat();
    let next = all.iter().filter(|mutation| mutation.name.contains(&only));
    let (left, missed_ones) = (Mutex::new(next.collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(mutation) = { left.lock().unwrap().pop() } {
            missed_ones.lock().unwrap().extend(missed(&spec, mutation));
        }
    };
    scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let missed = missed_ones.into_inner().unwrap();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
