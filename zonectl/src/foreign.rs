//! What people type who come from other tools, and the verb that does it here.
//!
//! There are no aliases: a verb has one name, in scripts as in the documentation. Whoever types another is told it.

/// Words of incus, docker, podman, machinectl, virsh and jail(8), and what to type instead.
const WORDS: [(&[&str], &str); 19] = [
    (&["start", "up", "poweron"], "`zonectl boot ZONE` starts a zone"),
    (
        &["stop", "down", "poweroff"],
        "`zonectl shutdown ZONE` asks a zone's init to stop, `zonectl halt ZONE` stops it at once",
    ),
    (&["kill", "terminate"], "`zonectl halt ZONE` stops a zone at once"),
    (&["restart"], "`zonectl shutdown --reboot ZONE` restarts a zone cleanly, `zonectl reboot ZONE` at once"),
    (&["shell", "enter", "sh", "bash", "zlogin"], "`zonectl login ZONE` opens a shell"),
    (&["attach"], "`zonectl login ZONE` opens a shell, `zonectl console ZONE` attaches to the console"),
    (&["ls", "ps", "ll"], "`zonectl list` lists the zones"),
    (&["status", "show", "inspect"], "`zonectl list` lists the zones, `zonectl info ZONE` shows one"),
    (
        &["rm", "remove", "destroy", "undefine"],
        "`zonectl uninstall ZONE` takes a zone's root away, then `zonectl delete ZONE` the zone",
    ),
    (
        &["run", "launch"],
        "`zonectl create ZONE && zonectl install ZONE && zonectl boot ZONE` makes a zone run, `zonectl exec ZONE -- COMMAND` \
         runs a command in it",
    ),
    (&["init", "new", "add", "define"], "`zonectl create ZONE` makes a zone"),
    (
        &["logs", "log"],
        "`zonectl console ZONE --log` prints what the console said, `zonectl events` what happened",
    ),
    (&["freeze", "suspend"], "`zonectl pause ZONE` freezes a zone"),
    (&["unfreeze", "unpause", "thaw"], "`zonectl resume ZONE` lets a paused zone go on"),
    (&["top", "stats"], "`zonectl stat` shows what zones take, `zonectl stat 1` every second"),
    (&["copy", "push", "pull", "file"], "`zonectl cp SRC DST` copies, one of the two being ZONE:PATH"),
    (&["import", "apply"], "`zonectl create -f FILE` makes a zone, `zonectl edit ZONE -f FILE` changes one"),
    (&["config"], "`zonectl info ZONE` shows the configuration, `zonectl set ZONE KEY=VALUE` changes it"),
    (&["monitor", "watch"], "`zonectl events --follow` shows what happens"),
];

/// What to type instead of a verb of another tool's.
pub(crate) fn advice(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn no_word_stands_twice_or_is_a_verb() {
        let verbs: BTreeSet<_> = Cli::command().get_subcommands().map(|v| v.get_name().to_owned()).collect();
        let words: Vec<_> = WORDS.iter().flat_map(|(words, _)| *words).collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        assert!(words.iter().all(|word| !verbs.contains(**word)));
    }

    #[test]
    fn every_advice_can_be_typed() {
        let quoted = WORDS.iter().flat_map(|(_, advice)| advice.split('`').skip(1).step_by(2));
        for line in quoted.flat_map(|line| line.split(" && ")) {
            let line = line.replace("KEY=VALUE", "a=b").replace("DST", "web:/");
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
