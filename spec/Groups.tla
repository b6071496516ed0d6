------------------------------- MODULE Groups -------------------------------
(* The logs of many groups in one log, and how space is given back without  *)
(* losing an entry, and without bringing one back.                          *)
(* README.md beside this file maps each action to its function.             *)
(*                                                                          *)
(* The log below keeps the promises of Log.tla: after a crash it ends after *)
(* a whole batch, not before the last durable record; a removed chunk is    *)
(* gone for good, and goes only once all before its removal is durable.     *)
(* A record's place is its number in the log, from 1.                       *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Groups,     \* 1 .. n
    Indexes,    \* those that entries may have: 1 .. n
    Changes,    \* the kinds of changes that are made
    Batches,    \* whether two changes are made together
    Records,    \* the log has no more records than this
    Full,       \* a chunk with this many records is full
    Step,       \* records that are appended anew at a time, at most
    Downs       \* the number of crashes

VARIABLES
    log,    \* the log on the disk: its records, how far it is durable, and the chunks that are gone
    m,      \* the process: the index, and the thread that reclaims space; gone after a crash
    h       \* what the program was told, and counters: no part of the system

Min(S) == CHOOSE x \in S : \A y \in S : x <= y
Max(S) == CHOOSE x \in S : \A y \in S : x >= y

-----------------------------------------------------------------------------
(* Records. `id` says which commit an entry or a state is of. `more` is the *)
(* flag of a batch on the disk; `left` is how much of the batch follows: no *)
(* part of the system.                                                      *)

Record(kind, group, index, next, id) ==
    [kind |-> kind, group |-> group, index |-> index, next |-> next, id |-> id, chunk |-> 0, more |-> FALSE, left |-> 0]

Entry(group, index, id) == Record("entry", group, index, 0, id)
Moved(group, index, id) == Record("moved", group, index, 0, id)
State(group, id) == Record("state", group, 0, 0, id)
Bounds(group, first, next) == Record("bounds", group, first, next, 0)
Truncate(group, index) == Record("truncate", group, index, 0, 0)
Destroy(group) == Record("destroy", group, 0, 0, 0)

-----------------------------------------------------------------------------
(* The index: the place of each record that is alive. Places are 0 where    *)
(* there is no record.                                                      *)

NoGroup ==
    [first |-> 0, next |-> 0, bounds |-> 0, state |-> 0, at |-> [i \in Indexes |-> 0], twice |-> FALSE]
Empty == [g \in Groups |-> NoGroup]

HoldsNothing(g) == g.bounds = 0 /\ g.state = 0 /\ \A i \in Indexes : g.at[i] = 0

Without(g, dead) == [i \in Indexes |-> IF i \in dead THEN 0 ELSE g.at[i]]

Truncated(g, from) ==
    LET left == [g EXCEPT !.next = IF @ < from THEN @ ELSE from, !.at = Without(g, {i \in Indexes : i >= from})] IN
    IF HoldsNothing(left) THEN NoGroup ELSE left

\* What a record makes of its group.
After(g, r, p) ==
    IF r.kind = "entry" THEN
        [g EXCEPT !.next = r.index + 1, !.at[r.index] = p, !.twice = @ \/ g.at[r.index] # 0]
    ELSE IF r.kind = "moved" THEN [g EXCEPT !.next = Max({@, r.index + 1}), !.at[r.index] = p]
    ELSE IF r.kind = "state" THEN [g EXCEPT !.state = p]
    ELSE IF r.kind = "bounds" THEN
        [g EXCEPT !.first = r.index, !.next = r.next, !.bounds = p,
                  !.at = Without(g, {i \in Indexes : i < r.index})]
    ELSE IF r.kind = "truncate" THEN Truncated(g, r.index)
    ELSE NoGroup

Apply(index, r, p) == [index EXCEPT ![r.group] = After(@, r, p)]

RECURSIVE ApplyAll(_, _, _)
ApplyAll(index, records, p) ==
    IF records = <<>> THEN index ELSE ApplyAll(Apply(index, Head(records), p), Tail(records), p + 1)

IsAlive(index, p) ==
    LET r == log.records[p]
        g == index[r.group]
    IN
    IF r.kind \in {"entry", "moved"} THEN g.at[r.index] = p
    ELSE IF r.kind = "state" THEN g.state = p
    ELSE r.kind = "bounds" /\ g.bounds = p

\* Opening: the records that are left, in order.
RECURSIVE Replayed(_, _)
Replayed(index, p) ==
    IF p > Len(log.records) THEN index
    ELSE LET r == log.records[p] IN Replayed(IF r.chunk \in log.gone THEN index ELSE Apply(index, r, p), p + 1)

\* Looked for once all is replayed: moved entries come after later ones.
HasHole(g) ==
    LET there == {i \in Indexes : g.at[i] # 0} IN
    IF g.bounds = 0 THEN there # {} ELSE there # g.first .. g.next - 1

-----------------------------------------------------------------------------
(* Chunks.                                                                  *)

Len0 == Len(log.records)
Newest == IF Len0 = 0 THEN 1 ELSE log.records[Len0].chunk
PlacesIn(chunk) == {p \in 1 .. Len0 : log.records[p].chunk = chunk}

\* A batch is in one chunk.
OpenChunk == IF Cardinality(PlacesIn(Newest)) >= Full THEN Newest + 1 ELSE Newest

InBatch(records) ==
    LET n == Len(records)
        chunk == OpenChunk
    IN [i \in 1 .. n |-> [records[i] EXCEPT !.chunk = chunk, !.more = i < n, !.left = n - i]]

Append1(records) ==
    /\ Len0 + Len(records) <= Records
    /\ log' = [log EXCEPT !.records = @ \o InBatch(records)]

Drained == {m.removals[i].chunk : i \in 1 .. Len(m.removals)}

\* The oldest chunk that is not given up, if a later one has begun.
Oldest ==
    LET kept == {log.records[p].chunk : p \in 1 .. Len0} \ (log.gone \cup Drained) IN
    IF Cardinality(kept) > 1 THEN {Min(kept)} ELSE {}

-----------------------------------------------------------------------------
(* What the program has made of the groups, without a log: one version for  *)
(* each commit.                                                             *)

NoTruth == [has |-> FALSE, first |-> 0, next |-> 0, ids |-> [i \in Indexes |-> 0], state |-> 0]

Truth == h.versions[Len(h.versions)].groups

\* Changes that a group allows.
ChangesOf(t, g) ==
    LET change(kind, at) == [kind |-> kind, group |-> g, at |-> at]
        next == IF t.has THEN t.next ELSE 1
    IN
    (IF "append" \in Changes /\ next \in Indexes THEN {change("append", next)} ELSE {})
    \cup (IF "truncate" \in Changes /\ t.has THEN {change("truncate", i) : i \in t.first .. t.next - 1} ELSE {})
    \cup (IF "purge" \in Changes
          THEN {change("purge", i) : i \in {i \in 2 .. Max(Indexes) + 1 : ~t.has \/ i > t.first /\ i <= t.next + 1}}
          ELSE {})
    \cup (IF "state" \in Changes THEN {change("state", 0)} ELSE {})
    \cup (IF "destroy" \in Changes /\ (t.has \/ t.state # 0) THEN {change("destroy", 0)} ELSE {})

Made(t, c, id) ==
    IF c.kind = "append" THEN
        [t EXCEPT !.has = TRUE, !.first = IF t.has THEN @ ELSE c.at, !.next = c.at + 1, !.ids[c.at] = id]
    ELSE IF c.kind = "truncate" THEN [t EXCEPT !.next = c.at, !.ids = [i \in Indexes |-> IF i < c.at THEN @[i] ELSE 0]]
    ELSE IF c.kind = "purge" THEN
        [t EXCEPT !.has = TRUE, !.first = c.at, !.next = Max({@, c.at}),
                  !.ids = [i \in Indexes |-> IF i < c.at THEN 0 ELSE @[i]]]
    ELSE IF c.kind = "state" THEN [t EXCEPT !.state = id]
    ELSE NoTruth

\* The records of a change, as the index is before it.
RecordsOf(g, c, id) ==
    IF c.kind = "append" THEN
        IF g.bounds = 0 THEN <<Bounds(c.group, c.at, c.at), Entry(c.group, c.at, id)>> ELSE <<Entry(c.group, c.at, id)>>
    ELSE IF c.kind = "truncate" THEN <<Truncate(c.group, c.at)>>
    ELSE IF c.kind = "purge" THEN <<Bounds(c.group, c.at, Max({g.next, c.at}))>>
    ELSE IF c.kind = "state" THEN <<State(c.group, id)>>
    ELSE <<Destroy(c.group)>>

-----------------------------------------------------------------------------
Down == [pc |-> "down", index |-> Empty, read |-> 0, step |-> <<>>, removals |-> <<>>]

Init ==
    /\ log = [records |-> <<>>, durable |-> 0, gone |-> {}]
    /\ m = [Down EXCEPT !.pc = "up"]
    /\ h = [versions |-> <<[end |-> 0, groups |-> [g \in Groups |-> NoTruth]]>>, acked |-> 1, downs |-> 0]

-----------------------------------------------------------------------------
(* The program. All of a commit, and the change of the index, is under the  *)
(* log's lock.                                                              *)

Id == 100 * h.downs + Len(h.versions)

Write(records, groups) ==
    /\ Append1(records)
    /\ m' = [m EXCEPT !.index = ApplyAll(@, records, Len0 + 1)]
    /\ h' = [h EXCEPT !.versions = Append(@, [end |-> Len0 + Len(records), groups |-> groups])]

Commit ==
    /\ m.pc = "up" /\ Len0 < Records
    /\ \E g \in Groups : \E c \in ChangesOf(Truth[g], g) :
        Write(RecordsOf(m.index[g], c, Id), [Truth EXCEPT ![g] = Made(@, c, Id)])

\* Of one group or of two; the second change as the first leaves its group.
CommitBatch ==
    /\ Batches /\ m.pc = "up" /\ Len0 + 1 < Records
    /\ \E g \in Groups : \E c \in ChangesOf(Truth[g], g) :
       \E groups \in {[Truth EXCEPT ![g] = Made(@, c, Id)]} :
       \E first \in {RecordsOf(m.index[g], c, Id)} :
       \E index \in {ApplyAll(m.index, first, Len0 + 1)} :
       \E other \in Groups : \E d \in ChangesOf(groups[other], other) :
        Write(first \o RecordsOf(index[other], d, Id), [groups EXCEPT ![other] = Made(@, d, Id)])

Sync ==
    /\ m.pc = "up" /\ log.durable < Len0
    /\ log' = [log EXCEPT !.durable = Len0]
    /\ h' = [h EXCEPT !.acked = Len(h.versions)]
    /\ UNCHANGED m

-----------------------------------------------------------------------------
(* The thread that reclaims space. How much space makes it start is left    *)
(* out: it may at any time.                                                 *)

\* Reads the next record that is alive in the oldest chunk, without the lock.
ReadAlive ==
    /\ m.pc = "up" /\ Len(m.step) < Step
    /\ \E chunk \in Oldest : \E alive \in {{p \in PlacesIn(chunk) : p > m.read /\ IsAlive(m.index, p)}} :
        /\ alive # {}
        /\ m' = [m EXCEPT !.step = Append(@, Min(alive)), !.read = Min(alive)]
    /\ UNCHANGED <<log, h>>

\* The record that says the same from its new place on.
Again(p) ==
    LET r == log.records[p]
        g == m.index[r.group]
    IN
    IF r.kind \in {"entry", "moved"} THEN Moved(r.group, r.index, r.id)
    ELSE IF r.kind = "bounds" THEN Bounds(r.group, g.first, g.next)
    ELSE State(r.group, r.id)

RECURSIVE AgainAll(_)
AgainAll(step) ==
    IF step = <<>> THEN <<>>
    ELSE (IF IsAlive(m.index, Head(step)) THEN <<Again(Head(step))>> ELSE <<>>) \o AgainAll(Tail(step))

\* Under the lock: what is still alive.
MoveAlive ==
    /\ m.pc = "up" /\ m.step # <<>>
    /\ \E records \in {AgainAll(m.step)} :
        /\ Append1(records)
        /\ m' = [m EXCEPT !.index = ApplyAll(@, records, Len0 + 1), !.step = <<>>]
    /\ UNCHANGED h

\* Nothing in the chunk is alive: it is drained, and its removal is asked for.
LetGo ==
    /\ m.pc = "up" /\ m.step = <<>>
    /\ \E chunk \in Oldest :
        /\ \A p \in PlacesIn(chunk) : ~IsAlive(m.index, p)
        /\ m' = [m EXCEPT !.removals = Append(@, [chunk |-> chunk, asked |-> Len0]), !.read = 0]
    /\ UNCHANGED <<log, h>>

\* The log's own step.
Remove ==
    /\ m.pc = "up" /\ m.removals # <<>>
    /\ log.durable >= Head(m.removals).asked
    /\ log' = [log EXCEPT !.gone = @ \cup {Head(m.removals).chunk}]
    /\ m' = [m EXCEPT !.removals = Tail(@)]
    /\ UNCHANGED h

-----------------------------------------------------------------------------
(* A crash leaves any whole batches after the durable ones.                 *)

Crash ==
    /\ m.pc = "up" /\ h.downs < Downs
    /\ \E end \in {n \in log.durable .. Len0 : n = 0 \/ ~log.records[n].more} :
        /\ log' = [log EXCEPT !.records = SubSeq(@, 1, end)]
        /\ h' = [h EXCEPT !.downs = @ + 1, !.versions = SelectSeq(@, LAMBDA v : v.end <= end)]
    /\ m' = Down

\* What an open has found is durable.
Open ==
    /\ m.pc = "down"
    /\ \E index \in {Replayed(Empty, 1)} :
        IF \E g \in Groups : HasHole(index[g]) \/ index[g].twice
        THEN m' = [Down EXCEPT !.pc = "refused"] /\ UNCHANGED <<log, h>>
        ELSE /\ m' = [Down EXCEPT !.pc = "up", !.index = index]
             /\ log' = [log EXCEPT !.durable = Len0]
             /\ h' = [h EXCEPT !.acked = Max({@, Len(h.versions)})]

-----------------------------------------------------------------------------
Next ==
    \/ Commit
    \/ CommitBatch
    \/ Sync
    \/ ReadAlive
    \/ MoveAlive
    \/ LetGo
    \/ Remove
    \/ Crash
    \/ Open

vars == <<log, m, h>>
Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* The promises. What a program finds in a group: the ids that it reads, -1 *)
(* where a place has no record any more.                                    *)

Read(p) ==
    IF p = 0 THEN 0
    ELSE IF p > Len0 \/ log.records[p].chunk \in log.gone \cup Drained THEN -1
    ELSE log.records[p].id

IsUp == m.pc = "up"

AcknowledgedIsDurable == Len(h.versions) >= h.acked

\* After a crash: all of a commit or none of it.
NoBatchIsTorn == IsUp /\ Len0 > 0 => log.records[Len0].left = 0

\* Every open finds all entries from a group's first to its next index.
NoHole == m.pc # "refused"

NothingIsLost ==
    IsUp => \A g \in Groups :
        /\ \A i \in Indexes : Truth[g].ids[i] # 0 => Read(m.index[g].at[i]) # 0
        /\ Truth[g].state # 0 => m.index[g].state # 0
        /\ Truth[g].has => Read(m.index[g].bounds) = 0 /\ m.index[g].bounds # 0

NothingComesBack ==
    IsUp => \A g \in Groups :
        /\ \A i \in Indexes : m.index[g].at[i] # 0 => Read(m.index[g].at[i]) = Truth[g].ids[i]
        /\ m.index[g].state # 0 => Read(m.index[g].state) = Truth[g].state
        /\ m.index[g].bounds # 0 => Truth[g].has

BoundsAreKept ==
    IsUp => \A g \in Groups : Truth[g].has => m.index[g].first = Truth[g].first /\ m.index[g].next = Truth[g].next

=============================================================================
