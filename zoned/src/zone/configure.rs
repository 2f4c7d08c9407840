//! Changing a zone's configuration.
//!
//! The whole of it is checked before anything is written. What a running zone was booted with stays: a change
//! takes effect with the next boot.

use uuid::Uuid;
use zoned_api::{ApiError, State, ZoneConfig};

use super::{request::What, status::Status};
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
    if let Err(e) = keep(host, uuid, &config, &yaml) {
        if config.zone != status.config.zone {
            host.names.release(&config.zone, uuid);
        }
        return Err(e);
    }
    if config.zone != status.config.zone {
        host.names.release(&status.config.zone, uuid);
    }
    let boots = matches!(status.state, State::Ready | State::Running | State::Paused | State::ShuttingDown);
    let note = if config.zone != status.config.zone {
        Some(format!("its name is {} now", config.zone))
    } else {
        (boots && config != *status.config).then(|| "takes effect when the zone is booted next".into())
    };
    Ok((yaml, config, note))
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
        ("root", config.root != status.config.root),
    ];
    match keys.into_iter().find(|(_, changed)| *changed) {
        None => Ok(()),
        Some((key, _)) => Err(ApiError::invalid(
            format!("zone {}: {key} cannot be changed while it is {}", status.config.zone, status.state),
            Some("it can while the zone is configured: uninstall it first".into()),
        )),
    }
}
