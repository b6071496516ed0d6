//! Errors in `Groups.tla`.

use crate::{Mutation, mutation};

/// All of them.
pub(crate) fn all() -> Vec<Mutation> {
    [&COMMITS[..], &RECLAIMING].concat()
}

const COMMITS: [Mutation; 4] = [
    mutation(
        "groups: acknowledge before the sync",
        "Write(records, groups) ==",
        ["groups |-> groups])]", "groups |-> groups]), !.acked = Len(h.versions) + 1]"],
        "groups/small/entries",
        "AcknowledgedIsDurable",
    ),
    mutation(
        "groups: a batch in pieces",
        "InBatch(records) ==",
        ["!.more = i < n", "!.more = FALSE"],
        "groups/small/batches",
        "NoBatchIsTorn",
    ),
    mutation(
        "groups: a destroyed group is only forgotten",
        "RecordsOf(g, c, id) ==",
        ["ELSE <<Destroy(c.group)>>", "ELSE <<Truncate(c.group, 1)>>"],
        "groups/small/states",
        "NothingComesBack",
    ),
    mutation(
        "groups: an entry must follow on the one before it while the log is replayed",
        "After(g, r, p) ==",
        [
            "g.at[r.index] # 0]",
            "g.at[r.index] # 0 \\/ (r.index > 1 /\\ g.at[r.index - 1] = 0 /\\ g.first < r.index)]",
        ],
        "groups/small/entries",
        "NoHole",
    ),
];

const RECLAIMING: [Mutation; 10] = [
    mutation(
        "groups: a chunk goes before what was appended anew is durable",
        "Remove ==",
        ["    /\\ log.durable >= Head(m.removals).asked\n", ""],
        "groups/small/entries",
        "NothingIsLost",
    ),
    mutation(
        "groups: what was read is appended anew, dead or not",
        "AgainAll(step) ==",
        ["IF IsAlive(m.index, Head(step)) THEN", "IF TRUE THEN"],
        "groups/small/entries",
        "NothingComesBack",
    ),
    mutation(
        "groups: an index decides what is alive, not a place",
        "IsAlive(index, p) ==",
        ["g.at[r.index] = p", "g.at[r.index] # 0"],
        "groups/small/entries",
        "NothingComesBack",
    ),
    mutation(
        "groups: a truncation does not void an entry that was moved before it",
        "Replayed(index, p) ==",
        [
            "IF r.chunk \\in log.gone THEN index",
            "IF r.chunk \\in log.gone \\/ r.kind = \"truncate\" /\\ \\E q \\in 1 .. p : log.records[q].kind = \"moved\" THEN index",
        ],
        "groups/small/entries",
        "NothingComesBack",
    ),
    mutation(
        "groups: a chunk with a destruction goes before the entries that it voids",
        "Oldest ==",
        ["THEN {Min(kept)}", "THEN kept \\ {Newest}"],
        "groups/small/states",
        "NothingComesBack",
    ),
    mutation(
        "groups: a moved entry voids those after it",
        "After(g, r, p) ==",
        [
            "!.next = Max({@, r.index + 1}), !.at[r.index] = p]",
            "!.next = r.index + 1, !.at = [Without(g, {i \\in Indexes : i > r.index}) EXCEPT ![r.index] = p]]",
        ],
        "groups/small/entries",
        "NothingIsLost",
    ),
    mutation(
        "groups: a moved entry is a new one",
        "Again(p) ==",
        ["Moved(r.group, r.index, r.id)", "Entry(r.group, r.index, r.id)"],
        "groups/small/entries",
        "BoundsAreKept",
    ),
    mutation(
        "groups: bounds are carried along as they were",
        "Again(p) ==",
        ["Bounds(r.group, g.first, g.next)", "Bounds(r.group, r.index, r.next)"],
        "groups/small/entries",
        "BoundsAreKept",
    ),
    mutation(
        "groups: a state is not carried along",
        "IsAlive(index, p) ==",
        ["THEN g.state = p", "THEN FALSE"],
        "groups/small/states",
        "NothingComesBack",
    ),
    mutation(
        "groups: the point of a purge is not carried along",
        "IsAlive(index, p) ==",
        ["ELSE r.kind = \"bounds\" /\\ g.bounds = p", "ELSE FALSE"],
        "groups/small/purges",
        "NothingIsLost",
    ),
];
