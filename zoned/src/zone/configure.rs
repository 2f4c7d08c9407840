//! Changing a zone's configuration.
//!
//! The whole of it is checked before anything is written. Limits of a running zone change at once; whatever else it was
//! booted with stays, and a change takes effect with the next boot.

use std::collections::BTreeMap;

use uuid::Uuid;
use zoned_api::{ApiError, State, ZoneConfig, config::Root};

use super::{limits, request::What, status::Status};
use crate::{
    fault::{failed, whole},
    host::Host,
    plan,
};

/// Carries out an edit or a set: returns the new text, the same parsed, and what there is to say.
pub(super) fn change(
    host: &Host,
    status: &Status,
    what: &What,
) -> Result<(String, ZoneConfig, Option<String>), ApiError> {
    let yaml = match what {
        What::Edit { base: Some(base), .. } if **base != *status.yaml => {
            let hint = "look at it again with `zonectl export`, and repeat the change";
            let message = format!("zone {}: its configuration was changed meanwhile", status.config.zone);
            return Err(ApiError::invalid(message, Some(hint.into())));
        }
        What::Edit { yaml, .. } => yaml.clone(),
        What::Set(values) => ZoneConfig::set(&status.yaml, values)?,
        What::Move(..) | What::Session(..) => return Err(ApiError::failed("not a change", None)),
    };
    let config = check(host, &yaml)?;
    fixed(status, &config)?;
    let uuid = status.uuid();
    host.names.claim(&config.zone, uuid)?;
    let kept = limits::change(host, status, &config)
        .and_then(|live| keep(host, uuid, &config, &yaml).map(|()| live));
    let live = match kept {
        Ok(live) => live,
        Err(e) => {
            if config.zone != status.config.zone {
                host.names.release(&config.zone, uuid);
            }
            return Err(limits::put_back(host, status, e));
        }
    };
    if config.zone != status.config.zone {
        host.names.release(&status.config.zone, uuid);
    }
    let boots = matches!(status.state, State::Ready | State::Running | State::Paused | State::ShuttingDown);
    let note = if config.zone != status.config.zone {
        Some(format!("its name is {} now", config.zone))
    } else {
        let with = |limits| ZoneConfig::clone(&status.config).with_limits(limits);
        let later = boots && with(config.limits()) != config;
        let now = live && config.limits() != status.config.limits();
        match (now, later) {
            (true, true) => Some("limits are in force now, the rest when the zone is booted next".into()),
            (true, false) => Some("in force now".into()),
            (false, true) => Some("takes effect when the zone is booted next".into()),
            (false, false) => None,
        }
    };
    Ok((yaml, config, note))
}

/// The configuration that a change of a zone's part of the CPUs makes, checked as when it is made. Other keys are refused: they
/// change nothing of what zones are entitled to.
pub fn weighed(
    host: &Host,
    status: &Status,
    values: &BTreeMap<String, String>,
) -> Result<ZoneConfig, ApiError> {
    if let Some(key) = values.keys().find(|key| *key != "cpu" && !key.starts_with("cpu.")) {
        let why = format!("{key}: changes nothing of what zones are entitled to");
        return Err(ApiError::invalid(
            why,
            Some("ask about cpu.shares, cpu.cap, cpu.cpus or cpu.dedicated".into()),
        ));
    }
    let config = check(host, &ZoneConfig::set(&status.yaml, values)?)?;
    fixed(status, &config)?;
    limits::check_boot(host, status, &config)?;
    Ok(config)
}

/// Writes a configuration, once all that it claims is the zone's.
fn keep(host: &Host, uuid: Uuid, config: &ZoneConfig, yaml: &str) -> Result<(), ApiError> {
    let before = host.network.claim(uuid, config).map_err(|e| e.to_api())?;
    let kept = host.network.keep(&uuid, &host.store.folder(&uuid));
    kept.and_then(|()| host.store.save_config(&uuid, yaml)).map_err(|e| {
        host.network.put(uuid, before);
        failed(&e)
    })
}

/// Parses a configuration and checks it against the brands there are.
pub fn check(host: &Host, yaml: &str) -> Result<ZoneConfig, ApiError> {
    let config = ZoneConfig::parse(yaml)?;
    if config.zone.as_str().parse::<Uuid>().is_ok() {
        let why =
            format!("configuration: zone: {} is a UUID, by which another zone could be meant", config.zone);
        return Err(ApiError::invalid(why, Some("choose another name".into())));
    }
    against_brand(host, &config)?;
    limits::check(host, &config)?;
    Ok(config)
}

/// Whether the brand of a configuration exists, knows its privileges and leaves its `fs` in sight.
pub(super) fn against_brand(host: &Host, config: &ZoneConfig) -> Result<(), ApiError> {
    let (profile, _) = host.brands.confinement(config)?;
    plan::build::check(config, &profile)
        .map_err(|e| ApiError::invalid(format!("configuration: {}", whole(&e)), None))
}

/// What cannot be changed in the zone's state.
fn fixed(status: &Status, config: &ZoneConfig) -> Result<(), ApiError> {
    if status.state == State::Configured {
        return Ok(());
    }
    let keys = [
        // At rest nothing but the configuration knows the name.
        ("zone", config.zone != status.config.zone && status.state != State::Installed),
        ("brand", config.brand != status.config.brand),
        ("root", config.root != status.config.root && !grows(&status.config.root, &config.root)),
    ];
    let smaller = config.root.quota < status.config.root.quota && config.root.quota.is_some();
    let hint = match smaller {
        true => "a quota can grow, and cannot become smaller while there is data below it",
        false => "it can while the zone is configured: uninstall it first",
    };
    match keys.into_iter().find(|(_, changed)| *changed) {
        None => Ok(()),
        Some(("zone", _)) => Err(ApiError::invalid(
            format!("zone {0}: its name cannot be changed while it is {1}", status.config.zone, status.state),
            Some(format!("`zonectl halt {}` first; it keeps its root", status.config.zone)),
        )),
        Some((key, _)) => Err(ApiError::invalid(
            format!("zone {}: its {key} cannot be changed while it is {}", status.config.zone, status.state),
            Some(hint.into()),
        )),
    }
}

/// Whether all that changes of a root is that its quota becomes larger.
fn grows(before: &Root, now: &Root) -> bool {
    before.quota.is_some_and(|quota| now.quota > Some(quota))
        && Root { quota: before.quota, ..now.clone() } == *before
}
