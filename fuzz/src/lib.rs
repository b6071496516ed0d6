//! The fuzz targets, and the seeds of the corpus. `README.md` says how they are run.

mod blobs;
mod looks;
mod ring;
mod run;
pub mod seeds;
mod tool;

pub use run::run;

/// What is done with an input; returns what it came to, so that new outcomes are known.
pub type Target = fn(&[u8]) -> String;

/// Each target by its name.
pub const TARGETS: [(&str, Target); 5] = [
    ("directory", |data| run(data).feature),
    ("looks", looks::looks),
    ("ring", ring::ring),
    ("blobs", blobs::blobs),
    ("tool", tool::tool),
];
