//! What is asked about `global`, the host's own processes, and of it.

use std::collections::BTreeMap;

use zoned_api::{
    ApiError, EventKind, Fault, Reply,
    config::{Cpu, GLOBAL, global_shares},
    report::{GlobalInfo, LimitUse},
};

use crate::{
    cpu::{Backend, Choice, Flow, what_if},
    fault::failed,
    host::Host,
    stats::{entitled, flows},
    zone::zones::Zones,
};

/// All that is known of it.
pub(super) fn info(zones: &Zones) -> GlobalInfo {
    let host = &zones.host;
    let limit = LimitUse {
        key: "cpu.shares".into(),
        limit: host.cpu.global_shares().to_string(),
        used: None,
        hits: None,
        note: Some(kept(host)),
    };
    GlobalInfo { limits: vec![limit], entitlement: entitled(host, &zones.all()).remove(&None) }
}

/// Changes it; what is said of that.
pub(super) fn set(host: &Host, values: &BTreeMap<String, String>) -> Result<Reply, ApiError> {
    let shares = global_shares(values)?;
    host.cpu.give_global(shares).map_err(|e| failed(&e))?;
    let what = format!("of {GLOBAL} changed: cpu.shares={shares}");
    host.journal.note(None, EventKind::Configured { what });
    Ok(Reply::Done { state: None, note: Some(format!("cpu.shares is {shares}, {}", kept(host))) })
}

/// What a change would come to.
pub(super) fn what_would(zones: &Zones, values: &BTreeMap<String, String>) -> Result<Reply, ApiError> {
    let host = &zones.host;
    let next = Cpu { shares: Some(global_shares(values)?.into()), ..Cpu::default() };
    let global = host.cpu.global_cpu();
    if global.is_none() {
        let message = format!(
            "{GLOBAL}: cpu.shares changes nothing of what zones are entitled to: it is {}",
            kept(host)
        );
        let hint = "`zonectl doctor` says why fss, which keeps it, is not in force";
        return Err(ApiError::Unsupported(Fault { message, hint: Some(hint.into()) }));
    }
    let all = zones.all();
    let next = Flow { name: GLOBAL, cpu: &next };
    Ok(Reply::Shifts { shifts: what_if(&flows(&global, &all), next, &host.tree.cpus()) })
}

/// What keeps its shares; if nothing does, what holds instead.
fn kept(host: &Host) -> String {
    match host.cpu.choice() {
        Choice { in_force: Some(Backend::Fss), .. } => "kept by fss".into(),
        Choice { in_force: Some(backend), .. } => {
            let together = host.tree.beside().map(|beside| format!(" {}", beside.shares)).unwrap_or_default();
            format!(
                "not kept by {backend}, which divides what the zones get together: against the host's own they have{together} \
                 (zones-shares of zoned)"
            )
        }
        Choice { in_force: None, passed_over } if passed_over.is_empty() => {
            "kept as soon as it is chosen what keeps shares, if that is fss".into()
        }
        Choice { in_force: None, .. } => "kept by nothing here: zones have no cpu controller".into(),
    }
}
