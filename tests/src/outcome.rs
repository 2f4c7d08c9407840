//! What a command did.

use std::process::Output;

/// Exit code and output of a command that has ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run.
    pub command: String,
    /// Exit code; 128 + signal if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    pub(crate) fn new(command: String, output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { command, code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Its standard output; it must have succeeded.
    ///
    /// # Panics
    /// If it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{} failed\nstdout: {}\nstderr: {}", self.command, self.stdout, self.stderr);
        self.stdout
    }

    /// Its standard error; it must have failed with this code and say this. A message of ours is one line and
    /// never a panic.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn fails(self, code: i32, says: &str) -> String {
        let Self { command, stdout, stderr, .. } = &self;
        assert_eq!(self.code, code, "{command}: wrong exit code\nstdout: {stdout}\nstderr: {stderr}");
        assert!(stderr.contains(says), "{command}: does not say {says:?}\nstderr: {stderr}");
        assert!(!stderr.contains("panicked"), "{command}: panicked\nstderr: {stderr}");
        self.stderr
    }

    /// As [`Outcome::fails`], and what it says is as every error of ours is: `zonectl: ` with what failed on one
    /// line, then what to do on another. Steps told before it do not count.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn refuses(self, code: i32, says: &str) -> String {
        let command = self.command.clone();
        let stderr = self.fails(code, says);
        let said: Vec<_> = stderr.lines().skip_while(|l| !l.starts_with("zonectl: ")).collect();
        let well_formed = match said.as_slice() {
            [_] => true,
            [_, hint] => hint.starts_with("  try: "),
            _ => false,
        };
        assert!(well_formed, "{command}: not one line and a hint\nstderr: {stderr}");
        let clean = |c: char| c == '\n' || !c.is_control();
        assert!(stderr.chars().all(clean), "{command}: control characters\nstderr: {stderr:?}");
        stderr
    }
}
