//! Limits: what zones are entitled to, what stops them, who may change it.

mod bombs;
mod caps;
mod cgroup_mode;
mod changes;
mod cpu;
mod disks;
mod escapes;
mod global;
mod inside;
mod refused;
mod steering;
mod whatif;

use serde_json::Value;
use zone_tests::TestCtx;

/// One zone's row of `zonectl stat`.
#[track_caller]
pub(crate) fn stat(ctx: &TestCtx, zone: &str) -> Value {
    let rows = ctx.json(&["stat", zone]);
    rows["stats"][0].clone()
}

/// A limit of `zonectl info`: its value, as the kernel has it.
#[track_caller]
pub(crate) fn in_force(ctx: &TestCtx, zone: &str, key: &str) -> Option<String> {
    let info = ctx.info(zone);
    let rows = info["limits"].as_array().cloned().unwrap_or_default();
    let row = rows.into_iter().find(|row| row["key"] == key)?;
    row["limit"].as_str().map(str::to_owned)
}

/// Whether a controller is in a hierarchy of version 1 here.
pub(crate) fn is_v1(controller: &str) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has = |options: &str| options.split(',').any(|option| option == controller);
    mounts.lines().any(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        fields.get(2) == Some(&"cgroup") && fields.get(3).is_some_and(|options| has(options))
    })
}

/// A file of the zone's group where a controller is, in whichever version.
#[track_caller]
pub(crate) fn group_file(ctx: &TestCtx, zone: &str, v1: (&str, &str), v2: &str) -> std::path::PathBuf {
    let info = ctx.info(zone);
    let tag = format!("{}.{}", info["uuid"].as_str().unwrap_or_default(), info["boot"]);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mount = |is: &dyn Fn(&[&str]) -> bool| {
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let found =
            mounts.lines().map(fields).find(|f| is(&f.iter().map(String::as_str).collect::<Vec<_>>()));
        found.and_then(|fields| fields.get(1).cloned())
    };
    let has = |options: &str| options.split(',').any(|option| option == v1.0);
    let (root, file) = match mount(&|f| f.len() > 3 && f[2] == "cgroup" && has(f[3])) {
        Some(root) => (root, v1.1),
        None => (mount(&|f| f.len() > 3 && f[2] == "cgroup2").expect("a cgroup tree"), v2),
    };
    std::path::Path::new(&root).join(&ctx.cgroup).join(tag).join(file)
}
