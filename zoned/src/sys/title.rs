//! What `ps` shows of this process.

use std::{fs, io, sync::OnceLock};

/// Where the kernel put the command line: first byte, and the one after the last (proc_pid_stat(5), fields 48, 49).
static AREA: OnceLock<(usize, usize)> = OnceLock::new();

/// Remembers where the command line is. Must come before any [`set`], while `/proc` is the host's.
pub fn find() -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field, the name in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<usize>().ok());
    if let (Some(start), Some(end)) = (field(48), field(49))
        && 0 < start
        && start < end
    {
        let _ = AREA.set((start, end));
    }
    Ok(())
}

/// Shows `title` in place of the command line: of a process that a zone can see, where the real one names folders of
/// the host, or of a monitor that did not know its zone when it was started.
pub fn set(title: &str) {
    let Some((start, end)) = AREA.get().copied() else { return };
    let room = end - start;
    let title = &title.as_bytes()[..title.len().min(room - 1)];
    // SAFETY: the kernel placed the argument strings in these bytes of the stack, writable, for the life of the
    // process; the process is single-threaded and no longer looks at its arguments (it has copied what it
    // wanted of them).
    unsafe {
        let area = start as *mut u8;
        area.write_bytes(0, room);
        area.copy_from_nonoverlapping(title.as_ptr(), title.len());
    }
}
