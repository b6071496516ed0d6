//! Checks `Log.tla` with the models given as paths, for as long as it takes; `--states 100000` before them limits how
//! many states of each are looked at.

use std::process::ExitCode;
use std::time::Instant;

use chunked_wal_spec::{Outcome, check, read, spec_of};

fn main() -> ExitCode {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let mut states_max = usize::MAX;
    if let [flag, number, ..] = &paths[..]
        && flag == "--states"
    {
        let Ok(number) = number.parse() else {
            eprintln!("'{number}' is no number of states");
            return ExitCode::FAILURE;
        };
        states_max = number;
        paths.drain(..2);
    }
    let mut success = !paths.is_empty();
    for path in paths {
        let started = Instant::now();
        let outcome = match (read(spec_of(path.as_ref())), std::fs::read_to_string(&path)) {
            (Ok(spec), Ok(model)) => check(&spec, &model, states_max),
            (Err(error), _) | (_, Err(error)) => Outcome::Invalid(error.to_string()),
        };
        println!("{path}, {} s: {}", started.elapsed().as_secs(), outcome.summary());
        if let Outcome::Broken { trace, .. } = &outcome {
            println!("{trace}");
        }
        success &= matches!(outcome, Outcome::Holds(_));
    }
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
