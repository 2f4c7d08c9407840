//! Which CPUs share a last level cache (Documentation/ABI/testing/sysfs-devices-system-cpu, `cache/index*`).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use zoned_api::config::CpuSet;

const CPUS: &str = "/sys/devices/system/cpu";

/// Which CPUs are online, in the kernel's words.
pub(super) fn online() -> Option<String> {
    fs::read_to_string(Path::new(CPUS).join("online")).ok()
}

/// CPU → the least of those it shares its last level cache with. One that is offline, or of which the kernel tells of no
/// cache, is left out.
pub(super) fn last_level() -> BTreeMap<u32, u32> {
    beside(Path::new(CPUS))
}

fn beside(cpus: &Path) -> BTreeMap<u32, u32> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("cpu")?.parse::<u32>().ok();
    entries(cpus).iter().filter_map(|cpu| Some((number(cpu)?, first_beside(&cpu.join("cache"))?))).collect()
}

/// The least of the CPUs at the last of these caches.
fn first_beside(caches: &Path) -> Option<u32> {
    let level = |cache: &PathBuf| fs::read_to_string(cache.join("level")).ok()?.trim().parse::<u32>().ok();
    let all = entries(caches);
    let (_, last) = all.iter().filter_map(|cache| Some((level(cache)?, cache))).max()?;
    let shared = fs::read_to_string(last.join("shared_cpu_list")).ok()?;
    CpuSet::parse(shared.trim()).ok()?.numbers().first().copied()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_level_counts_and_who_is_offline_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let cache = |cpu: u32, index: u32, level: &str, shared: &str| {
            let cache = folder.path().join(format!("cpu{cpu}/cache/index{index}"));
            fs::create_dir_all(&cache).unwrap();
            fs::write(cache.join("level"), format!("{level}\n")).unwrap();
            fs::write(cache.join("shared_cpu_list"), format!("{shared}\n")).unwrap();
        };
        for (cpu, beside) in [(0, "0-1"), (1, "0-1"), (2, "2-3,6"), (3, "2-3,6")] {
            cache(cpu, 3, "3", beside);
            cache(cpu, 0, "1", &cpu.to_string());
        }
        fs::create_dir_all(folder.path().join("cpu6")).unwrap();
        fs::create_dir_all(folder.path().join("cpufreq")).unwrap();
        assert_eq!(beside(folder.path()), [(0, 0), (1, 0), (2, 2), (3, 2)].into());
    }

    #[test]
    fn this_hosts_are_its_own() {
        let all = last_level();
        assert!(all.iter().all(|(cpu, first)| first <= cpu), "{all:?}");
    }
}
