//! THE table: what each verb does in each state, and what a request does that meets another one under way.
//!
//! Pure. The actor obeys it and decides nothing of the kind itself. A verb whose end is reached already succeeds
//! with a note; an illegal one is refused with what to do instead. `do` = carried out, `ok` = nothing to do,
//! `-` = refused:
//!
//! ```text
//!               edit set  del. inst unin ready boot shut halt reb. paus resu exec cons cp
//! configured    do   do   do   do   ok   -    -    ok   ok   -    -    -    -    -    -
//! incomplete    do   do   -    -    do   -    -    ok   ok   -    -    -    -    -    -
//! installed     do   do   -    ok   do   do   do   ok   ok   -    -    -    -    -    -
//! ready         do   do   -    ok   -    ok   do   do   do   -    -    -    -    do   -
//! running       do   do   -    ok   -    -    ok   do   do   do   do   ok   do   do   do
//! paused        do   do   -    ok   -    -    -    -    do   -    ok   do   -    do   -
//! shutting-down do   do   -    ok   -    -    -    ok   do   -    -    -    -    do   -
//! down          do   do   -    ok   -    -    -    -    do   -    -    -    -    -    -
//! ```

use zoned_api::{
    State::{self, Configured, Down, Incomplete, Installed, Paused, Ready, Running, ShuttingDown},
    Verb,
};

/// What a verb does in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It is carried out.
    Do,
    /// What it is for is so already; the note says how.
    Nothing(&'static str),
    /// It is illegal; the hint says what to do instead.
    Refuse(&'static str),
}

use Transition::{Do, Nothing, Refuse};

const INSTALL_FIRST: &str = "install it first";
const UNINSTALL_FIRST: &str = "uninstall it first: nothing else leads out of incomplete";
const NOTHING_BUT_REMAINS: &str = "nothing of it runs; its install or uninstall did not end, and `zonectl uninstall` clears away what is left";
const BOOT_FIRST: &str = "boot it first";
const HALT_FIRST: &str = "halt it first";
const RESUME_FIRST: &str = "resume it first";
const WAIT: &str = "wait until it is installed again, or halt it to be done at once";
const HALT_AGAIN: &str = "halt tries the failed step again; `zonectl info` says what holds it";

/// What a verb does in a state.
pub fn transition(state: State, verb: Verb) -> Transition {
    match verb {
        Verb::Edit | Verb::Set => Do,
        Verb::Delete => match state {
            Configured => Do,
            Incomplete | Installed => Refuse("uninstall it first"),
            Ready | Running | Paused => Refuse("halt and uninstall it first"),
            ShuttingDown => Refuse(WAIT),
            Down => Refuse(HALT_AGAIN),
        },
        Verb::Install => match state {
            Configured => Do,
            Incomplete => Refuse(UNINSTALL_FIRST),
            _ => Nothing("it is installed already"),
        },
        Verb::Uninstall => match state {
            Configured => Nothing("it has no root"),
            Incomplete | Installed => Do,
            Ready | Running | Paused => Refuse(HALT_FIRST),
            ShuttingDown => Refuse(WAIT),
            Down => Refuse(HALT_AGAIN),
        },
        Verb::Ready => match state {
            Installed => Do,
            Ready => Nothing("it is ready already"),
            Running | Paused => Refuse("it is booted already; halt it first"),
            other => Refuse(to_run(other)),
        },
        Verb::Boot => match state {
            Installed | Ready => Do,
            Running => Nothing("it is running already"),
            Paused => Refuse("it is booted already; resume it"),
            other => Refuse(to_run(other)),
        },
        Verb::Shutdown => match state {
            Ready | Running => Do,
            Incomplete => Nothing(NOTHING_BUT_REMAINS),
            Configured | Installed => Nothing("nothing of it runs"),
            ShuttingDown => Nothing("it is going down already"),
            Paused => Refuse("resume it first, or halt it"),
            Down => Refuse(HALT_AGAIN),
        },
        Verb::Halt => match state {
            Ready | Running | Paused | ShuttingDown | Down => Do,
            Incomplete => Nothing(NOTHING_BUT_REMAINS),
            Configured | Installed => Nothing("nothing of it runs"),
        },
        Verb::Reboot => match state {
            Running => Do,
            Paused => Refuse("resume it first, or halt it"),
            other => Refuse(to_run(other)),
        },
        Verb::Pause => match state {
            Running => Do,
            Paused => Nothing("it is paused already"),
            other => Refuse(to_run(other)),
        },
        Verb::Resume => match state {
            Paused => Do,
            Running => Nothing("it is not paused"),
            other => Refuse(to_run(other)),
        },
        Verb::Exec | Verb::Cp => match state {
            Running => Do,
            Paused => Refuse(RESUME_FIRST),
            other => Refuse(to_run(other)),
        },
        Verb::Console => match state {
            Ready | Running | Paused | ShuttingDown => Do,
            other => Refuse(to_run(other)),
        },
    }
}

/// What leads from a state towards a running zone.
fn to_run(state: State) -> &'static str {
    match state {
        Configured => INSTALL_FIRST,
        Incomplete => UNINSTALL_FIRST,
        Installed | Ready | Running => BOOT_FIRST,
        Paused => RESUME_FIRST,
        ShuttingDown => WAIT,
        Down => HALT_AGAIN,
    }
}

/// What becomes of a request that meets another one under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// It gets the other one's result.
    Join,
    /// The other one is broken off, then this one is carried out.
    Interrupt,
    /// It is judged by the table as if the other were not there.
    Beside,
    /// It is refused.
    Busy,
}

/// What becomes of `asked` while `doing` is under way.
pub fn meet(doing: Verb, asked: Verb) -> Meeting {
    match (doing, asked) {
        (doing, asked) if doing == asked => Meeting::Join,
        // A halt does all that a shutdown is for.
        (Verb::Halt, Verb::Shutdown) => Meeting::Join,
        (Verb::Delete | Verb::Uninstall, Verb::Halt) => Meeting::Busy,
        (_, Verb::Halt) => Meeting::Interrupt,
        (_, Verb::Exec | Verb::Console | Verb::Cp) => Meeting::Beside,
        (Verb::Shutdown | Verb::Halt | Verb::Pause | Verb::Resume, Verb::Edit | Verb::Set) => Meeting::Beside,
        _ => Meeting::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in this file's head, read: one word a verb behind each state's name.
    fn drawn() -> Vec<(State, Vec<String>)> {
        let lines = include_str!("transitions.rs").lines().filter_map(|l| l.strip_prefix("//! "));
        let row = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let name = words.next()?;
            let state = State::ALL.into_iter().find(|s| s.as_str() == name)?;
            let cells: Vec<_> = words.collect();
            (cells.len() == Verb::ALL.len()).then_some((state, cells))
        };
        lines.filter_map(row).collect()
    }

    #[test]
    fn every_cell_is_as_drawn() {
        let table = drawn();
        assert_eq!(table.iter().map(|(s, _)| *s).collect::<Vec<_>>(), State::ALL);
        for (state, cells) in table {
            for (verb, cell) in Verb::ALL.into_iter().zip(cells) {
                let word = match transition(state, verb) {
                    Do => "do",
                    Nothing(note) => {
                        assert!(!note.is_empty());
                        "ok"
                    }
                    Refuse(hint) => {
                        assert!(!hint.is_empty());
                        "-"
                    }
                };
                assert_eq!(word, cell, "{verb} while {state}");
            }
        }
    }

    #[test]
    fn a_request_joins_its_like_and_only_halt_breaks_in() {
        for doing in Verb::ALL {
            for asked in Verb::ALL {
                let meeting = meet(doing, asked);
                assert_eq!(
                    meeting == Meeting::Join,
                    doing == asked || (doing, asked) == (Verb::Halt, Verb::Shutdown)
                );
                assert!(meeting != Meeting::Interrupt || asked == Verb::Halt, "{asked} during {doing}");
            }
        }
        assert_eq!(meet(Verb::Install, Verb::Halt), Meeting::Interrupt);
        assert_eq!(meet(Verb::Uninstall, Verb::Halt), Meeting::Busy, "half an uninstall helps nobody");
        assert_eq!(meet(Verb::Boot, Verb::Delete), Meeting::Busy);
    }

    #[test]
    fn from_every_state_some_verb_leads_on() {
        for state in State::ALL {
            let leads = |v: &Verb| {
                transition(state, *v) == Do && !matches!(v, Verb::Edit | Verb::Set | Verb::Console)
            };
            assert!(Verb::ALL.iter().any(leads), "{state}");
        }
    }
}
