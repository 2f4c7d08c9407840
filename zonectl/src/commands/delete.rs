//! `zonectl delete`.

use anyhow::Result;
use zoned_api::{Verb, ZoneConfig, ZoneInfo};

use super::{App, losing};

/// Forget zones
#[derive(clap::Args, Debug)]
#[command(
    after_help = "A zone with a root must be uninstalled first. A zone that was never booted and of which nothing but the \
                        name was configured is deleted without a question.\n\n\
                        Example: zonectl uninstall web --force && zonectl delete web --force"
)]
pub(crate) struct Args {
    #[command(flatten)]
    zones: losing::Zones,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let lost = "configuration and log of the console are lost.";
    losing::run(app, args.zones, Verb::Delete, loses, lost).await
}

/// Whether anybody wrote anything into its configuration, or it anything on its console.
fn loses(info: &ZoneInfo) -> bool {
    let bare = ZoneConfig::parse(&format!("zone: \"{}\"", info.zone));
    info.boot > 0 || !bare.is_ok_and(|bare| bare == info.config)
}

#[cfg(test)]
mod tests {
    use zoned_api::State;

    use super::*;
    use crate::commands::list::tests::zone;

    #[test]
    fn a_bare_name_is_no_loss() {
        let mut bare = zone("web", State::Configured, "");
        assert!(loses(&bare), "it was booted");
        bare.boot = 0;
        assert!(!loses(&bare));
        let mut written = zone("web", State::Configured, "order: 3");
        written.boot = 0;
        assert!(loses(&written));
    }
}
