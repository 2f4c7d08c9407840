//! A shell inside a zone that stays, for an attacker who acts while others come and go.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use crate::arena::{Arena, INSIDE};

const END: &str = "--end--";

/// A shell of a zone's root.
pub(crate) struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    /// Starts one.
    pub(crate) fn new(arena: &Arena, zone: &str) -> Self {
        let mut command = arena.ctx.command(&["exec", zone, "--", "/bin/sh"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut shell = Self { child, input, output: BufReader::new(output) };
        assert_eq!(shell.run("echo here"), ["here"]);
        shell
    }

    /// Runs a command; what it and its errors said, line by line.
    pub(crate) fn run(&mut self, command: &str) -> Vec<String> {
        writeln!(self.input, "{{ {command}\n}} 2>&1; echo {END}").unwrap();
        self.output.by_ref().lines().map(Result::unwrap).take_while(|line| line != END).collect()
    }

    /// Runs scripts of system calls.
    pub(crate) fn attack(&mut self, scripts: &[String]) -> Vec<String> {
        let quoted = scripts.iter().map(|s| format!(" \"{}\"", s.replace('$', "\\$")));
        self.run(&format!("{INSIDE}{}", quoted.collect::<String>()))
    }

    /// Waits until a process inside has this command line (blanks between its words); its number inside.
    pub(crate) fn find(&mut self, title: &str) -> String {
        let look = format!(
            "for i in $(seq 400); do for p in /proc/[0-9]*; do \
             [ \"$(tr '\\0' ' ' < $p/cmdline | sed 's/ *$//')\" = '{title}' ] && echo ${{p#/proc/}} && break 2; \
             done 2>/dev/null; sleep 0.02; done"
        );
        self.run(&look).pop().unwrap_or_else(|| panic!("no process called {title} is seen inside"))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = writeln!(self.input, "exit");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
