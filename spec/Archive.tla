------------------------------ MODULE Archive -------------------------------
(* The archive of a log in an object store: numbered manifests, and the     *)
(* epochs that fence an archiver off when another one starts.               *)
(* README.md beside this file maps each action to its function.             *)
(*                                                                          *)
(* A put is a request on the wire, for ever: the store may do it at once,   *)
(* late, twice or never, and its writer sends it again until it knows that  *)
(* it is done. Reads and listings see all that is done.                     *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Archivers,  \* how many may run at a time: 1 .. n
    Lives,      \* the number of times that an archiver is started
    Epochs,     \* 1 .. n
    Numbers,    \* of manifests: 1 .. n
    End,        \* the log grows up to here
    Uploads,    \* parts that an archiver puts side by side
    Kept,       \* manifests that an archiver keeps
    Prunes,     \* the number of prunes
    Pins        \* the number of pins

VARIABLES
    store,  \* what is in the store, and on the wire
    log,    \* the durable end of the log
    a,      \* the archivers
    o,      \* a prune and a pin, each in a process of its own
    h       \* what was reported, and counters: no part of the system

Min(S) == CHOOSE x \in S : \A y \in S : x <= y
Max(S) == CHOOSE x \in S : \A y \in S : x >= y

-----------------------------------------------------------------------------
(* The store. A part has the bytes of the log from one offset to another,   *)
(* and in its name these and its archiver's epoch: so the name says which   *)
(* bytes it has. `by` is the nonce of a manifest.                           *)

Part(from, to, epoch) == [from |-> from, to |-> to, epoch |-> epoch]

None == [number |-> 0, epoch |-> 0, by |-> 0, start |-> 0, parts |-> <<>>, pins |-> {}]

Manifests == {n \in Numbers : store.manifests[n].number # 0}
Highest == IF Manifests = {} THEN None ELSE store.manifests[Max(Manifests)]

EndOf(manifest) == IF manifest.parts = <<>> THEN 0 ELSE manifest.parts[Len(manifest.parts)].to
PartsOf(manifest) == {manifest.parts[i] : i \in 1 .. Len(manifest.parts)}
Following(manifest, epoch, by) == [manifest EXCEPT !.number = @ + 1, !.epoch = epoch, !.by = by]

PutEpoch(epoch, by) == [kind |-> "epoch", epoch |-> epoch, by |-> by]
PutPart(part) == [kind |-> "part", part |-> part]
PutManifest(manifest) == [kind |-> "manifest", manifest |-> manifest]

Send(put) == store' = [store EXCEPT !.wire = @ \cup {put}]

IsClaimed(epoch) == epoch \in Epochs /\ store.epochs[epoch] # 0
IsMade(manifest) == manifest.number \in Manifests

\* The number is taken: by this manifest or another one, which may be deleted since.
IsAnswered(manifest) == IsMade(manifest) \/ manifest.number < Highest.number

\* Epochs and manifests are made by create-if-absent.
Deliver ==
    /\ \E put \in store.wire :
        \/ /\ put.kind = "epoch" /\ store.epochs[put.epoch] = 0
           /\ store' = [store EXCEPT !.epochs[put.epoch] = put.by]
           /\ UNCHANGED h
        \/ /\ put.kind = "part" /\ put.part \notin store.parts
           /\ store' = [store EXCEPT !.parts = @ \cup {put.part}]
           /\ UNCHANGED h
        \/ /\ put.kind = "manifest" /\ ~IsMade(put.manifest)
           /\ store' = [store EXCEPT !.manifests[put.manifest.number] = put.manifest]
           /\ IF put.manifest.number > Highest.number THEN h' = [h EXCEPT !.epoch = Max({@, put.manifest.epoch})]
              ELSE UNCHANGED h
    /\ UNCHANGED <<log, a, o>>

-----------------------------------------------------------------------------
\* `read` is how far the log was read; `sent` are the parts that were put and are not published, of which the first
\* `acked` are acknowledged; `new` are those in the manifest `next` that was sent.
Off ==
    [pc |-> "off", by |-> 0, epoch |-> 0, base |-> None, read |-> 0, sent |-> <<>>, acked |-> 0, new |-> <<>>,
     next |-> None, reported |-> 0]
Idle == [pc |-> "idle", at |-> 0, next |-> None]

Init ==
    /\ store = [epochs |-> [e \in Epochs |-> 0], manifests |-> [n \in Numbers |-> None], parts |-> {}, wire |-> {}]
    /\ log = 0
    /\ a = [x \in Archivers |-> Off]
    /\ o = [prune |-> Idle, pin |-> Idle]
    /\ h = [epoch |-> 0, reported |-> 0, pins |-> {}, lives |-> 0, prunes |-> 0, pinned |-> 0, back |-> FALSE]

Grow ==
    /\ log < End
    /\ log' = log + 1
    /\ UNCHANGED <<store, a, o, h>>

-----------------------------------------------------------------------------
(* An archiver, step by step as in archive.md.                              *)

\* 1. Claim.
ClaimNext(x, by, epoch) ==
    /\ epoch \in Epochs
    /\ Send(PutEpoch(epoch, by))
    /\ a' = [a EXCEPT ![x] = [Off EXCEPT !.pc = "claiming", !.by = by, !.epoch = epoch]]

Start(x) ==
    /\ a[x].pc = "off" /\ h.lives < Lives
    /\ ClaimNext(x, h.lives + 1, Max({0} \cup {e \in Epochs : store.epochs[e] # 0}) + 1)
    /\ h' = [h EXCEPT !.lives = @ + 1]
    /\ UNCHANGED <<log, o>>

Claimed(x) ==
    /\ a[x].pc = "claiming" /\ IsClaimed(a[x].epoch)
    /\ IF store.epochs[a[x].epoch] = a[x].by
       THEN a' = [a EXCEPT ![x].pc = "claimed"] /\ UNCHANGED store
       ELSE ClaimNext(x, a[x].by, a[x].epoch + 1)
    /\ UNCHANGED <<log, o, h>>

\* Sends a manifest that follows on another.
Propose(x, pc, base, parts) ==
    \E next \in {[Following(base, a[x].epoch, a[x].by) EXCEPT !.parts = parts]} :
        /\ next.number \in Numbers
        /\ Send(PutManifest(next))
        /\ a' = [a EXCEPT ![x].pc = pc, ![x].next = next]

Join(x) ==
    /\ a[x].pc = "claimed"
    /\ IF Highest.epoch > a[x].epoch THEN a' = [a EXCEPT ![x] = Off] /\ UNCHANGED store
       ELSE Propose(x, "joining", Highest, Highest.parts)
    /\ UNCHANGED <<log, o, h>>

\* What the program sees.
ArchivedUpto(manifest) == EndOf(manifest)

Report(x, manifest) ==
    \E upto \in {ArchivedUpto(manifest)} :
        /\ a' = [a EXCEPT ![x].pc = "up", ![x].base = manifest, ![x].reported = upto,
                          ![x].read = Max({@, EndOf(manifest)})]
        /\ h' = [h EXCEPT !.reported = Max({@, upto}), !.back = @ \/ upto < a[x].reported]

Joined(x) ==
    /\ a[x].pc = "joining" /\ IsAnswered(a[x].next)
    /\ IF store.manifests[a[x].next.number] = a[x].next THEN Report(x, a[x].next)
       ELSE a' = [a EXCEPT ![x].pc = "claimed"] /\ UNCHANGED h
    /\ UNCHANGED <<store, log, o>>

\* 3 and 4: what is durable after the last part, while others are put and a manifest is published.
Upload(x) ==
    /\ a[x].pc \in {"up", "publishing", "published"}
    /\ a[x].read < log /\ Len(a[x].sent) < Uploads
    /\ \E part \in {Part(a[x].read, log, a[x].epoch)} :
        /\ Send(PutPart(part))
        /\ a' = [a EXCEPT ![x].read = log, ![x].sent = Append(@, part)]
    /\ UNCHANGED <<log, o, h>>

\* In the log's order.
Acknowledged(x) ==
    /\ a[x].acked < Len(a[x].sent) /\ a[x].sent[a[x].acked + 1] \in store.parts
    /\ a' = [a EXCEPT ![x].acked = @ + 1]
    /\ UNCHANGED <<store, log, o, h>>

\* 5. Publish: parts that are acknowledged, and after which none is missing.
Publish(x) ==
    /\ a[x].pc = "up"
    /\ \E n \in 1 .. a[x].acked : \E new \in {SubSeq(a[x].sent, 1, n)} :
       \E next \in {[Following(a[x].base, a[x].epoch, a[x].by) EXCEPT !.parts = @ \o new]} :
        /\ next.number \in Numbers
        /\ Send(PutManifest(next))
        /\ a' = [a EXCEPT ![x].pc = "publishing", ![x].next = next, ![x].new = new, ![x].acked = @ - n,
                          ![x].sent = SubSeq(@, n + 1, Len(@))]
    /\ UNCHANGED <<log, o, h>>

\* The number may be taken: by a prune or a pin, or by a later archiver.
Published(x) ==
    /\ a[x].pc = "publishing" /\ IsAnswered(a[x].next)
    /\ IF store.manifests[a[x].next.number] = a[x].next
       THEN a' = [a EXCEPT ![x].pc = "published"] /\ UNCHANGED store
       ELSE IF Highest.epoch # a[x].epoch THEN a' = [a EXCEPT ![x] = Off] /\ UNCHANGED store
       ELSE Propose(x, "publishing", Highest, Highest.parts \o a[x].new)
    /\ UNCHANGED <<log, o, h>>

\* 6. Check.
Check(x) ==
    /\ a[x].pc = "published"
    /\ IF IsClaimed(a[x].epoch + 1) THEN a' = [a EXCEPT ![x] = Off] /\ UNCHANGED h
       ELSE Report(x, a[x].next)
    /\ UNCHANGED <<store, log, o>>

\* 7. Old manifests, or some of them.
DeleteOld(x) ==
    /\ a[x].pc = "up" /\ a[x].new # <<>>
    /\ \E n \in Manifests :
        /\ n + Kept <= a[x].base.number
        /\ store' = [store EXCEPT !.manifests[n] = None]
    /\ UNCHANGED <<log, a, o, h>>

\* A kill, or the end of the machine: what it has sent is still on the wire.
Kill(x) ==
    /\ a[x].pc # "off"
    /\ a' = [a EXCEPT ![x] = Off]
    /\ UNCHANGED <<store, log, o, h>>

-----------------------------------------------------------------------------
(* A prune. Its nonce is -1, that of a pin -2.                              *)

\* Not after what a pin keeps.
StartFor(manifest, at) == Min({at} \cup manifest.pins)

ProposePrune(at, start) ==
    \E base \in {Highest} :
    \E next \in {[Following(base, base.epoch, -1) EXCEPT
                    !.start = start, !.parts = SelectSeq(@, LAMBDA part : part.from >= start)]} :
        /\ next.number \in Numbers
        /\ Send(PutManifest(next))
        /\ o' = [o EXCEPT !.prune = [pc |-> "proposed", at |-> at, next |-> next]]

\* The highest manifest says whether the prune is in effect, whoever has made the number.
PruneFrom(at) ==
    IF StartFor(Highest, at) <= Highest.start
    THEN o' = [o EXCEPT !.prune = [pc |-> "sweeping", at |-> at, next |-> Highest]] /\ UNCHANGED store
    ELSE ProposePrune(at, StartFor(Highest, at))

BeginPrune ==
    /\ o.prune.pc = "idle" /\ h.prunes < Prunes
    /\ \E at \in {part.from : part \in PartsOf(Highest)} : PruneFrom(at)
    /\ h' = [h EXCEPT !.prunes = @ + 1]
    /\ UNCHANGED <<log, a>>

Pruned ==
    /\ o.prune.pc = "proposed" /\ IsAnswered(o.prune.next)
    /\ PruneFrom(o.prune.at)
    /\ UNCHANGED <<log, a, h>>

Sweep ==
    /\ o.prune.pc = "sweeping"
    /\ \E part \in store.parts :
        /\ part.to <= o.prune.next.start \/ part.epoch < o.prune.next.epoch
        /\ part \notin PartsOf(o.prune.next)
        /\ store' = [store EXCEPT !.parts = @ \ {part}]
    /\ UNCHANGED <<log, a, o, h>>

\* Done, or killed.
EndPrune ==
    /\ o.prune.pc # "idle"
    /\ o' = [o EXCEPT !.prune = Idle]
    /\ UNCHANGED <<store, log, a, h>>

-----------------------------------------------------------------------------
(* A pin.                                                                   *)

ProposePin(at) ==
    \E base \in {Highest} : \E next \in {[Following(base, base.epoch, -2) EXCEPT !.pins = @ \cup {at}]} :
        /\ next.number \in Numbers
        /\ Send(PutManifest(next))
        /\ o' = [o EXCEPT !.pin = [pc |-> "proposed", at |-> at, next |-> next]]

BeginPin ==
    /\ o.pin.pc = "idle" /\ h.pinned < Pins
    /\ \E at \in {part.from : part \in PartsOf(Highest)} : at \notin Highest.pins /\ ProposePin(at)
    /\ h' = [h EXCEPT !.pinned = @ + 1]
    /\ UNCHANGED <<log, a>>

Pinned ==
    /\ o.pin.pc = "proposed" /\ IsAnswered(o.pin.next)
    /\ IF o.pin.at \in Highest.pins
       THEN /\ h' = [h EXCEPT !.pins = @ \cup {o.pin.at}]
            /\ o' = [o EXCEPT !.pin = Idle]
            /\ UNCHANGED store
       ELSE /\ UNCHANGED h
            /\ IF o.pin.at < Highest.start THEN o' = [o EXCEPT !.pin = Idle] /\ UNCHANGED store
               ELSE ProposePin(o.pin.at)
    /\ UNCHANGED <<log, a>>

-----------------------------------------------------------------------------
Next ==
    \/ \E x \in Archivers : Start(x)
    \/ \E x \in Archivers : Claimed(x)
    \/ \E x \in Archivers : Join(x)
    \/ \E x \in Archivers : Joined(x)
    \/ \E x \in Archivers : Upload(x)
    \/ \E x \in Archivers : Acknowledged(x)
    \/ \E x \in Archivers : Publish(x)
    \/ \E x \in Archivers : Published(x)
    \/ \E x \in Archivers : Check(x)
    \/ \E x \in Archivers : DeleteOld(x)
    \/ \E x \in Archivers : Kill(x)
    \/ Deliver
    \/ Grow
    \/ BeginPrune
    \/ Pruned
    \/ Sweep
    \/ EndPrune
    \/ BeginPin
    \/ Pinned

vars == <<store, log, a, o, h>>
Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* The promises.                                                            *)

\* Once there was a manifest of an epoch, the highest is never of an earlier one.
OneWriter == Highest.epoch = h.epoch

\* Each part begins where the one before it ends: no byte is there twice, and none is missing.
PartsFollow ==
    \A n \in Manifests : \E parts \in {store.manifests[n].parts} :
        /\ \A i \in 1 .. Len(parts) - 1 : parts[i].to = parts[i + 1].from
        /\ parts # <<>> => parts[1].from = store.manifests[n].start

\* What the highest manifest names can be read.
NamedIsThere == PartsOf(Highest) \subseteq store.parts

\* `archived_upto`: never more than the archive has, and never less than before.
ReportedIsArchived == h.reported <= EndOf(Highest)
ReportNeverGoesBack == ~h.back

\* What a pin keeps is not pruned.
PinnedIsKept == \A pin \in h.pins : pin \in Highest.pins /\ Highest.start <= pin

=============================================================================
