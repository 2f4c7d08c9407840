//! What zoned is told on its command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The zones daemon: keeps zones, boots and halts them, and answers zonectl.
///
/// SIGTERM and SIGINT end the daemon alone: zones run on, and the next zoned takes them over.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Options {
    /// Folder of the brands of this site (brands/*.yaml)
    #[arg(long, value_name = "DIR", default_value = "/etc/zoned")]
    pub config_dir: PathBuf,
    /// Folder of configurations, images and the zones' data
    #[arg(long, value_name = "DIR", default_value = "/var/lib/zoned")]
    pub state_dir: PathBuf,
    /// Folder of what lasts until the host is restarted
    #[arg(long, value_name = "DIR", default_value = "/run/zoned")]
    pub run_dir: PathBuf,
    /// Folder of downloads that can be made again
    #[arg(long, value_name = "DIR", default_value = "/var/cache/zoned")]
    pub cache_dir: PathBuf,
    /// Where to listen [default: zoned.sock in the run folder]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Name of the cgroup all zones are in, right below the root of each hierarchy
    #[arg(long, value_name = "NAME", default_value = "zones")]
    pub cgroup_name: String,
    /// The zone-monitor program [default: beside zoned itself]
    #[arg(long, value_name = "PATH")]
    pub monitor: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or by part, as in info,zoned::zone=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// What to do instead of being the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What this program does instead of being the daemon.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// A confined child of the daemon that unpacks an image
    #[command(hide = true)]
    Worker {
        /// Its task
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        task: Vec<std::ffi::OsString>,
    },
}
