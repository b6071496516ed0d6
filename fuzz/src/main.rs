//! Fuzzing on a stable compiler: replay a corpus, or change its inputs at random for a while.

#[path = "../../tests/common/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use chunked_wal_fuzz::seeds::seeds;
use chunked_wal_fuzz::{TARGETS, Target};
use random::Random;

const USAGE: &str =
    "usage: chunked-wal-fuzz [TARGET] seeds DIR | replay FILE-OR-DIR... | fuzz DIR [SECONDS [SEED]]";

/// A run that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(20);

const INPUT_MAX: usize = 1024;

/// A thread of a log panicked, even if the log caught it.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The input that runs, since when.
static RUNNING: Mutex<Option<(Instant, Vec<u8>)>> = Mutex::new(None);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = args.iter().map(String::as_str).collect();
    let named = TARGETS.into_iter().find(|(name, _)| words.first() == Some(name));
    if named.is_some() {
        words.remove(0);
    }
    let (_, target) = named.unwrap_or(TARGETS[0]);
    let done = match words[..] {
        ["seeds", dir] => write_seeds(Path::new(dir)),
        ["replay", ref paths @ ..] if !paths.is_empty() => replay(target, paths),
        ["fuzz", dir] => fuzz(target, dir, 60, 1),
        ["fuzz", dir, seconds] => fuzz(target, dir, number(seconds), 1),
        ["fuzz", dir, seconds, seed] => fuzz(target, dir, number(seconds), number(seed)),
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        eprintln!("'{text}' is no number\n{USAGE}");
        std::process::exit(1)
    })
}

fn write_seeds(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, bytes) in seeds() {
        fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}

/// The inputs in files and directories, by name.
fn inputs(paths: &[&str]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut inputs = BTreeMap::new();
    for path in paths.iter().map(Path::new) {
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            files = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        }
        for file in files {
            inputs.insert(file.display().to_string(), fs::read(&file)?);
        }
    }
    Ok(inputs)
}

fn replay(target: Target, paths: &[&str]) -> io::Result<()> {
    watch_for_hangs();
    for (name, input) in inputs(paths)? {
        match guarded(target, &input) {
            Some(kind) => println!("{kind:<40} {name}"),
            None => return Err(io::Error::other(format!("{name}: panicked"))),
        }
    }
    Ok(())
}

/// What the target says; `None` after a panic on any thread.
fn guarded(target: Target, input: &[u8]) -> Option<String> {
    *RUNNING.lock().unwrap() = Some((Instant::now(), input.to_vec()));
    let verdict = catch_unwind(|| target(input));
    *RUNNING.lock().unwrap() = None;
    verdict.ok().filter(|_| !PANICKED.load(SeqCst))
}

fn watch_for_hangs() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, SeqCst);
        hook(info);
    }));
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_millis(500));
            let running = RUNNING.lock().unwrap().clone();
            if let Some((since, input)) = running
                && since.elapsed() > HANGS_AFTER
            {
                eprintln!("no end after {HANGS_AFTER:?}");
                let _told = keep(&input);
                std::process::exit(1);
            }
        }
    });
}

/// Writes a finding to a file named for its bytes.
fn keep(input: &[u8]) -> io::Result<()> {
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let path = format!("finding-{hash:016x}");
    fs::write(&path, input)?;
    eprintln!("the input is in {path}");
    Ok(())
}

fn fuzz(target: Target, dir: &str, seconds: u64, seed: u64) -> io::Result<()> {
    watch_for_hangs();
    let mut pool: Vec<Vec<u8>> = inputs(&[dir])?.into_values().collect();
    pool.push(Vec::new());
    let mut random = Random::new(seed);
    let mut kinds = BTreeSet::new();
    let started = Instant::now();
    let mut runs = 0_u64;
    while started.elapsed() < Duration::from_secs(seconds) {
        let input = mutate(&pool, &mut random);
        let Some(kind) = guarded(target, &input) else {
            keep(&input)?;
            return Err(io::Error::other(format!("a finding after {runs} runs, seed {seed}")));
        };
        runs += 1;
        // What leads somewhere new is worth being changed further.
        if kinds.insert(kind) || random.index(512) == 0 {
            pool.push(input);
        }
    }
    let rate = runs as f64 / started.elapsed().as_secs_f64();
    println!("{runs} runs, {rate:.0}/s, seed {seed}, no finding; {} outcomes:", kinds.len());
    kinds.iter().for_each(|kind| println!("  {kind}"));
    Ok(())
}

fn mutate(pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = pool[random.index(pool.len())].clone();
    for _ in 0..1 + random.index(6) {
        let at = random.index(input.len() + 1);
        match random.index(7) {
            0 => input.insert(at, random.byte()),
            1 if at < input.len() => drop(input.remove(at)),
            2 if at < input.len() => input[at] ^= 1 << random.index(8),
            3 if at < input.len() => input[at] = [0, 1, 8, 16, 64, 0x7f, 0x80, 0xff][random.index(8)],
            4 => input.truncate(at.max(2)),
            5 => {
                let other = &pool[random.index(pool.len())];
                input.extend_from_slice(other.get(2..).unwrap_or(&[]));
            }
            // A step of its own.
            _ => input.extend((0..4 + random.index(16)).map(|_| random.byte())),
        }
    }
    input.truncate(INPUT_MAX);
    input
}

impl Random {
    fn index(&mut self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}
