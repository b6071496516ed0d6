//! Whether a key's history is linearizable: whether each operation can have taken effect at one moment
//! between its start and its end, as on one copy of the key. [`LinearizabilityTester`] of `stateright`
//! decides; this file gives it the events.

use std::collections::{BTreeMap, BTreeSet};

use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::history::{ClientId, Event, Operation, Value};

/// A key that starts without a value.
type Tester = LinearizabilityTester<ClientId, Register<Option<Value>>>;

/// Whether a history is linearizable; an error if it is no history, because a client does two things at
/// a time or ends what it did not start.
pub(crate) fn is_linearizable(history: &[Event]) -> Result<bool, String> {
    let unseen = unseen(history);
    let mut tester = Tester::new(Register(None));
    for event in history {
        match *event {
            Event::Starts(_, Operation::Write(value)) if unseen.contains(&value) => continue,
            Event::Starts(client, Operation::Write(value)) => {
                tester.on_invoke(client, RegisterOp::Write(Some(value)))?
            }
            Event::Starts(client, Operation::Read) => tester.on_invoke(client, RegisterOp::Read)?,
            Event::Wrote(client) => tester.on_return(client, RegisterRet::WriteOk)?,
            Event::Read(client, value) => tester.on_return(client, RegisterRet::ReadOk(value))?,
        };
    }
    Ok(tester.is_consistent())
}

/// Values of open writes that were never read. Such writes may as well have had no effect, and leaving
/// them out makes the check much shorter.
fn unseen(history: &[Event]) -> BTreeSet<Value> {
    let mut open = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for event in history {
        match *event {
            Event::Starts(client, Operation::Write(value)) => drop(open.insert(client, value)),
            Event::Starts(_, Operation::Read) => {}
            Event::Wrote(client) => drop(open.remove(&client)),
            Event::Read(_, value) => seen.extend(value),
        }
    }
    open.into_values().filter(|value| !seen.contains(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event::{Read, Starts, Wrote};
    use Operation::{Read as R, Write as W};

    const fn client(number: u64) -> ClientId {
        ClientId { number, life: 0 }
    }

    const A: ClientId = client(1);
    const B: ClientId = client(2);
    const C: ClientId = client(3);

    #[test]
    fn histories_of_one_copy_are_accepted() {
        let good: [(&str, &[Event]); 8] = [
            ("nothing", &[]),
            ("a key that was never written", &[Starts(A, R), Read(A, None)]),
            ("a read of the last write", &[Starts(A, W(1)), Wrote(A), Starts(B, R), Read(B, Some(1))]),
            (
                "a read during a write sees the old value",
                &[Starts(A, W(1)), Starts(B, R), Read(B, None), Wrote(A)],
            ),
            ("or the new one", &[Starts(A, W(1)), Starts(B, R), Read(B, Some(1)), Wrote(A)]),
            (
                "two writes at once, in the other order",
                &[Starts(A, W(1)), Starts(B, W(2)), Wrote(B), Wrote(A), Starts(C, R), Read(C, Some(2))],
            ),
            (
                "an open write that was never read, of a client that did more",
                &[Starts(A, W(1)), Wrote(A), Starts(A, R), Read(A, Some(1)), Starts(A, W(2))],
            ),
            (
                "an open write takes effect late",
                &[
                    Starts(A, W(1)),
                    Starts(B, W(2)),
                    Wrote(B),
                    Starts(C, R),
                    Read(C, Some(2)),
                    Starts(C, R),
                    Read(C, Some(1)),
                ],
            ),
        ];
        for (what, events) in good {
            assert_eq!(is_linearizable(events), Ok(true), "{what}");
        }
    }

    #[test]
    fn histories_that_one_copy_can_not_have_are_refused() {
        let bad: [(&str, &[Event]); 6] = [
            ("an acknowledged write is lost", &[Starts(A, W(1)), Wrote(A), Starts(B, R), Read(B, None)]),
            (
                "an old value comes back",
                &[Starts(A, W(1)), Wrote(A), Starts(A, W(2)), Wrote(A), Starts(B, R), Read(B, Some(1))],
            ),
            ("a value that was never written", &[Starts(A, R), Read(A, Some(7))]),
            (
                "two readers disagree about the order of two writes at once",
                &[
                    Starts(A, W(1)),
                    Starts(B, W(2)),
                    Starts(C, R),
                    Read(C, Some(1)),
                    Starts(C, R),
                    Read(C, Some(2)),
                    Wrote(A),
                    Wrote(B),
                    Starts(C, R),
                    Read(C, Some(1)),
                ],
            ),
            (
                "a stale read after a newer one",
                &[Starts(A, W(1)), Starts(B, R), Read(B, Some(1)), Starts(C, R), Read(C, None), Wrote(A)],
            ),
            (
                "an open write takes effect twice",
                &[
                    Starts(A, W(1)),
                    Starts(C, R),
                    Read(C, Some(1)),
                    Starts(B, W(2)),
                    Wrote(B),
                    Starts(C, R),
                    Read(C, Some(2)),
                    Starts(C, R),
                    Read(C, Some(1)),
                ],
            ),
        ];
        for (what, events) in bad {
            assert_eq!(is_linearizable(events), Ok(false), "{what}");
        }
    }

    #[test]
    fn what_is_no_history_is_an_error() {
        assert!(is_linearizable(&[Starts(A, R), Starts(A, R)]).is_err());
        assert!(is_linearizable(&[Wrote(A)]).is_err());
    }
}
