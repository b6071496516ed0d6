//! Errors in `Log.tla`.

use crate::{Mutation, mutation};

/// All of them.
pub(crate) fn all() -> Vec<Mutation> {
    [&COMMITS[..], &ROTATIONS, &REMOVALS].concat()
}

const SYNCED: &str = "files' = Synced(files, Open.file)";
const ALL_WRITTEN: &str = "    /\\ w.written = w.synced\n";
const LOCKED: &str = "    /\\ w.dir = \"durable\"\n";

const COMMITS: [Mutation; 8] = [
    mutation(
        "acknowledge before the sync",
        "Sync ==",
        [SYNCED, "files' = files"],
        "small/batches",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "acknowledge what was appended while the sync ran",
        "Sync ==",
        ["Acknowledge(w.written)", "Acknowledge(Len(h.log))"],
        "small/batches",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "sync again after a sync that failed",
        "Sync ==",
        [
            "files' = NotSynced(files, Open.file) /\\ Fail",
            "files' = NotSynced(files, Open.file) /\\ h.faults < Faults /\\ h' = [h EXCEPT !.faults = @ + 1] /\\ UNCHANGED w",
        ],
        "small/faults",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "a mark after a record that is not synced",
        "WriteMark ==",
        [ALL_WRITTEN, ""],
        "small/batches",
        "NoCrashIsDamage",
    ),
    mutation(
        "ignore the flag of a batch",
        "End(f) ==",
        ["Max({p \\in 1 .. Break(f) : ~At(f, p - 1).more})", "Break(f)"],
        "small/batches",
        "NoBatchIsTorn",
    ),
    mutation(
        "no search after a mark",
        "Ending(f) ==",
        ["\\E p \\in at + 1 .. Last : Valid(f, p)", "FALSE"],
        "small/batches",
        "RecoveredIsPrefix",
    ),
    mutation(
        "an open does not sync the mark that replaces a closing mark",
        "WriteEnd ==",
        ["IF ending = \"zeros\" THEN", "IF ending \\in {\"zeros\", \"closed\"} THEN"],
        "small/batches",
        "RecoveryIsIdempotent",
    ),
    mutation(
        "an open does not write the records again",
        "RewriteRecords ==",
        ["Synced(WriteAgain(files, Newest, doubtful), Newest)", "Synced(files, Newest)"],
        "small/faults",
        "RecoveredIsDurable",
    ),
];

const ROTATIONS: [Mutation; 11] = [
    mutation(
        "a seal before its records are synced",
        "WriteSeal ==",
        [ALL_WRITTEN, ""],
        "small/rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "a chunk begins before the seal is synced",
        "SyncSeal ==",
        [SYNCED, "files' = files"],
        "small/rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "rename a chunk before its sync",
        "SyncChunk ==",
        [SYNCED, "files' = files"],
        "small/rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "acknowledge before the first chunk's name is durable",
        "NameChunk ==",
        ["/\\ UNCHANGED h", "/\\ Acknowledge(w.written)"],
        "small/rotations",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "a spare is offered before its name is durable",
        "MakeSpare ==",
        ["!.dir = \"moving\", !.moving = f", "!.spares = {f}, !.fresh = {f}"],
        "small/rotations",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "a chunk without its name is not looked for",
        "Unnamed ==",
        ["IF Named = {} \\/ ~IsHead(Newest) THEN {}", "IF TRUE THEN {}"],
        "small/rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "the head of a chunk without its name is not written again",
        "AdoptHead ==",
        ["Synced(WriteAgain(files, f, {0}), f)", "files"],
        "small/rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "a sealed newest chunk is not sealed again",
        "WriteEnd ==",
        [
            "w' = [Down EXCEPT !.pc = \"ending\"]",
            "w' = [Down EXCEPT !.pc = IF ending = \"sealed\" THEN \"opened\" ELSE \"ending\"]",
        ],
        "small/rotations",
        "NoCrashIsDamage",
    ),
    mutation(
        "a torn chunk goes on",
        "WriteEnd ==",
        ["\"closed\", \"zeros\"}", "\"closed\", \"zeros\", \"torn\"}"],
        "small/batches",
        "RecoveryIsIdempotent",
    ),
    mutation(
        "a mark before the chunk's name is durable",
        "WriteMark ==",
        ["    /\\ w.dir # \"pending\"\n", ""],
        "small/faults",
        "RecoveredIsDurable",
    ),
    mutation(
        "an open does not make the newest name again",
        "RepairNames ==",
        ["RenameAgain(names, Spares \\cup doubtful)", "RenameAgain(names, Spares)"],
        "small/faults",
        "RecoveredIsDurable",
    ),
];

const REMOVALS: [Mutation; 10] = [
    mutation(
        "a removal before its reason is durable",
        "HandOverRemoval ==",
        ["    /\\ w.synced >= w.removal.asked\n", ""],
        "small/removals",
        "RemovedForAReason",
    ),
    mutation(
        "the newer of two chunks is removed first",
        "AskRemoval ==",
        ["file |-> w.live[1].file", "file |-> w.live[2].file"],
        "small/removals",
        "RemovedIsRemoved",
    ),
    mutation(
        "a removal while a new chunk's name is not durable",
        "RenameRemoved ==",
        [LOCKED, ""],
        "small/removals",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "a file is used again before its removal is durable",
        "RenameRemoved ==",
        ["!.moving = w.removal.file]", "!.spares = {w.removal.file}]"],
        "small/removals",
        "NoCrashIsDamage",
    ),
    mutation(
        "a removal counts before it is durable",
        "SyncMove ==",
        [
            "names' = NamesSynced(names)",
            "names' = IF w.removal.step = \"renamed\" THEN names ELSE NamesSynced(names)",
        ],
        "small/removals",
        "RemovedIsRemoved",
    ),
    mutation(
        "a spare with any head is taken for a chunk",
        "Continues(f) ==",
        [
            "    /\\ Start(f) > Start(Newest)\n    /\\ LET p == Start(f) - Start(Newest) IN\n       \\/",
            "    /\\ LET p == 0 IN\n       \\/ TRUE\n       \\/",
        ],
        "small/removals",
        "RemovedIsRemoved",
    ),
    mutation(
        "bytes of a file's earlier life are taken for records",
        "Valid(f, p) ==",
        ["IsFrame(At(f, p)) /\\ At(f, p).salt = At(f, 0).salt", "IsFrame(At(f, p))"],
        "small/removals",
        "NoCrashIsDamage",
    ),
    mutation(
        "a failed removal is only synced again",
        "RenameRemovedAgain ==",
        ["names' = RenameAgain(names, {w.removal.file})", "names' = names"],
        "small/removal_faults",
        "RemovedIsRemoved",
    ),
    mutation(
        "an open does not rename the spares",
        "RepairNames ==",
        ["RenameAgain(names, Spares \\cup doubtful)", "RenameAgain(names, doubtful)"],
        "small/removal_faults",
        "RecoveredIsDurable",
    ),
    mutation(
        "a removal before the chunk's file is cut",
        "RenameRemoved ==",
        ["    /\\ \\A cut \\in w.cuts : cut.file # w.removal.file\n", ""],
        "small/reuse",
        "AcknowledgedIsDurable",
    ),
];
