//! The task that carries the deficit controller out.
//!
//! It reads what eBPF has counted, and has weights written where they change. Where fewer than two zones run it reads
//! nothing, and where they do not contend it writes nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fairness::Claim;
use uuid::Uuid;
use zoned_api::config::Cpu;

use super::{
    Backend,
    dedicated::apart,
    deficit::{Controller, Counted, PERIOD, Weights},
};
use crate::{fault::whole, host::Host, stats::monotonic_ns};

/// How often zones that do not contend are looked at.
const CALM: Duration = Duration::from_secs(1);

/// Sees to it that shares are kept, for as long as the daemon lives.
pub async fn steer(host: Arc<Host>) {
    tokio::task::block_in_place(|| host.cpu.begin(&host));
    let mut steering = Steering::default();
    loop {
        // A few system calls a zone, none of which waits.
        let contended = tokio::task::block_in_place(|| {
            host.cpu.look_after(&host);
            host.cpu.in_force() == Some(Backend::Deficit) && steering.step(&host)
        });
        tokio::time::sleep(if contended { PERIOD } else { CALM }).await;
    }
}

#[derive(Debug, Default)]
struct Steering {
    controller: Controller,
    /// The figures could not be read the last time.
    blind: bool,
}

impl Steering {
    /// Looks once, and has written what is to be. Whether zones contend.
    fn step(&mut self, host: &Host) -> bool {
        let zones = host.limits.cpus();
        if zones.len() < 2 {
            self.controller = Controller::default();
            host.limits.steer_none(host);
            return false;
        }
        let Weights { contended, factors } = self.weights(host, &zones);
        factors.iter().for_each(|(zone, factor)| host.limits.steer(host, zone, *factor));
        contended
    }

    fn weights(&mut self, host: &Host, zones: &HashMap<Uuid, Cpu>) -> Weights {
        let at_ns = monotonic_ns();
        let counted = match host.metering.cpu_times() {
            Ok(counted) => counted,
            Err(e) => {
                if !std::mem::replace(&mut self.blind, true) {
                    tracing::error!("shares are not steered: {}", whole(&e));
                }
                return Weights::default();
            }
        };
        self.blind = false;
        let cpus = host.tree.cpus();
        let left = apart(&zones.values().collect::<Vec<_>>(), &cpus);
        let zones: HashMap<_, _> = zones.keys().zip(&left).collect();
        let counted: Vec<_> = counted
            .into_iter()
            .filter_map(|(zone, usage_ns, wait_ns)| {
                Some(Counted { zone, claim: claim(zones.get(&zone)?), usage_ns, wait_ns })
            })
            .collect();
        self.controller.step(at_ns, cpus.numbers(), &counted)
    }
}

/// What a configuration asks of the CPUs.
pub(super) fn claim(cpu: &Cpu) -> Claim<'_> {
    Claim {
        shares: cpu.counted_shares(),
        most: cpu.cap.unwrap_or(f64::INFINITY),
        cpus: cpu.cpus.as_ref().map(|cpus| cpus.numbers()),
    }
}
