//! What zoned is told: on its command line, and in `zoned.yaml` of its folder of configuration.
//!
//! The command line wins over the file, the file over what is usual. What an option takes is said here alone.

mod file;
mod gather;

use std::path::PathBuf;

use clap::{
    Parser, Subcommand,
    builder::{PathBufValueParser, TypedValueParser},
};
use tracing_subscriber::EnvFilter;

pub use self::{
    file::FileError,
    gather::{FILE, Gathered, TellError, gather},
};
use crate::{
    cpu::Backend,
    platform::cgroup::{DEFAULT_SHARES, is_group_name},
};

/// Most shares of all zones together.
const MAX_SHARES: u64 = 10_000;

/// The zones daemon: keeps zones, boots and halts them, and answers zonectl.
///
/// SIGTERM and SIGINT end the daemon alone: zones run on, and the next zoned takes them over.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = "Each option but --config-dir can stand in zoned.yaml of that folder as well, by its name: `zones-shares: 200`, \
                  `cpu-backend: [deficit, shares]`, `uplinks: [eth0, eth1]`. What is given here wins over the file."
)]
pub struct Options {
    /// Folder of zoned.yaml and of the brands of this site (brands/*.yaml)
    #[arg(long, value_name = "DIR", default_value = "/etc/zoned", value_parser = PathBufValueParser::new().try_map(absolute))]
    pub config_dir: PathBuf,
    /// Folder of configurations, images and the zones' data
    #[arg(long, value_name = "DIR", default_value = "/var/lib/zoned", value_parser = PathBufValueParser::new().try_map(absolute))]
    pub state_dir: PathBuf,
    /// Folder of what lasts until the host is restarted
    #[arg(long, value_name = "DIR", default_value = "/run/zoned", value_parser = PathBufValueParser::new().try_map(absolute))]
    pub run_dir: PathBuf,
    /// Folder of downloads that can be made again
    #[arg(long, value_name = "DIR", default_value = "/var/cache/zoned", value_parser = PathBufValueParser::new().try_map(absolute))]
    pub cache_dir: PathBuf,
    /// Where to listen [default: zoned.sock in the run folder]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Name of the cgroup all zones are in, right below the root of each hierarchy
    #[arg(long, value_name = "NAME", default_value = "zones", value_parser = group)]
    pub cgroup_name: String,
    /// Shares of the CPUs that all zones together have against each group of the host's own, which has 100 unless the
    /// host gave it another weight (1 to 10000)
    #[arg(long, value_name = "SHARES", default_value_t = DEFAULT_SHARES, value_parser = shares)]
    pub zones_shares: u64,
    /// Name of the bridge zones are connected to, made when the first of them needs it
    #[arg(long, value_name = "NAME", default_value = "zones0", value_parser = interface)]
    pub bridge: String,
    /// The zones' own IPv4 network [default: one that meets no route of the host, kept]
    #[arg(long, value_name = "ADDRESS/LENGTH", value_parser = ipv4_network)]
    pub network: Option<ipnet::Ipv4Net>,
    /// The zones' own IPv6 network [default: a random one of fd00::/8, kept]
    #[arg(long, value_name = "ADDRESS/LENGTH", value_parser = ipv6_network)]
    pub network6: Option<ipnet::Ipv6Net>,
    /// Interface of the host behind which the outside is: forwarding is switched on for it (may be given again)
    #[arg(long = "uplink", visible_alias = "uplinks", value_name = "NAME", value_parser = uplink)]
    pub uplinks: Vec<String>,
    /// What may keep CPU shares, best first; the first that works here does
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "fss,deficit,shares")]
    pub cpu_backend: Vec<Backend>,
    /// The zone-monitor program [default: beside zoned itself]
    #[arg(long, value_name = "PATH")]
    pub monitor: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or by part, as in info,zoned::zone=debug
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
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

fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_absolute() { Ok(path) } else { Err("must be an absolute path".into()) }
}

fn group(text: &str) -> Result<String, String> {
    let why = "the name of a group has no slash and does not begin with a dot";
    is_group_name(text).then(|| text.to_owned()).ok_or_else(|| why.into())
}

fn shares(text: &str) -> Result<u64, String> {
    let shares = text.parse().ok().filter(|shares| (1..=MAX_SHARES).contains(shares));
    shares.ok_or_else(|| format!("write a whole number from 1 to {MAX_SHARES}"))
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(e) => Err(format!("{e}; write levels like info, or info,zoned::zone=debug")),
    }
}

fn interface(text: &str) -> Result<String, String> {
    let why = "an interface's name has 1 to 15 of a-z A-Z 0-9 _ -";
    zoned_api::config::is_interface_name(text).then(|| text.to_owned()).ok_or_else(|| why.into())
}

fn uplink(text: &str) -> Result<String, String> {
    // Those of others have dots too, as in eth0.5.
    interface(&text.replace('.', "_")).map(|_| text.to_owned())
}

fn ipv4_network(text: &str) -> Result<ipnet::Ipv4Net, String> {
    let net = text.parse::<ipnet::Ipv4Net>().map_err(|_| "write one like 10.77.0.0/16".to_owned())?;
    if net != net.trunc() {
        return Err(format!("it begins at {}", net.trunc()));
    }
    let room = (8..=29).contains(&net.prefix_len());
    room.then_some(net).ok_or_else(|| "the length must be from 8 to 29".into())
}

fn ipv6_network(text: &str) -> Result<ipnet::Ipv6Net, String> {
    let net = text.parse::<ipnet::Ipv6Net>().map_err(|_| "write one like fd12:3456:789a::/64".to_owned())?;
    if net != net.trunc() {
        return Err(format!("it begins at {}", net.trunc()));
    }
    let room = (16..=120).contains(&net.prefix_len());
    room.then_some(net).ok_or_else(|| "the length must be from 16 to 120".into())
}
