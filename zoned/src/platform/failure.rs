//! What went wrong on the way into isolation.

use std::{fmt, io};

/// One step that failed: "cannot mount /proc: Operation not permitted".
#[derive(Debug)]
pub struct Failure {
    doing: &'static str,
    object: String,
    source: io::Error,
    because: Option<&'static str>,
}

impl Failure {
    /// The system's reason.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Says what an error number really means here, where the kernel's word misleads.
    pub fn because(mut self, errno: i32, meaning: &'static str) -> Self {
        if self.errno() == Some(errno) {
            self.because = Some(meaning);
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.doing, self.object, reason(&self.source))?;
        match self.because {
            Some(meaning) => write!(f, " ({meaning})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The reason in words, without Rust's "(os error N)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Names the step and the object of a system call that failed.
pub trait At<T> {
    /// `doing` is a verb, `object` what it was done to.
    fn at(self, doing: &'static str, object: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str, object: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|source| Failure {
            doing,
            object: object.to_string(),
            source: source.into(),
            because: None,
        })
    }
}
