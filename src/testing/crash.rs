//! [`Route`]: the crashes that lead to one disk, as values and as text: `7#57:s123/3:k`.

use std::fmt;
use std::str::FromStr;

use crate::random::mix;
use crate::storage::MemoryStorage;
use crate::testing::dice::Dice;

/// Which disk a crash leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// `k`: the disk after the process was killed.
    Killed,
    /// `s<seed>`: a disk drawn from all that a crash may leave.
    Drawn(u64),
    /// `n<index>`: one disk of the list of all.
    Listed(usize),
}

impl Left {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        match dice.below(6) {
            0 => Left::Killed,
            seed @ 1..=2 => Left::Drawn(seed - 1),
            _ => Left::Drawn(dice.next() >> 32),
        }
    }

    /// Returns the disk; `None` if there are fewer.
    pub(crate) fn of(self, disk: &MemoryStorage) -> Option<MemoryStorage> {
        match self {
            Left::Killed => Some(disk.kill()),
            Left::Drawn(seed) => Some(disk.crash(seed)),
            Left::Listed(index) => disk.crash_states(LISTED_MAX)?.into_iter().nth(index),
        }
    }

    fn number(self) -> u64 {
        match self {
            Left::Killed => 0,
            Left::Drawn(seed) => mix(seed.wrapping_add(1)),
            Left::Listed(index) => mix(!(index as u64)),
        }
    }
}

/// A cut with at most this many disks has all of them explored.
pub(crate) const LISTED_MAX: usize = 24;

/// The number of a cut, and one of the disks that it may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) cut: usize,
    pub(crate) left: Left,
}

/// A crash, and the crashes of the recoveries after it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Route {
    /// Decides, with the route itself, what is done on the route: otherwise the same disk of two
    /// workloads would always get the same treatment.
    pub(crate) salt: u64,
    pub(crate) crossings: Vec<Crossing>,
}

impl Route {
    pub(crate) fn with(&self, crossing: Crossing) -> Self {
        let mut route = self.clone();
        route.crossings.push(crossing);
        route
    }

    /// A number of the route, as a seed for its draws.
    pub(crate) fn number(&self) -> u64 {
        self.crossings.iter().fold(mix(self.salt), |number, crossing| {
            mix(mix(number ^ crossing.cut as u64) ^ crossing.left.number())
        })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#", self.salt)?;
        for (i, Crossing { cut, left }) in self.crossings.iter().enumerate() {
            let slash = if i > 0 { "/" } else { "" };
            match left {
                Left::Killed => write!(f, "{slash}{cut}:k")?,
                Left::Drawn(seed) => write!(f, "{slash}{cut}:s{seed}")?,
                Left::Listed(index) => write!(f, "{slash}{cut}:n{index}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is an invalid route; a valid one is '7#57:s123/3:k'");
        let crossing = |part: &str| {
            let (cut, left) = part.split_once(':')?;
            let cut = cut.parse().ok()?;
            let left = match left.split_at_checked(1)? {
                ("k", "") => Left::Killed,
                ("s", seed) => Left::Drawn(seed.parse().ok()?),
                ("n", index) => Left::Listed(index.parse().ok()?),
                _ => return None,
            };
            Some(Crossing { cut, left })
        };
        let (salt, rest) = text.split_once('#').unwrap_or(("0", text));
        let salt = salt.parse().map_err(|_| wrong())?;
        let parts = rest.split('/').filter(|part| !part.is_empty());
        let crossings = parts.map(|part| crossing(part).ok_or_else(wrong)).collect::<Result<_, _>>()?;
        Ok(Route { salt, crossings })
    }
}
