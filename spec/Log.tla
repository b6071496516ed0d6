-------------------------------- MODULE Log --------------------------------
(* The log's protocol on a disk that loses what was not synced.             *)
(* README.md beside this file maps each action to its function.             *)
(*                                                                          *)
(* An entry of the log is a record or the head of a chunk (its header and   *)
(* its checkpoint). Entries are numbered from 1. A chunk is named after the *)
(* number of its head. Entry n of the chunk that starts with entry s is at  *)
(* place n - s of the chunk's file; a seal or a mark is at the next place.  *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Files,      \* the files that there may be: 1 .. n
    Last,       \* the last place of a file
    Entries,    \* the log has no more entries than this
    Downs,      \* the number of crashes and kills
    Crashes,    \* whether there are crashes, or kills alone
    Faults,     \* the number of syncs that fail
    Batches,    \* whether batches of two are appended
    Removals,   \* whether chunks are removed
    Closing     \* whether the log is closed and opened again

VARIABLES
    files,  \* bytes: what programs read, what a crash may leave, what the next sync covers
    names,  \* the same for the directory
    w,      \* the process: its threads' state, and what it knows; gone after a crash or a kill
    h       \* what the program was told, and counters: no part of the system

Place == 0 .. Last

Min(S) == CHOOSE x \in S : \A y \in S : x <= y
Max(S) == CHOOSE x \in S : \A y \in S : x >= y

-----------------------------------------------------------------------------
(* Frames. The salt is the id of the head of the chunk: a frame is valid    *)
(* only after this head, so bytes of a file's earlier life never are.       *)

Zero == [kind |-> "zero"]
Torn == [kind |-> "torn"]
Mark(salt) == [kind |-> "mark", salt |-> salt, closing |-> FALSE]
ClosingMark(salt) == [kind |-> "mark", salt |-> salt, closing |-> TRUE]
Seal(salt, crc) == [kind |-> "seal", salt |-> salt, crc |-> crc]

-----------------------------------------------------------------------------
(* The disk. A place may have any of its unsynced values after a crash, or  *)
(* none of them whole. The same bytes in the same place change nothing.     *)

Write(F, f, p, x) ==
    [F EXCEPT ![f].cache[p] = x,
              ![f].disk[p] = IF @ = {x} THEN @ ELSE @ \cup {x, Torn},
              ![f].dirty = @ \cup {p}]

WriteAgain(F, f, places) == [F EXCEPT ![f].dirty = @ \cup places]

Cut(F, f, from) ==
    LET gone == {p \in from .. Last : F[f].cache[p] # Zero} IN
    [F EXCEPT ![f].cache = [p \in Place |-> IF p \in gone THEN Zero ELSE @[p]],
              ![f].disk = [p \in Place |-> IF p \in gone THEN @[p] \cup {Zero, Torn} ELSE @[p]],
              ![f].dirty = @ \cup gone]

Synced(F, f) ==
    [F EXCEPT ![f].disk = [p \in Place |-> IF p \in F[f].dirty THEN {F[f].cache[p]} ELSE @[p]],
              ![f].dirty = {}]

\* A sync that failed: the pages count as clean, whatever the disk has.
NotSynced(F, f) == [F EXCEPT ![f].dirty = {}]

Absent == -1
Spare == 0

Rename(N, f, name) == [N EXCEPT ![f] = [now |-> name, disk |-> @.disk \cup {name}, dirty |-> TRUE]]

\* Renamed away and back, or from one spare's name to another: the next sync covers it.
RenameAgain(N, these) == [f \in Files |-> IF f \in these THEN [N[f] EXCEPT !.dirty = TRUE] ELSE N[f]]

NamesSynced(N) ==
    [f \in Files |-> IF N[f].dirty THEN [now |-> N[f].now, disk |-> {N[f].now}, dirty |-> FALSE] ELSE N[f]]

NamesNotSynced(N) == [f \in Files |-> [N[f] EXCEPT !.dirty = FALSE]]

-----------------------------------------------------------------------------
(* Reading a chunk: format.md, "Scanning a chunk".                          *)

At(f, p) == files[f].cache[p]
IsHead(f) == At(f, 0).kind = "head"
Start(f) == At(f, 0).start
IsFrame(x) == x.kind \notin {"zero", "torn"}
Valid(f, p) == IsFrame(At(f, p)) /\ At(f, p).salt = At(f, 0).salt
IsRecord(f, p) == Valid(f, p) /\ At(f, p).kind = "record"

\* The first place without a record, and the place after the last batch that is whole.
Break(f) == Min({p \in 1 .. Last : ~IsRecord(f, p)})
End(f) == Max({p \in 1 .. Break(f) : ~At(f, p - 1).more})
LastEntry(f) == Start(f) + End(f) - 1
Crc(f, n) == [i \in 1 .. n |-> At(f, i - 1).id]

\* A later frame says that what is at place `at` was durable once.
IsProven(f, at) ==
    \E p \in at + 1 .. Last :
        /\ Valid(f, p)
        /\ At(f, p).kind \in {"seal", "mark"} \/ At(f, p).durable >= Start(f) + at

Ending(f) ==
    LET at == Break(f)
        end == End(f)
        kind == IF Valid(f, at) THEN At(f, at).kind ELSE "none"
    IN
    IF kind = "seal" THEN IF end = at /\ At(f, at).crc = Crc(f, end) THEN "sealed" ELSE "corrupt"
    ELSE IF kind = "mark" THEN
        IF end # at THEN "corrupt"
        ELSE IF At(f, at).closing THEN "closed"
        ELSE IF IsProven(f, at) THEN "corrupt"
        ELSE IF \E p \in at + 1 .. Last : Valid(f, p) THEN "torn"
        ELSE "marked"
    ELSE IF end = at /\ ~At(f, 0).used /\ (\A p \in at .. Last : At(f, p) = Zero) THEN "zeros"
    ELSE IF IsProven(f, end) THEN "corrupt"
    ELSE "torn"

\* The last entry that is known to be durable: a final name proves the head, a mark or a seal all before it.
Proven(f) ==
    IF Ending(f) \in {"marked", "closed", "sealed"} THEN LastEntry(f)
    ELSE LET said == {At(f, p).durable : p \in {q \in Place : Valid(f, q) /\ At(f, q).kind \in {"head", "record"}}}
         IN Min({LastEntry(f), Max(said \cup {Start(f)})})

-----------------------------------------------------------------------------
(* Reading a directory: durability.md, "Recovery".                          *)

Named == {f \in Files : names[f].now > 0}
Spares == {f \in Files : names[f].now = Spare}
Newest == CHOOSE f \in Named : \A g \in Named : names[g].now <= names[f].now
Oldest == CHOOSE f \in Named : \A g \in Named : names[g].now >= names[f].now
Chunks == [i \in 1 .. Cardinality(Named) |->
              CHOOSE f \in Named : Cardinality({g \in Named : names[g].now < names[f].now}) = i - 1]

\* A chunk without its name: a spare with the head of the newest chunk's successor.
Continues(f) ==
    /\ IsHead(f)
    /\ Start(f) > Start(Newest)
    /\ LET p == Start(f) - Start(Newest) IN
       \/ p <= Last /\ At(Newest, p) = Seal(At(Newest, 0).salt, At(f, 0).prev)
       \/ p = End(Newest) /\ At(f, 0).prev = Crc(Newest, p)
Unnamed == IF Named = {} \/ ~IsHead(Newest) THEN {} ELSE {f \in Spares : Continues(f)}

\* Only sealed chunks have successors, and none begins where another does not end.
Follows(f, g) ==
    /\ Ending(f) = "sealed"
    /\ Start(g) = LastEntry(f) + 1
    /\ At(g, 0).prev = Crc(f, End(f))

IsSound ==
    /\ \A f \in Named : IsHead(f) /\ Start(f) = names[f].now
    /\ \A i \in 1 .. Len(Chunks) - 1 : Follows(Chunks[i], Chunks[i + 1])
    /\ Named # {} => Ending(Newest) # "corrupt"
    \* A head after the newest chunk's end that does not continue it proves that something is missing.
    /\ Named # {} => \A f \in Spares : ~(IsHead(f) /\ Start(f) > LastEntry(Newest))

FirstFound == IF Named = {} THEN 1 ELSE Start(Oldest)
LastFound == IF Named = {} THEN 0 ELSE LastEntry(Newest)
Holder(n) == CHOOSE f \in Named : Start(f) <= n /\ n <= LastEntry(f)
Found(n) == At(Holder(n), n - Start(Holder(n)))

-----------------------------------------------------------------------------
NoRemoval == [step |-> "none", asked |-> 0, next |-> 0, file |-> 0]

\* No process.
Down ==
    [pc |-> "down", live |-> <<>>, written |-> 0, synced |-> 0, marked |-> FALSE, stage |-> "none",
     first |-> FALSE, unopened |-> FALSE, next |-> 0, dir |-> "durable", moving |-> 0, spares |-> {}, fresh |-> {},
     removal |-> NoRemoval, cuts |-> {}]

Init ==
    /\ files = [f \in Files |-> [cache |-> [p \in Place |-> Zero], disk |-> [p \in Place |-> {Zero}], dirty |-> {}]]
    /\ names = [f \in Files |-> [now |-> Absent, disk |-> {Absent}, dirty |-> FALSE]]
    /\ w = Down
    /\ h = [log |-> <<>>, acked |-> 0, first |-> 1, removal |-> NoRemoval, downs |-> 0, faults |-> 0]

\* What was only in memory is gone with the process, and no recovery may find it.
Written == IF w.pc \in {"up", "closing", "closed"} THEN SubSeq(h.log, 1, w.written) ELSE h.log

\* After the first failure nothing more is done: "the first failure is final".
Fail ==
    /\ h.faults < Faults
    /\ h' = [h EXCEPT !.faults = @ + 1, !.log = Written]
    /\ w' = [Down EXCEPT !.pc = "failed"]

-----------------------------------------------------------------------------
(* The appender: memory only. This and the next two parts are of a running  *)
(* process, whose `w.pc` is "up".                                           *)

Id(n) == 10 * h.downs + n
LastHead == Max({n \in 1 .. Len(h.log) : h.log[n].kind = "head"})
Record(n, more) ==
    [kind |-> "record", id |-> Id(n), salt |-> h.log[LastHead].salt, durable |-> w.synced, more |-> more]

Append1 ==
    /\ ~w.unopened /\ Len(h.log) < Entries
    /\ Len(h.log) + 1 - LastHead < Last
    /\ h' = [h EXCEPT !.log = Append(@, Record(Len(@) + 1, FALSE))]
    /\ UNCHANGED <<files, names, w>>

AppendBatch ==
    /\ ~w.unopened /\ Batches /\ Len(h.log) + 1 < Entries
    /\ Len(h.log) + 2 - LastHead < Last
    /\ h' = [h EXCEPT !.log = @ \o <<Record(Len(@) + 1, TRUE), Record(Len(@) + 2, FALSE)>>]
    /\ UNCHANGED <<files, names, w>>

FirstEntry(f) ==
    LET n == Len(h.log) + 1
        prev == IF n = 1 THEN <<>> ELSE [i \in 1 .. n - LastHead |-> h.log[LastHead + i - 1].id]
    IN [kind |-> "head", id |-> Id(n), salt |-> Id(n), start |-> n, prev |-> prev, used |-> f \notin w.fresh,
        durable |-> w.synced, more |-> FALSE]

Rotate ==
    /\ w.next = 0 /\ w.spares # {} /\ Len(h.log) < Entries
    /\ \E f \in {Min(w.spares)} :
        /\ h' = [h EXCEPT !.log = Append(@, FirstEntry(f))]
        /\ w' = [w EXCEPT !.next = f, !.spares = @ \ {f}, !.fresh = @ \ {f}, !.first = @ \/ w.unopened,
                          !.unopened = FALSE]
    /\ UNCHANGED <<files, names>>

\* The program asks for the oldest chunk's removal because of something that it has appended.
AskRemoval ==
    /\ Removals /\ ~w.unopened /\ w.removal.step = "none"
    /\ Len(w.live) >= 2
    /\ \E removal \in
            {[step |-> "asked", asked |-> Len(h.log), next |-> w.live[2].start, file |-> w.live[1].file]} :
        w' = [w EXCEPT !.removal = removal] /\ h' = [h EXCEPT !.removal = removal]
    /\ UNCHANGED <<files, names>>

-----------------------------------------------------------------------------
(* The worker.                                                              *)

Open == w.live[Len(w.live)]
PlaceOf(n) == n - Open.start
Salt == h.log[Open.start].salt
IsWhole == w.written > 0 /\ ~h.log[w.written].more

WriteNext ==
    /\ (w.stage = "open" \/ w.stage = "unnamed" /\ ~w.first)
    /\ w.written < Len(h.log) /\ h.log[w.written + 1].kind = "record"
    /\ files' = Write(files, Open.file, PlaceOf(w.written + 1), h.log[w.written + 1])
    /\ w' = [w EXCEPT !.written = @ + 1, !.marked = FALSE]
    /\ UNCHANGED <<names, h>>

Acknowledge(n) == h' = [h EXCEPT !.acked = n]

Sync ==
    /\ w.stage = "open" /\ w.written > w.synced /\ IsWhole
    /\ \/ /\ files' = Synced(files, Open.file)
          /\ w' = [w EXCEPT !.synced = w.written]
          /\ Acknowledge(w.written)
       \/ files' = NotSynced(files, Open.file) /\ Fail
    /\ UNCHANGED names

WriteMark ==
    /\ w.stage = "open" /\ ~w.marked
    /\ w.written = w.synced
    /\ w.dir # "pending"
    /\ files' = Write(files, Open.file, PlaceOf(w.written + 1), Mark(Salt))
    /\ w' = [w EXCEPT !.marked = TRUE]
    /\ UNCHANGED <<names, h>>

WriteSeal ==
    /\ w.stage = "open" /\ w.next # 0 /\ h.log[w.written + 1].kind = "head"
    /\ w.written = w.synced
    /\ files' = Write(files, Open.file, PlaceOf(w.written + 1), Seal(Salt, h.log[w.written + 1].prev))
    /\ w' = [w EXCEPT !.stage = "sealing"]
    /\ UNCHANGED <<names, h>>

SyncSeal ==
    /\ w.stage = "sealing"
    /\ \/ /\ files' = Synced(files, Open.file)
          /\ w' = [w EXCEPT !.stage = "sealed"]
          /\ UNCHANGED h
       \/ files' = NotSynced(files, Open.file) /\ Fail
    /\ UNCHANGED names

\* The head goes into a file with a spare's name.
BeginChunk ==
    /\ w.stage = "sealed" /\ w.next # 0
    /\ files' = Write(files, w.next, 0, h.log[w.written + 1])
    /\ w' = [w EXCEPT !.live = Append(@, [file |-> w.next, start |-> w.written + 1]), !.next = 0,
                      !.written = @ + 1, !.marked = FALSE, !.stage = "unnamed"]
    /\ UNCHANGED <<names, h>>

SyncChunk ==
    /\ w.stage = "unnamed" /\ IsWhole
    /\ \/ /\ files' = Synced(files, Open.file)
          /\ w' = [w EXCEPT !.stage = "synced"]
          /\ UNCHANGED h
       \/ files' = NotSynced(files, Open.file) /\ Fail
    /\ UNCHANGED names

CutAfterSeal(old) == [file |-> old.file, from |-> Open.start - old.start + 1]

\* Without a chunk before it, only the name says what the file is: then nothing is acknowledged yet.
NameChunk ==
    /\ w.stage = "synced"
    /\ w.dir = "durable"
    /\ names' = Rename(names, Open.file, Open.start)
    /\ IF w.first THEN w' = [w EXCEPT !.stage = "first", !.dir = "pending"] /\ UNCHANGED h
       ELSE /\ w' = [w EXCEPT !.stage = "open", !.dir = "pending", !.synced = w.written,
                              !.cuts = @ \cup {CutAfterSeal(w.live[Len(w.live) - 1])}]
            /\ Acknowledge(w.written)
    /\ UNCHANGED files

\* The housekeeper may have removals left, and cuts.
Close ==
    /\ Closing /\ w.stage = "open" /\ w.dir # "pending" /\ w.removal.step # "asked"
    /\ w.written = w.synced /\ w.written = Len(h.log)
    /\ files' = Write(files, Open.file, PlaceOf(w.written + 1), ClosingMark(Salt))
    /\ w' = [w EXCEPT !.pc = "closing"]
    /\ UNCHANGED <<names, h>>

SyncClose ==
    /\ w.pc = "closing"
    /\ \/ files' = Synced(files, Open.file) /\ w' = [w EXCEPT !.pc = "closed"] /\ UNCHANGED h
       \/ files' = NotSynced(files, Open.file) /\ Fail
    /\ UNCHANGED names

\* A removal that has failed is left to the next process.
Exit ==
    /\ w.pc = "closed"
    /\ w.dir = "durable" /\ w.cuts = {} /\ w.removal.step \in {"none", "failed"}
    /\ w' = Down
    /\ UNCHANGED <<files, names, h>>

-----------------------------------------------------------------------------
(* The housekeeper. `w.dir` is the lock on names: "moving" while the        *)
(* housekeeper has an unsynced change, "pending" while a new chunk's name   *)
(* is not durable; "undoing" while a new file is given up. None of them     *)
(* allows another change.                                                   *)

SyncNames ==
    /\ w.dir = "pending"
    /\ \/ /\ names' = NamesSynced(names)
          /\ IF w.stage = "first"
             THEN /\ w' = [w EXCEPT !.dir = "durable", !.stage = "open", !.first = FALSE, !.synced = w.written]
                  /\ Acknowledge(w.written)
             ELSE w' = [w EXCEPT !.dir = "durable"] /\ UNCHANGED h
       \/ names' = NamesNotSynced(names) /\ Fail
    /\ UNCHANGED files

CutChunk ==
    /\ \E cut \in w.cuts :
        /\ files' = Cut(files, cut.file, cut.from)
        /\ w' = [w EXCEPT !.cuts = @ \ {cut}]
    /\ UNCHANGED <<names, h>>

MakeSpare ==
    /\ w.spares = {} /\ w.next = 0
    /\ w.dir = "durable"
    /\ \E f \in {f \in Files : names[f].now = Absent} :
        /\ \A g \in Files : names[g].now = Absent => f <= g
        /\ names' = Rename(names, f, Spare)
        /\ w' = [w EXCEPT !.dir = "moving", !.moving = f]
    /\ UNCHANGED <<files, h>>

\* A removal comes to the housekeeper once what it was asked for is durable, and after a rotation's name.
HandOverRemoval ==
    /\ w.removal.step = "asked"
    /\ w.synced >= w.removal.asked
    /\ w.stage \in {"open", "sealing", "sealed"}
    /\ w' = [w EXCEPT !.removal.step = "handed over"]
    /\ UNCHANGED <<files, names, h>>

RenameRemoved ==
    /\ w.removal.step = "handed over"
    /\ \A cut \in w.cuts : cut.file # w.removal.file
    /\ w.dir = "durable"
    /\ names' = Rename(names, w.removal.file, Spare)
    /\ w' = [w EXCEPT !.removal.step = "renamed", !.dir = "moving", !.moving = w.removal.file]
    /\ UNCHANGED <<files, h>>

\* After a failed sync the file is renamed once more, because a second sync alone proves nothing.
RenameRemovedAgain ==
    /\ w.removal.step = "failed"
    /\ w.dir = "durable"
    /\ names' = RenameAgain(names, {w.removal.file})
    /\ w' = [w EXCEPT !.removal.step = "renamed", !.dir = "moving", !.moving = w.removal.file]
    /\ UNCHANGED <<files, h>>

SyncMove ==
    /\ w.dir = "moving"
    /\ \/ /\ names' = NamesSynced(names)
          /\ IF w.removal.step = "renamed"
             THEN /\ w' = [w EXCEPT !.dir = "durable", !.moving = 0, !.spares = @ \cup {w.moving},
                                    !.live = Tail(@), !.removal = NoRemoval]
                  /\ h' = [h EXCEPT !.first = w.removal.next, !.removal = NoRemoval]
             ELSE /\ w' = [w EXCEPT !.dir = "durable", !.moving = 0, !.spares = @ \cup {w.moving},
                                    !.fresh = @ \cup {w.moving}]
                  /\ UNCHANGED h
       \* No failure of the log: the removal is tried again, and the new file is given up.
       \/ /\ h.faults < Faults
          /\ h' = [h EXCEPT !.faults = @ + 1]
          /\ IF w.removal.step = "renamed"
             THEN /\ names' = NamesNotSynced(names)
                  /\ w' = [w EXCEPT !.dir = "durable", !.moving = 0, !.removal.step = "failed"]
             ELSE /\ names' = NamesNotSynced(names)
                  /\ w' = [w EXCEPT !.dir = "undoing"]
    /\ UNCHANGED files

UndoSpare ==
    /\ w.dir = "undoing"
    /\ names' = Rename(names, w.moving, Absent)
    /\ w' = [w EXCEPT !.dir = "durable", !.moving = 0]
    /\ UNCHANGED <<files, h>>

-----------------------------------------------------------------------------
(* Crashes, and kills, after which the operating system still has all.      *)

IsRunning == w.pc \notin {"down", "refused"}

RECURSIVE Choices(_, _)
Choices(sets, of) ==
    IF of = {} THEN {<<>>}
    ELSE LET one == CHOOSE x \in of : TRUE IN
         {(one :> value) @@ rest : value \in sets[one], rest \in Choices(sets, of \ {one})}

\* All that a crash may leave of the disk.
Left ==
    LET places == {<<f, p>> \in Files \X Place : Cardinality(files[f].disk[p]) > 1}
        renamed == {f \in Files : Cardinality(names[f].disk) > 1}
        contents == Choices([x \in places |-> files[x[1]].disk[x[2]]], places)
        called == Choices([f \in renamed |-> names[f].disk], renamed)
        bytes(c, f, p) == IF <<f, p>> \in places THEN c[<<f, p>>] ELSE files[f].cache[p]
        name(n, f) == IF f \in renamed THEN n[f] ELSE names[f].now
    IN
    {[files |-> [f \in Files |-> [cache |-> [p \in Place |-> bytes(c, f, p)],
                                  disk |-> [p \in Place |-> {bytes(c, f, p)}], dirty |-> {}]],
      names |-> [f \in Files |-> [now |-> name(n, f), disk |-> {name(n, f)}, dirty |-> FALSE]]]
        : c \in contents, n \in called}

Kill ==
    /\ IsRunning /\ h.downs < Downs
    /\ w' = Down
    /\ h' = [h EXCEPT !.downs = @ + 1, !.log = Written]
    /\ UNCHANGED <<files, names>>

Crash ==
    /\ Crashes /\ IsRunning /\ h.downs < Downs
    /\ \E left \in Left : files' = left.files /\ names' = left.names
    /\ w' = Down
    /\ h' = [h EXCEPT !.downs = @ + 1, !.log = Written]

-----------------------------------------------------------------------------
(* Opening: durability.md, "Open". Nothing but names is changed before the  *)
(* verdict.                                                                 *)

AdoptHead ==
    /\ w.pc = "down"
    /\ \E f \in Unnamed :
        \/ /\ names' = NamesSynced(RenameAgain(names, {Newest}))
           /\ \/ /\ files' = Synced(WriteAgain(files, f, {0}), f)
                 /\ w' = [Down EXCEPT !.pc = "adopting", !.moving = f]
                 /\ UNCHANGED h
              \/ files' = NotSynced(files, f) /\ Fail
        \/ names' = NamesNotSynced(names) /\ UNCHANGED files /\ Fail

AdoptName ==
    /\ w.pc = "adopting"
    /\ names' = Rename(names, w.moving, Start(w.moving))
    /\ w' = [Down EXCEPT !.pc = "adopted"]
    /\ UNCHANGED <<files, h>>

AdoptSync ==
    /\ w.pc = "adopted"
    /\ \/ names' = NamesSynced(names) /\ w' = Down /\ UNCHANGED h
       \/ names' = NamesNotSynced(names) /\ Fail
    /\ UNCHANGED files

Judge ==
    /\ w.pc = "down" /\ Unnamed = {}
    /\ w' = [Down EXCEPT !.pc = IF IsSound THEN "judged" ELSE "refused"]
    /\ UNCHANGED <<files, names, h>>

\* A mark proves the newest chunk's name, because none is written before the name is durable.
RepairNames ==
    /\ w.pc = "judged"
    /\ LET doubtful == IF Named = {} \/ Ending(Newest) \in {"marked", "closed"} THEN {} ELSE {Newest} IN
       /\ \/ /\ names' = NamesSynced(RenameAgain(names, Spares \cup doubtful))
             /\ w' = [Down EXCEPT !.pc = IF Named = {} THEN "opened" ELSE "named"]
             /\ UNCHANGED h
          \/ names' = NamesNotSynced(names) /\ Fail
       /\ UNCHANGED files

\* A crash came before the cut of a closed chunk.
CutMissed ==
    /\ w.pc = "named"
    /\ \E f \in Named \ {Newest} :
        /\ \E p \in End(f) + 1 .. Last : At(f, p) # Zero
        /\ files' = Cut(files, f, End(f) + 1)
    /\ UNCHANGED <<names, w, h>>

\* Reading the records back would prove nothing: they may be in the page cache only.
RewriteRecords ==
    /\ w.pc = "named"
    /\ \E doubtful \in {{n - Start(Newest) : n \in Proven(Newest) + 1 .. LastEntry(Newest)}} :
        \/ /\ files' = IF doubtful = {} THEN files ELSE Synced(WriteAgain(files, Newest, doubtful), Newest)
           /\ w' = [Down EXCEPT !.pc = "rewritten"]
           /\ UNCHANGED h
        \/ doubtful # {} /\ files' = NotSynced(files, Newest) /\ Fail
    /\ UNCHANGED names

\* A frame after the mark may be torn and yet have a sound header: ADR 4.
MayBeTorn(f, end) == Ending(f) = "marked" /\ \E p \in end + 1 .. Last : At(f, p) = Torn

\* A mark that replaces a mark is synced, because the other may be a closing mark.
WriteEnd ==
    /\ w.pc = "rewritten"
    /\ \E f \in {Newest} : \E end \in {End(f)} :
       \E ending \in {Ending(f)} \cup (IF MayBeTorn(f, end) THEN {"torn"} ELSE {}) :
        IF ending \in {"marked", "closed", "zeros"}
        THEN /\ files' = Write(files, f, end, Mark(At(f, 0).salt))
             /\ w' = [Down EXCEPT !.pc = IF ending = "zeros" THEN "opened" ELSE "ending"]
        ELSE /\ files' = Cut(Write(files, f, end, Seal(At(f, 0).salt, Crc(f, end))), f, end + 1)
             /\ w' = [Down EXCEPT !.pc = "ending"]
    /\ UNCHANGED <<names, h>>

SyncEnd ==
    /\ w.pc = "ending"
    /\ \/ files' = Synced(files, Newest) /\ w' = [Down EXCEPT !.pc = "opened"] /\ UNCHANGED h
       \/ files' = NotSynced(files, Newest) /\ Fail
    /\ UNCHANGED names

\* The program has its log. What was replayed counts as acknowledged.
Return ==
    /\ w.pc = "opened"
    /\ \E goesOn \in {Named # {} /\ Ending(Newest) = "marked"} : \E last \in {LastFound} :
        /\ w' = [Down EXCEPT !.pc = "up", !.written = last, !.synced = last, !.marked = goesOn,
                             !.live = [i \in 1 .. Len(Chunks) |-> [file |-> Chunks[i], start |-> Start(Chunks[i])]],
                             !.stage = IF goesOn THEN "open" ELSE "sealed", !.unopened = ~goesOn, !.spares = Spares]
        /\ h' = [h EXCEPT !.log = SubSeq(@, 1, last), !.acked = last, !.first = FirstFound, !.removal = NoRemoval]
    /\ UNCHANGED <<files, names>>

-----------------------------------------------------------------------------
Running ==
    \/ Append1
    \/ AppendBatch
    \/ Rotate
    \/ AskRemoval
    \/ WriteNext
    \/ Sync
    \/ WriteMark
    \/ WriteSeal
    \/ SyncSeal
    \/ BeginChunk
    \/ SyncChunk
    \/ NameChunk
    \/ Close

Housekeeping ==
    \/ SyncNames
    \/ CutChunk
    \/ MakeSpare
    \/ HandOverRemoval
    \/ RenameRemoved
    \/ RenameRemovedAgain
    \/ SyncMove
    \/ UndoSpare

OpeningOrClosing ==
    \/ SyncClose
    \/ Exit
    \/ AdoptHead
    \/ AdoptName
    \/ AdoptSync
    \/ Judge
    \/ RepairNames
    \/ CutMissed
    \/ RewriteRecords
    \/ WriteEnd
    \/ SyncEnd
    \/ Return

Next ==
    \/ IF w.pc = "up" THEN Running ELSE OpeningOrClosing
    \/ w.pc \in {"up", "closing", "closed"} /\ Housekeeping
    \/ Kill
    \/ Crash

vars == <<files, names, w, h>>
Spec == Init /\ [][Next]_vars

\* A constraint of a model in which an error needs many steps, and then one kill.
KillsAreLate == h.downs > 0 => h.acked = Entries

-----------------------------------------------------------------------------
(* The promises, as durability.md numbers them. Those on what a recovery    *)
(* finds are looked at when it has its verdict.                             *)

\* 1
AcknowledgedIsDurable == w.pc = "judged" => LastFound >= h.acked

\* 2: what was appended, in order, each once
RecoveredIsPrefix ==
    w.pc = "judged" => \A n \in FirstFound .. LastFound : n <= Len(h.log) /\ Found(n) = h.log[n]

\* 2: all of a batch or none of it
NoBatchIsTorn == w.pc = "judged" /\ Named # {} => ~Found(LastFound).more

\* 3: no crash looks like damage
NoCrashIsDamage == w.pc # "refused"

\* 7
RemovedIsRemoved == w.pc = "judged" => FirstFound >= h.first

\* 7: nothing is removed before that which it was asked for is durable
RemovedForAReason ==
    w.pc = "judged" /\ h.removal.step = "asked" /\ FirstFound >= h.removal.next => LastFound >= h.removal.asked

\* 9: when an open returns
RecoveredIsDurable ==
    w.pc = "opened" =>
        /\ \A f \in Named \cup Spares : names[f].disk = {names[f].now}
        /\ \A n \in FirstFound .. LastFound : files[Holder(n)].disk[n - Start(Holder(n))] = {Found(n)}

\* A second open after the first finds the same, and nothing to repair but an end.
RecoveryIsIdempotent ==
    w.pc = "opened" =>
        /\ IsSound /\ Unnamed = {}
        /\ LastFound >= h.acked
        /\ Named # {} => Ending(Newest) \in {"marked", "sealed"}

\* No crash leaves one name to two chunks.
NamesAreUnique == \A f, g \in Files : f # g => (names[f].disk \cap names[g].disk) \subseteq {Absent, Spare}

=============================================================================
