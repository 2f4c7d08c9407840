//! Where the log goes: the journal if stderr is connected to it, else stderr.

use std::{env, io::IsTerminal, os::unix::fs::MetadataExt};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error("--log {filter}: {source}; write levels like info, or info,zoned::zone=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something logs already.
    #[error("the log cannot be started: {0}")]
    Start(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging, with what eBPF programs and crates log through `log` too.
pub fn start(filter: &str) -> Result<(), LogError> {
    let levels =
        EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.into(), source })?;
    // It tells every instruction it relocates; who wants that names it.
    let quiet = ["aya=info", "aya_obj=info"].into_iter().filter(|_| !filter.contains("aya"));
    let levels = quiet.filter_map(|d| d.parse().ok()).fold(levels, EnvFilter::add_directive);
    let registry = tracing_subscriber::registry().with(levels);
    match journal() {
        Some(journal) => registry.with(journal).try_init()?,
        None => {
            let colour = std::io::stderr().is_terminal();
            let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour);
            registry.with(stderr.with_target(false)).try_init()?;
        }
    }
    Ok(())
}

/// The journal, if that is where stderr goes: JOURNAL_STREAM names its device and inode (systemd.exec(5)).
fn journal() -> Option<tracing_journald::Layer> {
    let named = env::var("JOURNAL_STREAM").ok()?;
    let stderr = std::fs::metadata("/proc/self/fd/2").ok()?;
    if named != format!("{}:{}", stderr.dev(), stderr.ino()) {
        return None;
    }
    tracing_journald::layer().ok()
}
