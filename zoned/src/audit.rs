//! Everything of ours in the kernel and on disk that belongs to no living zone.
//!
//! Looks at the objects themselves and not at what anybody remembers: folders in every cgroup hierarchy, run
//! folders, mounts, monitors, slots and pins, datasets and layers, ranges of ids. Changes nothing. What is under
//! way while it looks may show up: whoever must have an empty list looks when nothing is.

use std::{collections::BTreeSet, fs, path::Path};

use uuid::Uuid;
use zoned_api::report::Leftover;

use crate::{host::Host, mountinfo, platform::volume, zone::zones::Zones};

/// What there is of zones.
struct Living {
    /// Every zone.
    zones: BTreeSet<Uuid>,
    /// Tags of the boots that run.
    boots: BTreeSet<String>,
    /// Zones that have a boot, under way or running.
    running: BTreeSet<Uuid>,
    /// Their monitors.
    monitors: BTreeSet<u32>,
}

impl Living {
    fn of(zones: &Zones) -> Self {
        let all = zones.all();
        // One with an operation under way has objects before it shows a boot.
        let busy = || all.iter().filter(|z| z.run.is_some() || z.doing.is_some());
        Self {
            zones: all.iter().map(|z| z.uuid()).collect(),
            boots: busy().map(|z| z.identity().tag()).collect(),
            running: busy().map(|z| z.uuid()).collect(),
            monitors: busy().filter_map(|z| z.run.as_ref()).map(|run| run.tether.pid).collect(),
        }
    }
}

/// What is left.
pub fn audit(zones: &Zones) -> Vec<Leftover> {
    let (host, living) = (&zones.host, Living::of(zones));
    let mut found = Vec::new();
    cgroups(host, &living, &mut found);
    run_folders(host, &living, &mut found);
    mounts(host, &living, &mut found);
    monitors(host, &living, &mut found);
    ids(host, &living, &mut found);
    found.extend(host.metering.leftovers(&living.running));
    images(host, &living, &mut found);
    volumes(host, &living, &mut found);
    found.extend(host.network.leftovers(&living.zones, &living.boots));
    found
}

/// Loop devices that show the volume of a zone that does not run. They go with the mount of its last boot.
fn volumes(host: &Host, living: &Living, found: &mut Vec<Leftover>) {
    let Ok(state) = fs::canonicalize(&host.state_dir) else { return };
    for (device, file) in volume::devices() {
        let named = file.parent().and_then(|folder| folder.file_name()).and_then(|name| name.to_str());
        let runs =
            named.and_then(|name| name.parse().ok()).is_some_and(|uuid: Uuid| living.running.contains(&uuid));
        if file.starts_with(&state) && !runs {
            found.push(leftover(
                "loop device",
                format!("{device} ({})", file.display()),
                named.and_then(uuid_of),
            ));
        }
    }
}

fn leftover(kind: &str, object: impl Into<String>, uuid: Option<&str>) -> Leftover {
    Leftover { kind: kind.into(), object: object.into(), uuid: uuid.map(str::to_owned) }
}

/// The UUID in a tag.
fn uuid_of(tag: &str) -> Option<&str> {
    tag.split('.').next().filter(|text| text.parse::<Uuid>().is_ok())
}

fn cgroups(host: &Host, living: &Living, found: &mut Vec<Leftover>) {
    for (path, tag) in host.tree.existing() {
        if living.boots.contains(&tag) {
            continue;
        }
        found.push(leftover("cgroup", path.display().to_string(), uuid_of(&tag)));
        let processes = host.tree.processes(&path);
        if !processes.is_empty() {
            found.push(leftover("process", processes, uuid_of(&tag)));
        }
    }
    let kept = host.tree.unclaimed_cpus().map(|cpus| leftover("dedicated CPUs", cpus.to_string(), None));
    found.extend(kept);
}

fn run_folders(host: &Host, living: &Living, found: &mut Vec<Leftover>) {
    for entry in fs::read_dir(host.run_dir.join("zones")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.parse().is_ok_and(|uuid: Uuid| living.running.contains(&uuid)) {
            found.push(leftover("folder", entry.path().display().to_string(), uuid_of(&name)));
        }
    }
}

/// In this mount namespace there is nothing of any zone: its mounts are made in namespaces of their own.
fn mounts(host: &Host, living: &Living, found: &mut Vec<Leftover>) {
    let ours = [host.run_dir.join("zones"), host.state_dir.clone()];
    for mount in mountinfo::mounts().unwrap_or_default() {
        let named = mount.source.split('/').find_map(uuid_of);
        // A state or run folder may itself be a mount of the administrator's.
        let inside = ours.iter().any(|folder| mount.target != *folder && mount.target.starts_with(folder));
        if inside || named.and_then(|n| n.parse().ok()).is_some_and(|uuid: Uuid| living.zones.contains(&uuid))
        {
            found.push(leftover("mount", format!("{} ({})", mount.target.display(), mount.fstype), named));
        }
    }
}

/// Monitors working in our run folder, told by the command line they show.
fn monitors(host: &Host, living: &Living, found: &mut Vec<Leftover>) {
    let zones = host.run_dir.join("zones");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|b| *b == 0).map(String::from_utf8_lossy);
        let is_monitor = words.next().is_some_and(|word| Path::new(&*word) == host.monitors.program());
        let Some(folder) = words.next().filter(|_| is_monitor) else { continue };
        if Path::new(&*folder).starts_with(&zones) && !living.monitors.contains(&pid) {
            let name =
                Path::new(&*folder).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            // Between its start and its first word a monitor is of a zone that is being booted.
            if !name.parse().is_ok_and(|uuid: Uuid| living.running.contains(&uuid)) {
                found.push(leftover("process", format!("{pid} (zone-monitor)"), uuid_of(&name)));
            }
        }
    }
}

fn ids(host: &Host, living: &Living, found: &mut Vec<Leftover>) {
    for (base, owner) in host.store.ids.given().unwrap_or_default() {
        let kept = owner.parse().is_ok_and(|uuid: Uuid| {
            // A zone that cannot be read keeps its ids.
            living.zones.contains(&uuid) || host.store.folder(&uuid).exists()
        });
        if !kept {
            found.push(leftover("ids", format!("{base}-{}", base + crate::plan::IDS - 1), uuid_of(&owner)));
        }
    }
}

fn images(host: &Host, living: &Living, found: &mut Vec<Leftover>) {
    let mut zones: Vec<Uuid> = living.zones.iter().copied().collect();
    // One that cannot be read keeps its data.
    let given = host.store.ids.given().unwrap_or_default();
    zones.extend(given.iter().filter_map(|(_, owner)| owner.parse::<Uuid>().ok()));
    found.extend(host.images.leftovers(&zones));
}
