//! Errors in `Archive.tla`.

use crate::{Mutation, mutation};

/// All of them.
pub(crate) fn all() -> Vec<Mutation> {
    [&ARCHIVERS[..], &OTHERS].concat()
}

const ARCHIVERS: [Mutation; 11] = [
    mutation(
        "archive: a manifest replaces another one of its number",
        "Deliver ==",
        [
            "put.kind = \"manifest\" /\\ ~IsMade(put.manifest)",
            "put.kind = \"manifest\" /\\ store.manifests[put.manifest.number] # put.manifest",
        ],
        "archive/small/fencing",
        "OneWriter",
    ),
    mutation(
        "archive: two archivers may have one epoch",
        "Deliver ==",
        ["store.epochs[put.epoch] = 0", "store.epochs[put.epoch] # put.by"],
        "archive/small/fencing",
        "PartsFollow",
    ),
    mutation(
        "archive: an archiver goes on after a manifest of a later one",
        "Published(x) ==",
        ["IF Highest.epoch # a[x].epoch", "IF FALSE"],
        "archive/small/fencing",
        "OneWriter",
    ),
    mutation(
        "archive: an archiver reports without a look at the next epoch",
        "Check(x) ==",
        ["IF IsClaimed(a[x].epoch + 1)", "IF FALSE"],
        "archive/small/late",
        "ReportedIsArchived",
    ),
    mutation(
        "archive: an archiver starts with an empty archive",
        "Join(x) ==",
        ["\"joining\", Highest, Highest.parts", "\"joining\", Highest, <<>>"],
        "archive/small/fencing",
        "ReportedIsArchived",
    ),
    mutation(
        "archive: another's manifest counts as the one that was sent",
        "Joined(x) ==",
        ["IF store.manifests[a[x].next.number] = a[x].next THEN", "IF TRUE THEN"],
        "archive/small/fencing",
        "OneWriter",
    ),
    mutation(
        "archive: a manifest before its part is acknowledged",
        "Acknowledged(x) ==",
        [" /\\ a[x].sent[a[x].acked + 1] \\in store.parts", ""],
        "archive/small/fencing",
        "NamedIsThere",
    ),
    mutation(
        "archive: a part is published before those before it",
        "Publish(x) ==",
        ["SubSeq(a[x].sent, 1, n)", "SubSeq(a[x].sent, n, n)"],
        "archive/small/uploads",
        "PartsFollow",
    ),
    mutation(
        "archive: a create that was done is taken for another's",
        "Published(x) ==",
        ["IF store.manifests[a[x].next.number] = a[x].next", "IF FALSE"],
        "archive/small/fencing",
        "PartsFollow",
    ),
    mutation(
        "archive: the newest manifest is deleted too",
        "DeleteOld(x) ==",
        ["n + Kept <=", "n <="],
        "archive/small/fencing",
        "ReportedIsArchived",
    ),
    mutation(
        "archive: the claims go with old manifests",
        "DeleteOld(x) ==",
        [
            "!.manifests[n] = None]",
            "!.manifests[n] = None, !.epochs = [e \\in Epochs |-> IF e <= a[x].epoch THEN 0 ELSE store.epochs[e]]]",
        ],
        "archive/small/late",
        "ReportedIsArchived",
    ),
];

const OTHERS: [Mutation; 6] = [
    mutation(
        "archive: archived_upto counts the bytes that the archive has",
        "ArchivedUpto(manifest) ==",
        ["EndOf(manifest)", "EndOf(manifest) - manifest.start"],
        "archive/small/sweeps",
        "ReportNeverGoesBack",
    ),
    mutation(
        "archive: a prune deletes what the archiver is about to publish",
        "Sweep ==",
        ["part.epoch < o.prune.next.epoch", "part.epoch <= o.prune.next.epoch"],
        "archive/small/sweeps",
        "NamedIsThere",
    ),
    mutation(
        "archive: the epoch is not in a part's name",
        "Part(from, to, epoch) ==",
        ["epoch |-> epoch]", "epoch |-> 0]"],
        "archive/small/sweeps",
        "NamedIsThere",
    ),
    mutation(
        "archive: a prune deletes what its own manifest leaves out, in effect or not",
        "Pruned ==",
        ["PruneFrom(o.prune.at)", "o' = [o EXCEPT !.prune.pc = \"sweeping\"] /\\ UNCHANGED store"],
        "archive/small/prunes",
        "NamedIsThere",
    ),
    mutation(
        "archive: a prune does not look for pins",
        "StartFor(manifest, at) ==",
        ["Min({at} \\cup manifest.pins)", "at"],
        "archive/small/pins",
        "PinnedIsKept",
    ),
    mutation(
        "archive: a pin counts once its number is taken",
        "Pinned ==",
        ["IF o.pin.at \\in Highest.pins", "IF TRUE"],
        "archive/small/pins",
        "PinnedIsKept",
    ),
];
