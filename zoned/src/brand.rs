//! The brands of this host, and what bounds the zones of each.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use brands::{Library, Profile, ProfileError, capability::resolve, filter};
use zoned_api::{ApiError, ZoneConfig};

use crate::{
    fault::{failed, whole},
    plan::build::Confinement,
};

/// Results kept; more than that many combinations of brand and privileges are made anew.
const KEPT: usize = 64;

/// The brands there are.
#[derive(Debug)]
pub struct Brands {
    library: Library,
    /// By brand and `limitpriv`: compiling a filter takes longer than a boot should.
    made: Mutex<HashMap<(String, Vec<String>), Made>>,
}

type Made = (Arc<Profile>, Confinement);

impl Brands {
    /// Those built in and those in a folder. A file that cannot be used is told and left out.
    pub fn load(folder: &Path) -> Result<Self, ProfileError> {
        let mut library = Library::built_in()?;
        for fault in library.add_folder(folder) {
            tracing::error!("{}", whole(&fault));
        }
        Ok(Self { library, made: Mutex::default() })
    }

    /// The brand of a configuration, and what bounds its zone. Errors say what in the configuration is wrong.
    pub fn confinement(&self, config: &ZoneConfig) -> Result<Made, ApiError> {
        let key = (config.brand.clone(), config.limitpriv.clone());
        let mut kept = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = kept.get(&key) {
            return Ok(made.clone());
        }
        let wrong = |e: &(dyn std::error::Error + 'static)| {
            ApiError::invalid(format!("configuration: {}", whole(e)), None)
        };
        let profile = self.library.get(&config.brand).map_err(|e| wrong(&e))?;
        let capabilities = resolve(&profile, &config.limitpriv).map_err(|e| wrong(&e))?;
        let filter = filter::compile(&profile, capabilities).map_err(|e| failed(&e))?;
        let made = (Arc::new(profile), Confinement { capabilities, filter });
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, made.clone());
        Ok(made)
    }

    /// Seconds the init of a zone of this configuration may take to stop, by its brand.
    pub fn stop_seconds(&self, config: &ZoneConfig) -> Result<u32, ApiError> {
        Ok(self.confinement(config)?.0.stop.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_held_against_the_brands_there_are() {
        let brands = Brands::load(Path::new("/nowhere")).unwrap();
        let ask = |yaml: &str| brands.confinement(&ZoneConfig::parse(yaml).unwrap());
        assert!(!ask("zone: a").unwrap().1.filter.is_empty());
        let stop = |yaml: &str| brands.stop_seconds(&ZoneConfig::parse(yaml).unwrap()).unwrap();
        assert!(stop("zone: a\nbrand: debian") > stop("zone: a"), "each brand has its own");
        for wrong in [
            "zone: a\nbrand: nope",
            "zone: a\nlimitpriv: [default, sys_module]",
            "zone: a\nlimitpriv: [no_such]",
        ] {
            assert!(matches!(ask(wrong), Err(ApiError::Invalid(_))), "{wrong}");
        }
    }
}
