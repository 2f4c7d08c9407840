//! Inside: tracepoints that are never quite unused.
//!
//! The first and the second program on a tracepoint have the kernel rewrite its own code while it runs, with a breakpoint
//! in it for a moment. An emulated processor can still run into a breakpoint that is gone already, and then the kernel
//! dies (`Oops: int3` in `__schedule`; QEMU 7.2, once in some two hundred starts of zoned). With two there already, one
//! more rewrites nothing. Nothing is recorded by these two.

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use std::{fs, path::Path};

/// What zoned counts at.
const USED: [&str; 5] =
    ["sched_switch", "sched_wakeup", "sched_process_fork", "sched_process_exec", "sched_process_exit"];

pub(super) fn keep() -> Result<()> {
    let tracing = Path::new("/sys/kernel/tracing");
    if !tracing.join("instances").exists() {
        let none = None::<&str>;
        mount(Some("tracefs"), tracing, Some("tracefs"), MsFlags::empty(), none)
            .context("cannot mount tracefs")?;
    }
    for instance in ["zones-1", "zones-2"] {
        let instance = tracing.join("instances").join(instance);
        fs::create_dir(&instance).with_context(|| format!("cannot make {}", instance.display()))?;
        let write = |file: &str, text| {
            let file = instance.join(file);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        write("tracing_on", "0")?;
        write("buffer_size_kb", "4")?;
        for event in USED {
            write(&format!("events/sched/{event}/enable"), "1")?;
        }
    }
    Ok(())
}
