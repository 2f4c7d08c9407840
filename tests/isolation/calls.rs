//! Scripts of system calls that several topics use. A call's number in its script matters: `$1` is the first's result.

use libc::{
    CLONE_NEWNS, MS_PRIVATE, MS_REC, O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_RDONLY, O_RDWR, O_WRONLY,
};

fn open(path: &str, flags: i32) -> String {
    format!("openat -100 '{path}' {flags} 384")
}

/// Opens a file for reading.
pub(crate) fn readable(path: &str) -> String {
    open(path, O_RDONLY)
}

/// Opens a file for writing, and writes nothing.
pub(crate) fn writable(path: &str) -> String {
    open(path, O_WRONLY)
}

/// Opens a file for both.
pub(crate) fn both(path: &str) -> String {
    open(path, O_RDWR)
}

/// Looks whether something is there.
pub(crate) fn there(path: &str) -> String {
    open(path, O_PATH)
}

/// Opens a folder.
pub(crate) fn folder(path: &str) -> String {
    open(path, O_RDONLY | O_DIRECTORY)
}

/// Makes a file and removes it again.
pub(crate) fn create(path: &str) -> String {
    format!("{} ; unlinkat -100 '{path}' 0", open(path, O_CREAT | O_EXCL | O_WRONLY))
}

/// Reads a few bytes.
pub(crate) fn read(path: &str) -> String {
    format!("{} ; read $1 {{64}} 64", readable(path))
}

/// Two calls that give the script a mount namespace of its own, which shows the host nothing.
pub(crate) fn own_mounts(script: &str) -> String {
    format!("unshare {CLONE_NEWNS} ; mount 'none' '/' 0 {} 0 ; {script}", MS_REC | MS_PRIVATE)
}

/// Mounts a new file system on /tmp, in a mount namespace of the script's own (this is its third call).
pub(crate) fn mounted(kind: &str, options: &str) -> String {
    own_mounts(&format!("mount 'none' '/tmp' '{kind}' 0 '{options}'"))
}
