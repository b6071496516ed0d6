//! The fuzz target, and the seeds of its corpus. `README.md` says how it is run.

mod run;
pub mod seeds;

pub use run::run;
