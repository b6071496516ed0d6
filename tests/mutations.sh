#!/usr/bin/env bash
# Proves that the tests would notice: puts one deliberate bug after the other into a copy of this
# checkout, and runs the test that should catch it.
#
#   tests/mutations.sh             all of them, some minutes
#   tests/mutations.sh sync        those whose name contains "sync"
#
# Not part of `cargo test`. Needs perl. Fails if a bug is not caught, does not compile, or can't be
# put in any more because the code has changed: then change it here as well.
#
# Not among them, because there is nothing to break: a directory sync after a spare is made (its name
# promises nothing until it is renamed, and that is synced).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

only=${1:-}
copy=$(mktemp -d "${TMPDIR:-/tmp}/mutations.XXXXXX")
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$copy/target}
export CRASH_STATES=${CRASH_STATES:-60000} CRASH_SEED=${CRASH_SEED:-7} RUST_BACKTRACE=0
tar cf - --exclude=./target --exclude=./.git . | tar xf - -C "$copy"
src=$PWD
cd "$copy"

crash='--test crash every_cut'
recovery='--test recovery recovery::'
damage='--test recovery damage::'
flush='--test flush'
format='--lib format::'
traces='-p chunked-wal-protocol --test traces'
table=$copy/table
missed=0
printf 'mutation\ttest\toutcome\n' >"$table"

# The words of a failed test, for people.
words() {
    { grep -aoE 'crash test failed: .*' "$copy/log" || grep -aA1 'panicked at' "$copy/log" || echo 'it hung'; } |
        grep -v 'panicked at' | awk 'NR == 1 { print substr($0, 1, 100) }' || true
}

# mutation NAME FILE PERL TEST: the bug is a substitution that must hit.
mutation() {
    local name=$1 file=$2 perl=$3 test=$4 outcome
    [[ $name == *"$only"* ]] || return 0
    perl -0pi -e "$perl" "$file"
    if cmp -s "$file" "$src/$file"; then
        outcome='NOT APPLIED'
    elif ! cargo test -q --all-features $(sed -E 's/(--test [a-z]+) .*/\1/; s/ format::$//' <<<"$test") --no-run >"$copy/log" 2>&1; then
        outcome='DOES NOT COMPILE'
    elif timeout -k 5 200 cargo test -q --all-features $test >"$copy/log" 2>&1; then
        outcome='NOT CAUGHT'
    else
        outcome="caught: $(words)"
    fi
    case $outcome in caught*) ;; *) missed=$((missed + 1)); tail -n 20 "$copy/log" ;; esac
    printf '%s\t%s\t%s\n' "$name" "$test" "$outcome" | tee -a "$table"
    cp -p "$src/$file" "$file"
    touch "$file"
}

worker=src/flush/worker.rs
rotate=src/flush/rotate.rs
writer=src/chunk/writer/mod.rs
housekeeper=src/flush/housekeeper.rs
jobs=src/flush/jobs.rs
names='--test recovery dir_syncs::'

mutation 'acknowledge before the sync' $worker \
    's/(            )(let turn = self\.shared\.positions\.begin_sync\()/$1let early = \&self.shared.positions;\n$1early.publish_sync(early.begin_sync(early.written()));\n$1$2/' "$crash"
mutation 'acknowledge what was appended while the sync ran' $worker \
    's/begin_sync\(self\.shared\.positions\.written\(\)\)/begin_sync(self.shared.positions.appended())/' "$crash"
mutation 'publish written before the write' $worker \
    's/(            chunk\.write\(piece\.bytes\(\), piece\.start\)\?;)/            self.shared.positions.publish_written(piece.end());\n$1/' "$crash"
mutation 'a name changes before that of a new chunk is durable' src/flush/names.rs \
    's/match catch\(\|\| self\.sync_dir\(\)\)\.unwrap_or_else\(\|\| Err\(self\.panicked\(\)\)\) \{/match Ok::<(), Error>(()) {/' "$crash"
mutation 'no sync of a new chunk before its rename' $rotate \
    's/chunk\.sync\(\)\?;(\n\s+\/\/ The final name)/if self.unnamed.is_none() { chunk.sync()?; }$1/' "$crash"
mutation 'a chunk that has lost its name is not looked for' src/wal/open.rs \
    's/locked\.listing = adopt\([^;]*;//' "$crash"
mutation 'a chunk is begun in a file whose name is not durable' $housekeeper \
    's/        self\.naming\.sync_dir\(\)\.inspect_err[^;]*;\n//' "$crash"
mutation 'a head that may be in the cache only gets a name' src/directory/adopt.rs \
    's/        self\.write_head\(storage\)[^;]*;\n//' "$crash"
mutation 'two names of one new file become two spares' src/recovery/repair.rs \
    's/let is_kept = lives\.contains\(&life\);/let is_kept = life.is_some() \&\& lives.contains(\&life);/' "$crash"
mutation 'no sync of the directory above a new one' src/wal/open.rs \
    's/if found\.chunks\.is_empty\(\) && !made \{/if false && !made {/' "$crash"
mutation 'no rewrite and sync on open' src/recovery/repair.rs \
    's/if self\.proven < self\.end \{/if false {/' "$crash"
mutation 'no directory sync on open' src/recovery/repair.rs \
    's/        sync_dir\(storage, &config\.dir\)\?;\n//' "$crash"
mutation 'mend: a header is written and not synced' src/recovery/mend.rs \
    's/                chunk\.sync\(\)\n/                Ok(())\n/' "$recovery"
mutation 'mend: a seal that the next chunk does not prove' src/recovery/mend.rs \
    's/ && next\.previous_crc == data_crc\.value\(\)//' "$recovery"
mutation 'mend: a header whose salt no frame proves' src/directory/chunk_file.rs \
    's/Ok\(has_first_frame\.then_some\(\(header, bytes\)\)\)/Ok((has_first_frame || true).then_some((header, bytes)))/' "$recovery"
mutation 'a log that ended whole is called torn' src/recovery/mod.rs \
    's/Some\(ScanEnd::Torn \{ data_end, lost: 0 \}\)/Some(ScanEnd::Torn { data_end, lost: u64::MAX })/' "$recovery"
mutation 'an unreadable sector stays behind the seal' src/recovery/repair.rs \
    's/if self\.cut_first \{/if false {/' '--test recovery unreadable::'
mutation 'an unreadable sector is torn, whatever proves it' src/recovery/mod.rs \
    's/(        let \(end, mut verdict, mut torn\) = match scan\.end\(\) \{\n)/$1            Some(ScanEnd::Corrupt { at, .. }) if chunk.bytes.filled_to().is_some() => (*at, Verdict::Seal, None),\n/' '--test recovery unreadable::'
mutation 'an unreadable sector is cut unasked' src/recovery/mod.rs \
    's/if self\.options\.unreadable == Unreadable::Cut \{/if true {/' '--test recovery unreadable::'
mutation 'the mark of an idle log is not synced' $worker \
    's/if self\.idle_mark == IdleMark::Synced \{/if false {/' '--test flush idle_mark::'
mutation 'the mark after an open is not synced' src/recovery/repair.rs \
    's/Ok\(\(\)\) if config\.idle_mark == IdleMark::Synced/Ok(()) if false/' '--test flush idle_mark::'
mutation 'the oldest chunk is never foreign' src/recovery/mod.rs \
    's/filter\(\|_\| most == Some\(found\)\)/filter(|_| most.is_none())/' "$recovery"
mutation 'mend: also unasked' src/recovery/mod.rs \
    's/if self\.options\.mending == Mending::Refuse \{/if false {/' "$recovery"
mutation 'sync on open, but no rewrite' src/recovery/repair.rs \
    's/            rewrite\(&mut chunk, &self\.header, from, to, config\.read_buffer_size\)\?;\n/            let _ = (from, to);\n/' "$crash"
mutation 'retry after a failed sync' $writer \
    's/self\.file\.sync\(\)\.map_err/self.file.sync().or_else(|_| self.file.sync()).map_err/' "$crash"
mutation 'treat a corrupt frame as torn' src/format/scan.rs \
    's/Search::Proven\(proof\) => corrupt\(Damage::FrameHeader, proof\),/Search::Proven(_) => ScanEnd::Torn { data_end: at, lost: 8 },/' "$recovery"
mutation 'treat a torn frame as corrupt' src/format/scan.rs \
    's/let lost = tail\.unwrap_or\(reach[^;]*;\s*ScanEnd::Torn \{ data_end, lost \}/let _ = (tail, reach, end);\n corrupt(Damage::FrameHeader, Proof::FinalName)/' "$crash"
mutation 'part of a batch is replayed' src/format/scan.rs \
    's/header\.has_more\(\) && self\.position >= self\.batches_end/false \&\& header.has_more()/' "$crash"
mutation 'a reader of another process sees part of a batch' src/format/frontier.rs \
    's/if !header\.has_more\(\) \{/if true {/' '--test log batches::'
mutation 'a chunk is cut inside a batch' src/recovery/repair.rs \
    's/ && !scan\.is_in_batch\(\)//' '--test log batches::'
mutation 'remove newest first' $housekeeper \
    's/state\.removals\.extend\(chunks\)/state.removals.extend(chunks.into_iter().rev())/' "$crash"
mutation 'several removals with one directory sync' $housekeeper \
    's/(        )(self\.naming\.sync_dir\(\)\?;)(\n        drop\(names\);\n        if)/$1if self.state.lock().removals.len() <= 1 { $2 }$3/' "$crash"
mutation 'a spare is offered before its old name is durably gone' $housekeeper \
    's/        self\.naming\.sync_dir\(\)\?;\n(        drop\(names\);\n        if)/$1/' "$crash"
mutation 'a removal does not wait for what justifies it' src/wal/chunks.rs \
    's/        self\.hand_over\.ask\(self\.end\(\), Flush::Sync[^;]*;\n//' "$crash"
mutation 'keep appending to a file after a torn tail' src/recovery/mod.rs \
    's/(Torn \{ data_end, lost \}\) => \{.*?)Verdict::Seal/$1Verdict::Continue { mark: None }/s' '--test crash equal_records'
mutation 'a closing mark stays when the log is opened' src/recovery/repair.rs \
    's/match mark_anew\(&mut chunk, self\.end\) \{/match Ok::<(), Error>(()) {/' "$recovery"
mutation 'the mark that replaces a closing one is not synced' src/recovery/repair.rs \
    's/(    chunk\.mark\(end\)\?;\n)    chunk\.sync\(\)/$1    Ok(())/' "$recovery"
mutation 'any amount may be written and not durable' $worker \
    's/ \|\| end - synced >= UNSYNCED_MAX//' "$flush"
mutation 'a void frame counts by its own checksum' src/format/scan.rs \
    's/self\.data_crc\.push\(crc\);\n(    \}\n\n    #\[inline\]\n    fn prove)/self.data_crc.push(header.crc);\n$1/' '--test tools void'
mutation 'a void frame does not count' src/format/scan.rs \
    's/(self\.prove\(header\.synced\(offset\)\);\n)\s+self\.records \+= 1;(\s+self\.data_crc\.push\(crc\))/$1$2/' '--test tools void'
mutation 'a void frame at the end stops the rewrite' src/recovery/repair.rs \
    's/if block\.is_empty\(\) && scan\.offset\(\) >= /if false \&\& scan.offset() >= /' '--test tools void'
mutation 'a wrong segment is called damage' src/reader/mod.rs \
    's/Some\(found\) if \(found\.offset, found\.size\) != \(offset, size\)/Some(found) if false/' '--test reading reads::'
mutation 'nobody is told of room' $worker \
    's/(self\.shared\.queue\.release\(bytes\);\n)\s+self\.shared\.positions\.wake_room_tasks\(\);/$1/' '--test flush room'
mutation 'an append waits for room with its record taken' src/wal/mod.rs \
    's/ && self\.shared\.queue\.has_room\(waiting\)//' '--test flush room'
mutation 'an append believes its codec' src/chunk/open.rs \
    's/if cfg!\(debug_assertions\) \{/if false {/' '--test log codecs::'
mutation 'a window that is shared loses what it held' src/format/memory.rs \
    's/copied\(&shared\[kept\], len\)/copied(\&[], len)/' "$format"
mutation 'a window whose read failed holds arbitrary bytes' src/format/window.rs \
    's/\(self\.start, self\.filled\) = \(position, 0\);/self.start = position;/' "$format"
mutation 'a decoded record is not compared' src/record/mod.rs \
    's/if tally\.is_even\(\)/if true/' '--test log codecs::'
mutation 'salvage passes over a sound record' src/format/scan.rs \
    's/\{ at \} else \{ at \+ 8 \}/{ at } else { at + 48 }/' '--lib format::tests::salvage'
mutation 'salvage searches for proof at each place' src/format/scan.rs \
    's/\(self\.successor, self\.end\) = \(true, None\)/self.end = None/' '--lib format::tests::salvage'
mutation 'the search for proof has no bound' src/format/scan.rs \
    's/\.min\(from\.saturating_add\(SEARCH_MAX\)\)//' "$format"
mutation 'all is read behind a closing mark' src/format/scan.rs \
    's/if mark == Mark::Closed \{/if false \&\& mark == Mark::Closed {/' "$format"
mutation 'a log goes by the path of its directory' src/storage/disk/mod.rs \
    's/Ok\(Some\(Arc::new\(PinnedDir::open\(dir, file_mode\)\?\)\)\)/let _ = PinnedDir::open(dir, file_mode)?;\n        Ok(None)/' '--test processes directory::'
mutation 'a name that the next chunk needs is replaced' $rotate \
    's/storage\.rename_new\(spare, path/storage.rename(spare, path/g' '--test processes directory::'
mutation 'a file that has another name is used again' $housekeeper \
    's/if handle\.has_other_names\(\)/if false \&\& handle.has_other_names()/' '--test processes directory::'
mutation 'kept files stay open when there are no descriptors' src/chunk/read.rs \
    's/            give_up_kept_files\(\);\n//' '--test processes directory::'
mutation 'a name is trusted that a failed sync may have left in the cache' src/recovery/repair.rs \
    's/!matches!\(self\.verdict, Verdict::Continue \{ mark: Some\(_\) \}\)/false/' '--test recovery a_new'
mutation 'a removal is only synced again' $housekeeper \
    's/filter\(\|_\| before\.is_some\(\)\)/filter(|_| false)/' '--test recovery a_removal'
mutation 'a spare of an earlier process keeps its name' src/recovery/repair.rs \
    's/match storage\.rename_new\(path, &renamed\) \{/match io::Result::Ok(()) {/; s/\.push\(renamed\)/.push(path.clone())/g' '--test recovery a_removal'
mutation 'a surplus spare is removed before its sync' src/recovery/repair.rs \
    's/Ok\(\(\)\) => spares\.surplus\.push\(renamed\),/Ok(()) => remove_at_once(storage, \&renamed, header.is_some())?,/' '--test recovery a_removed_chunk'
mutation 'a chunk that a crash caught without its name stays so' src/wal/open.rs \
    's/    found\.put_back\(&\*storage, &dir\)\?;\n//' '--test recovery an_open'
mutation 'a name that is proven is made anew' src/recovery/repair.rs \
    's/!matches!\(self\.verdict, Verdict::Continue \{ mark: Some\(_\) \}\)/true/' '--test recovery a_name'
mutation 'a removal needs a name' $housekeeper \
    's/ErrorKind::StorageFull \| ErrorKind::QuotaExceeded, _\)\) => match/ErrorKind::Deadlock, _)) => match/' '--test recovery a_directory'
mutation 'a rotation gives up no spare for its name' $rotate \
    's/\n                    && self\.shared\.housekeeper\.give_up_spare\(\) =>/ \&\& false =>/' '--test recovery a_directory'
mutation 'an older attempt to make a file counts' $housekeeper \
    's/if attempt > before \{/if attempt > 0 || attempt > before {/' '--test recovery a_file_that'
mutation 'the same salt in a second life' src/wal/chunks.rs \
    's/let salt = random_u64\(\);/let salt = 7;/' '--test crash each_life'
mutation 'position left out of the CRC' src/format/frame.rs \
    's/\[self\.salt \^ offset, /[self.salt, /' "$format"
mutation 'salt left out of the CRC' src/format/frame.rs \
    's/\[self\.salt \^ offset, /[offset, /' "$format"
mutation 'runs of a CRC joined as if one were shorter' src/format/crc.rs \
    's/product\(a, 2 \* n\)/product(a, n)/' "$format"
mutation 'seal before the data is synced' $rotate \
    's/(let sync = self\.shared\.positions\.begin_sync\(end\);\n[^\n]*\n)\s+metrics\.sync_under_way\.during\(\|\| self\.sync_chunk\(\)\)\?;/$1            if self.unnamed.is_some() { metrics.sync_under_way.during(|| self.sync_chunk())?; }/' "$crash"
mutation 'zeros over the last block' src/chunk/writer/ahead.rs \
    's/end\.saturating_add\(SYNC_MARK_LEN\)\.next_multiple_of\(BLOCK\)/(end \/ BLOCK * BLOCK)/' '--test crash zeros_ahead'
mutation 'a sync passes the queue' src/flush/hand_over.rs \
    's/self\.sync_asked < end && self\.shared\.queue\.is_empty\(\) && /self.sync_asked < end \&\& /' '--test flush sync_here::'
mutation 'nobody is nudged' $worker 's/            self\.shared\.queue\.nudge\(\);\n//' '--test flush sync_here::'
mutation 'a full disk for zeros poisons' $writer \
    's/self\.ahead = ZerosAhead::none\(\);\s+Ok\(\(\)\)/return Err(Error::io("write", \&self.path, std::io::ErrorKind::Other.into()));/' '--test flush sync_here::'
mutation 'zeros: in a file in use' $jobs \
    's/self\.spares\.pop_front\(\)\.map\(Job::Zero\)/self.spares.front().map(|s| Job::Zero(Spare { path: s.path.clone(), handle: s.handle.clone(), ..*s }))/' '--test flush zeros::'
mutation 'zeros: beyond the space of a spare' $housekeeper \
    's/saturating_add\(self\.config\.zero_piece\)\.min\(end\)/saturating_add(self.config.zero_piece)/' '--test flush zeros::'
mutation 'zeros: a spare is taken without those it has' $rotate \
    's/self\.zero_ahead_bytes, allocated, zeroed\)/self.zero_ahead_bytes, allocated, zeroed * 0)/' '--test flush zeros::'
mutation 'zeros: a spare whose zeros failed is used' $housekeeper \
    's/(let _also_failed = self\.config\.storage\.remove\(&spare\.path\);\n)\s+return;/$1/' '--test flush zeros::'
mutation 'zeros: a full disk does not wait for a piece' $housekeeper \
    's/while state\.zeroing \{/while false {/' '--test flush zeros::'
mutation 'zeros: in a file used before' $jobs \
    's/if self\.earlier_life \{ 0 \}/if false { 0 }/' '--test flush zeros::'
mutation 'zeros: the early spare is made again and again' $housekeeper \
    's/ && state\.spare_error\.is_none\(\)//' '--test flush zeros::'
mutation 'a sync takes the wrong turn' src/flush/progress.rs \
    's/(        let turn = usize::from\()second < first(\);\n        self)/$1second > first$2/' '-p chunked-wal-model-check --test model_check'
mutation 'a task registers and looks no more' src/flush/tasks.rs \
    's/(self\.register\(offset, entry, waker\);\n.*\n)\s+look\(\)/$1            None/' '-p chunked-wal-model-check --test model_check'
mutation 'a dropped ticket leaves its waker' src/flush/ticket.rs \
    's/            positions\.forget_task\(\*mode, \*offset, entry\);/            let _left = (positions, mode, offset, entry);/' '--test flush tickets'
mutation 'a turn for room is not passed on' src/flush/progress.rs \
    's/(self\.room_tasks\.forget\(0, entry\);\n)\s+self\.wake\(&self\.room_tasks, 0, 1\);/$1/' '--lib flush::room'
# Steps in a wrong order, which a crash shows seldom or never, and a trace at once.
mutation 'trace: a file is cut after its removal' $jobs \
    's/(        if let Some\(cut\) = self\.cuts\.pop_front\(\) \{\n            return Some\(Job::Cut\(cut\)\);\n        \}\n)(.*?)(        let make = self)/$2$1$3/s' "$traces"
mutation 'trace: a chunk is named while another name is not durable' $rotate \
    's/        let names = naming\.lock\(\)\?;\n        self\.name_chunk\(&spare, &path\)\?;/        self.name_chunk(\&spare, \&path)?;\n        let names = naming.lock()?;/' "$traces"
mutation 'a snapshot ahead of its log' src/shared/snapshot.rs \
    's/        durable\.wait\(\)\?;/        drop(durable);/' '--test log shared::'
mutation 'reads that overlap starve commits' src/shared/state.rs \
    's/if self\.is_inside\(\) \{ lock/if true { lock/' '--test log shared_waits::'
mutation 'no sync of the seal before its successor' $writer \
    's/(Only a sealed chunk may have a successor\.\n)\s+self\.sync\(\)\?;\n/$1/' "$crash"
mutation 'a header not written anew in a spare' $rotate \
    's/chunk\.write\(head\.bytes\(\), head\.start\)\?;/let skip = if spare.earlier_life { 64 } else { 0 };\n            chunk.write(&head.bytes()[skip..], head.start + skip as u64)?;/' "$crash"
mutation 'forget a queued callback on poison' $worker \
    's/callback\.complete\(outcome\.unwrap_or_else\(\|\| Err\(cause\.clone\(\)\)\)\);/drop((callback, outcome));/' "$flush"
mutation 'a limit from Config used in the scan' src/recovery/mod.rs \
    's/(            WalRecord::decode_for\(\n)/            if frame.size > self.config.chunk_max_size { return Err(chunk.error(None)); }\n$1/' "$crash"
mutation 'a flush that joins another is not waited for' src/flush/batch.rs \
    's/                last\.end = end;\n//' "$flush"
mutation 'a sync joins a write' src/flush/batch.rs \
    's/ && last\.mode == mode//' "$flush"
mutation 'a flush that joins does not end the wait for company' src/flush/queue.rs \
    's/(            state\.push\(item\);\n        \}\n)        self\.count_to_last\(&mut state, bytes\);/$1        state.count_to_last(bytes);/' "$flush"
mutation 'what joins passes the bytes of a batch' src/flush/batch.rs \
    's/ \|\| \*bytes >= limit\.bytes//' "$flush"
mutation 'frames claim that what is written was synced' src/wal/mod.rs \
    's/stage\(open, &mut self\.tail, positions\.synced\(\)\)/stage(open, \&mut self.tail, positions.written())/' "$crash"
mutation 'a sync mark before the sync' $worker \
    's/\(written, synced\) = \(positions\.written\(\), positions\.synced\(\)\)/(written, synced) = (positions.written(), positions.written())/' "$crash"
mutation 'a spare of an earlier life says it is new' $housekeeper \
    's/let earlier_life = matches!\(life, Life::Earlier\);/let earlier_life = matches!(life, Life::Earlier) && false;/' "$recovery"
mutation 'a spare is used that is a chunk as well' src/recovery/repair.rs \
    's/ && !is_a_chunk && !is_kept;/ \&\& (is_a_chunk || !is_kept);/' "$crash"

read_only='--test reading nothing_is_read'
directory=src/reader/directory.rs
mutation 'a reader takes a final name for durable' $directory \
    's/(ReadUpTo::Durable => frontier\.synced\.max\()newest\.0\)/$1(newest.0 + HEADER_LEN + 16).min(frontier.end))/' "$read_only"
mutation 'a reader takes what is written for durable' $directory \
    's/ReadUpTo::Durable => frontier\.synced\.max\(newest\.0\)/ReadUpTo::Durable => frontier.end/' "$read_only"
mutation 'a mark on open before the name is durable' src/recovery/repair.rs \
    's/(        sync_dir\(storage, &config\.dir\)\?;\n)(.*?)(        if let \(Some\(RepairedChunk)/$2$1$3/s' "$read_only"
mutation 'a sync that hangs is not seen' $worker \
    's/metrics\.sync_under_way\.since\(sync_started, \|\| self\.sync_chunk\(\)\)/self.sync_chunk()/' '--test flush slow_sync'
mutation 'a pin is not looked at' $jobs \
    's/!self\.stalled && !self\.pins\.keep\(chunk\.id\(\)\)/!self.stalled/' '--test reading pinned'
mutation 'a pinned reader sees what comes later' src/reader/mod.rs \
    's/let end = self\.end\(\);(\s+let from)/let end = u64::MAX;$1/' '--test reading pinned'
mutation 'a reader that takes a removed chunk for damaged' src/directory/changing.rs \
    's/if self\.left == 0 \|\|/if self.left < 8 ||/' '--test reading a_chunk_removed'

# The ring in somebody's file.
ring='--test features embedded::'
wal=src/embedded/wal.rs
mutation 'ring: no sync behind a write' $wal \
    's/if durable == Durable::Now \{ log\.ring\.sync\(\) \} else \{ Ok\(\(\)\) \}/Ok(())/' "$ring"
mutation 'ring: a deferred record counts as synced' $wal \
    's/Batch::new\(self\.log\.end, self\.synced, needed/Batch::new(self.log.end, self.log.end, needed/' "$ring"
mutation 'ring: a flush of deferred records without a sync' $wal \
    's/let synced = self\.log\.ring\.sync\(\);/let synced = Ok(());/' "$ring"
mutation 'ring: a checkpoint frees before it is stored' $wal \
    's/(self\.log\.checkpoints\.push\(checkpoint\);)/self.log.checkpoints.clear(); $1/' "$ring"
mutation 'ring: the unproven tail is not written again' $wal \
    's/            ring\.write\(at, &buf\)\?;\n//' "$ring"
mutation 'ring: records over a torn frame without a checkpoint' $wal \
    's/if !self\.has_own_epoch \{\n(.*?)self\.write_checkpoint\(\)\?;/if false {\n$1self.write_checkpoint()?;/s' "$ring"
mutation 'ring: one epoch for ever' $wal \
    's/let epoch = random_u64\(\) as u32;/let epoch = last ^ 1;/' "$ring"
mutation 'ring: no room kept for a checkpoint' $wal \
    's/let taken = self\.log\.used\(\) \+ own_epoch \+ CHECKPOINT_LEN;/let taken = self.log.used() + own_epoch;/' "$ring"
mutation 'ring: a salt that everybody knows' src/embedded/log.rs \
    's/set_salt\(random_u64\(\)\)/set_salt(0)/' "$ring"
mutation 'search: a length is believed without its check' src/format/search.rs \
    's/if checks\.check\(u64[^{]*\{/if true {/' "$format"
mutation 'a hole is read' src/format/search.rs \
    's/if in_hole \{/if false {/' "$format"
mutation 'a predecessor of another history is taken' src/recovery/mod.rs \
    's/if expected == found \{/if true {/' "$recovery"
mutation 'ring: a stale sequence is taken' src/embedded/walk.rs \
    's/if \(entry\.sequence, entry\.epoch\) != expected \{/if entry.epoch != expected.1 {/' "$ring"
mutation 'ring: damage looks like the end' src/embedded/walk.rs \
    's/Search::Proven\(proof\) => Err\(self\.corrupt\(proof\)\)/Search::Proven(_) => Ok(())/' "$ring"
mutation 'ring: frames bound to places, not positions' src/embedded/frame.rs \
    's/let position = self\.end\(\);/let position = self.end() % 1024;/' "$ring"

mutation 'a reader overlooks the other name' src/directory/chunk_file.rs \
    's/\(Err\(e\), Some\(id\)\) if e\.kind\(\) == io::ErrorKind::NotFound =>/(Err(e), Some(id)) if false =>/' '--test reading nothing_is'
mutation 'a closed log keeps its files open' src/reader/mod.rs \
    's/            file\.end\(\);\n//' '--test processes directory::a_reader'
mutation 'a file that somebody reads is used again after a close' src/chunk/read.rs \
    's/Handle::LetGo\(file\) => file\.strong_count\(\) == 0/Handle::LetGo(_) => true/' '--lib chunk::read'

# Blobs beside the log.
blob='--test features blob::'
mutation 'blob: a record before its blob' src/blob/join.rs \
    's/        self\.blobs\.sync\(\)\?;\n//' "$blob"
mutation 'blob: removed before the log says so' src/blob/join.rs \
    's/self\.wal\(\)\?\.sync\(\)\?;/self.wal()?;/' "$blob"
mutation 'blob: a block is not checked' src/blob/blocks.rs \
    's/if Crc::of\(block\)\.to_le_bytes\(\) != crc \{/if false {/' "$blob"
mutation 'blob: every store numbers its chunks alike' src/blob/payload.rs \
    's/let first = random_u64\(\) as u32;/let first = 0;/' "$blob"
mutation 'blob: the number of the open chunk is that of the last closed' src/blob/store.rs \
    's/\(Some\(closed\), _\) => closed\.checkpoint,/(Some(closed), _) => Number { number: closed.checkpoint.number.wrapping_sub(1), ..closed.checkpoint },/' "$blob"

# Snapshots beside the log.
snapshots='--test crash snapshots::'
mutation 'snapshot: no sync of its bytes' src/snapshot/file.rs \
    's/    file\.sync\(\)[^;]*;\n//' "$snapshots"
mutation 'snapshot: no sync of its name' src/snapshot/mod.rs \
    's/        self\.storage\.sync_dir\([^;]*;\n//' "$snapshots"
mutation 'snapshot: written under its final name' src/snapshot/mod.rs \
    's/let \(temp, path\) = \(self\.dir\.join\(file::temp_name\(offset\)\)/let (temp, path) = (self.dir.join(file::name(offset))/' "$snapshots"
mutation 'snapshot: ahead of its log' src/snapshot/mod.rs \
    's/if synced < offset \{/if false {/' '--test log snapshots::'
mutation 'snapshot: the log goes on from the newest only' src/snapshot/mod.rs \
    's/=> offsets\[0\]/=> offsets[1]/' '--test log snapshots::'
mutation 'snapshot: a log without its end is taken' src/snapshot/open.rs \
    's/must_reach\.max\(newest\)/must_reach/g' '--test log snapshots::'
mutation 'snapshot: covered records are replayed again' src/snapshot/open.rs \
    's/if segment\.offset < self\.from \{/if false {/' '--test log snapshots::'
mutation 'snapshot: at zero, of a log that is gone' src/snapshot/open.rs \
    's/if existing == \[0\] \{/if false {/' '--test log snapshots::'
mutation 'snapshot: of a log that is closed' src/snapshot/mod.rs \
    's/        let _lock = self\.lock\(\)\?;\n//' '--test log snapshots::'
mutation 'snapshot: a newer one is removed' src/snapshot/mod.rs \
    's/ \|\| is_newer\(offset\)//' '--test log snapshots::'

# Compressed payloads.
lz4='--test features lz4::'
mutation 'lz4: a chunk begun without goes on with it' src/wal/open.rs \
    's/(compression\.transform\(\))\.filter\([^,]*\),/$1,/' "${lz4}a_chunk"
mutation 'lz4: the flag is known in every chunk' src/format/header.rs \
    's/if self\.may_be_compressed\(\) \{ FLAG_MORE \| FLAG_LZ4 \} else \{ FLAG_MORE \}/FLAG_MORE | FLAG_LZ4/' "${lz4}a_payload"
mutation 'lz4: memory for what a length says' src/format/payload/lz4/mod.rs \
    's/let mut len = raw_len\.min\(.*\);/let mut len = raw_len;/' '--test allocations'
mutation 'lz4: a block that holds less than it says' src/format/payload/lz4/mod.rs \
    's/\(n == raw_len\)\.then_some\(/(n <= raw_len).then_some(/' "${lz4}a_payload"

# The monitor.
watcher=src/monitor/watcher.rs
mutation 'monitor: a busy log is watched' "$watcher" \
    's/        watched\.lift\(&target\.dir\);\n//' '--lib monitor::tests::watching::a_busy'
mutation 'monitor: no pause between two looks' "$watcher" \
    's/\.clamp\(PAUSE_MIN, PAUSE_MAX\)/.min(Duration::ZERO)/' '--lib monitor::tests::watching::a_busy'
mutation 'monitor: a pause before the first look' "$watcher" \
    's/    loop \{\n(        let started = Instant::now)/    shared.pause(PAUSE_MIN);\n    loop {\n$1/' '--lib monitor::tests::watching::a_change'
mutation 'monitor: looks for ever after one change' "$watcher" \
    's/if !is_new \{/if false {/' '--lib monitor::tests::watching::a_look_causes'

# Groups.
groups='-p chunked-wal-groups --test crash'
group_index=groups/src/index/mod.rs
reclaim=groups/src/reclaim.rs
mutation 'groups: an index decides what is alive, not a place' $group_index \
    's/group\.places\.segment\(\*index\) == Some\(at\)/group.places.segment(*index).is_some()/' "$groups"
mutation 'groups: a state is not carried along' $group_index \
    's/Record::State \{ \.\. \} => group\.state_at == Place::new\(at\),/Record::State { .. } => false,/' "$groups"
mutation 'groups: bounds are carried along as they were' $reclaim \
    's/first: now\.start, next: now\.end/first: first.min(now.start), next: next.min(now.end)/' "$groups"
mutation 'groups: a moved entry voids those after it' $group_index \
    's/(let old = found\.places\.remove\(index\);)/$1 found.places.truncate(index, |dead| chunks.subtract_run(dead));/' "$groups"
mutation 'groups: a moved entry is a new one' $reclaim \
    's/=> Record::Moved \{ group, index, payload \}/=> Record::Entry { group, index, payload }/' "$groups"
mutation 'groups: a destroyed group comes back' groups/src/changes.rs \
    's/(                self\.bounds\.insert\(group, None\);\n)\s+self\.push\(Record::Destroy \{ group \}\);/$1/' "$groups"
mutation 'groups: a chunk goes with what is alive in it' $reclaim \
    's/if self\.index\.read\(\)\.alive_in\(chunk\) > 0 \{\n(\s+)(\/\/ Stopped)/if false {\n$1$2/; s/step\.bytes >= STEP_BYTES/step.bytes >= 1/; s/        self\.take\(step, false\)\n/        Ok(())\n/' "$groups"
mutation 'groups: a batch in pieces' groups/src/shared.rs \
    's/_ => wal\.append_batch\(batch\),/records => records.iter().map(|record| wal.append(record)).collect(),/' "$groups"
mutation 'groups: a full disk is not helped' groups/src/reserve.rs \
    's/self\.storage\.remove\(&self\.path\)\n*( *)\{\n\s+log::warn!\("the reserve .* can.t be removed/std::io::Result::Ok(())$1 {\n            log::warn!("the reserve {} can\x27t be removed/' '-p chunked-wal-groups --test faults'

pins='--test log pins'
subscribers='--test crash subscribers'
mutation 'pins: a drain passes them' src/pin/pins.rs \
    's/if holds\.iter\(\)\.any\(\|hold\| hold\.needs\(chunk\) && !hold\.may_break\(chunk\)\)/if false/' "$pins"
mutation 'pins: one breaks although another one holds' src/pin/pins.rs \
    's/hold\.needs\(chunk\) && !hold\.may_break\(chunk\)\)/hold.needs(chunk)) \&\& !holds.iter().any(|hold| hold.needs(chunk) \&\& hold.may_break(chunk))/' "$pins"
mutation 'pins: the time in which there was nothing to read counts' src/pin/pins.rs \
    's/self\.moved\.elapsed\(\)\.min\(chunk\.closed\.elapsed\(\)\)/self.moved.elapsed()/' "$pins"
mutation 'pins: the budget does not count drained chunks' src/wal/budget.rs \
    's/removed\.or_else\(drained\)/None.or_else(|| drained().filter(|_| false)).or(removed.filter(|_| false))/' "$pins"
mutation 'subscribers: the log relies on a place that it has not synced' src/pin/pins.rs \
    's/pins\.rely\(hold, chunk\)\?;/let _ = Pins::rely;/' "$subscribers"
mutation 'subscribers: the log relies on a notice that another process wrote' src/pin/pins.rs \
    's/notice\.filter\(\|notice\| self\.has_told\(dir, \*notice\)\)/*notice/' "$subscribers"
mutation 'subscribers: the first place in one slot' src/pin/subscriber.rs \
    's/if cursor\.sequence == cursor\.first_sequence/if false/' "$pins"
mutation 'budget: seals do not count' src/wal/budget.rs \
    's/SEAL_LEN\.saturating_mul\(self\.count as u64\)/self.count as u64 * 0/' '--test log budget'
mutation 'subscribers: a notice without a sync' src/pin/file.rs \
    's/(Notice::POSITION\)\?;\n\s*)file\.sync\(\)/$1Ok(())/' "$subscribers"
mutation 'subscribers: a place without a sync' src/pin/file.rs \
    's/(cursor\.position\(\)\)\?;\n\s*)file\.sync\(\)/$1Ok(())/' "$subscribers"
mutation 'subscribers: one slot' src/format/cursor.rs \
    's/self\.sequence % 2 \* SLOT/SLOT/' "$subscribers"
mutation 'subscribers: a name without a sync' src/pin/subscriber.rs \
    's/storage\.sync_dir\(dir\)\.map_err\(\|e\| Error::io\("sync directory", dir, e\)\)\?;/let _ = (storage, dir);/' "$subscribers"

# The archive.
archive='-p chunked-wal-archive --test archive'
place=archive/src/restore/place.rs
archiver=archive/src/archiver/task.rs
mutation 'archive: a part is restored without a look at its hash' $place \
    's/super::check_hash\(name, bytes, part\)\?;/if !self.is_synced { super::check_hash(name, bytes, part)?; }/' "$archive restore::a_damaged"
mutation 'archive: a part is verified without a look at its hash' $place \
    's/super::check_hash\(name, bytes, part\)\?;/if self.is_synced { super::check_hash(name, bytes, part)?; }/' "$archive restore::a_damaged"
mutation 'archive: what an interrupted restore has left is taken as it is' $place \
    's/Ok\(sha256\(&bytes\) == part\.sha256\)/Ok(true)/' "$archive restore::a_part"
mutation 'archive: a restore keeps all files open' archive/src/restore/check.rs \
    's/if unsynced\.len\(\) >= UNSYNCED_MAX \{/if false {/' "$archive restore::a_restore_of"
mutation 'archive: a prune deletes what the highest manifest names' archive/src/archive.rs \
    's/Ok\(Some\(Manifest \{ objects, \.\.latest\.clone\(\) \}\)\)/let next = Manifest { objects, ..latest.clone() };\n            self.sweep(\&next).await?;\n            Ok(Some(next))/' "$archive prune::"
mutation 'archive: the next archiver uploads the last part again' $archiver \
    's/self\.parts\(manifest\.objects\.last\(\)\.cloned\(\)\)/self.parts(manifest.objects.iter().rev().nth(1).cloned())/' "$archive faults::"
mutation 'archive: a look for a later epoch is left out after a manifest' archive/src/chain.rs \
    's/                self\.check_claims\(epoch\)\.await\?;\n//' "$archive writers::"
mutation 'archive: a manifest of a later archiver is taken for a prune' archive/src/chain.rs \
    's/if base\.epoch != epoch \{/if false {/' "$archive writers::"
mutation 'archive: an idle archiver never asks whether it was fenced' $archiver \
    's/(look_archived = look;.*)self\.check_fence\(&mut fence\)\.await\?;/$1/s' "$archive writers::"
mutation 'archive: a claim or a manifest replaces another' archive/src/store.rs \
    's/PutMode::Create\.into\(\)/PutMode::Overwrite.into()/' "$archive writers::"
mutation 'archive: a part is published before those before it' $archiver \
    's/puts\.buffered\(/puts.buffer_unordered(/' "$archive faults::"
mutation 'archive: no pause between two looks' $archiver \
    's/let next = reading\.started \+ self\.options\.pause;/let next = reading.started;/' "$archive faults::"

echo
column -t -s $'\t' "$table"
exit $((missed > 0))
