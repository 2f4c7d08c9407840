//! Profiles as an administrator and the daemon meet them: built in, in a folder, inherited, refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{error::Error as _, fs, path::Path};

use brands::{
    Capability, InitKind, Library, ProfileError, capability,
    capability::PrivilegeError,
    filter, library,
    profile::{MountKind, Resource},
};

fn built_in(name: &str) -> brands::Profile {
    Library::built_in().unwrap().get(name).unwrap()
}

/// A library with one more profile, in a folder of its own.
fn with(name: &str, text: &str) -> (Library, Vec<ProfileError>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
    let mut library = Library::built_in().unwrap();
    let faults = library.add_folder(folder.path());
    (library, faults)
}

/// The one fault of a profile `x` that inherits native and adds this.
fn fault(rest: &str) -> String {
    let (library, faults) = with("x", &format!("name: x\nabout: test\ninherits: native\n{rest}"));
    let [fault] = faults.as_slice() else { panic!("{rest}: {faults:?}") };
    assert!(matches!(library.get("x"), Err(ProfileError::Unknown { .. })), "a broken profile is not used");
    let source = fault.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{fault}{source}")
}

#[test]
fn every_built_in_profile_is_whole_and_compiles() {
    let library = Library::built_in().unwrap();
    let names: Vec<_> = library.list().map(|(name, about)| (name.to_owned(), about.is_empty())).collect();
    assert_eq!(names, [("debian".to_owned(), false), ("native".to_owned(), false)]);
    for (name, _) in names {
        let profile = library.get(&name).unwrap();
        let caps = capability::resolve(&profile, &["default".to_owned()]).unwrap();
        let program = filter::compile(&profile, caps).unwrap();
        assert!(program.len().is_multiple_of(8) && program.len() / 8 <= filter::MAX_INSTRUCTIONS);
    }
}

#[test]
fn debian_is_native_with_systemds_ways() {
    let (native, debian) = (built_in("native"), built_in("debian"));
    assert_eq!(debian.lineage, ["native"]);
    assert_eq!((&debian.mounts, &debian.syscalls), (&native.mounts, &native.syscalls));
    assert_eq!(debian.stop.signal_for(InitKind::Systemd).unwrap().number(), 37);
    assert_eq!(debian.stop.signal_for(InitKind::Openrc).unwrap().number(), 2, "that of an unknown init");
    assert_eq!(native.stop.signal_for(InitKind::Builtin).unwrap().number(), 15);
    assert_eq!(native.rlimits[&Resource::Nofile].soft.value(), 1024);
    assert_eq!(native.rlimits[&Resource::Stack].hard.value(), u64::MAX);
    assert!(native.mounts.iter().all(|m| m.kind != MountKind::Proc || m.target == "/proc"));
}

#[test]
fn an_heir_replaces_adds_and_allows() {
    let (library, faults) = with(
        "mine",
        "name: mine
about: test
inherits: debian
env: { TERM: { value: xterm, why: t }, EXTRA: { value: '1', why: t } }
mounts:
  - { target: /tmp, kind: tmpfs, options: { size: 1m }, why: t }
  - { target: /scratch, kind: tmpfs, why: t }
links: [{ path: /scratch/x, target: /etc, why: t }]
capabilities: { prohibited: [{ names: [net_raw], why: no packets }] }
syscalls: { allow: [{ names: [io_uring_setup, io_uring_enter], why: t }] }
",
    );
    assert!(faults.is_empty(), "{faults:?}");
    let (mine, debian) = (library.get("mine").unwrap(), built_in("debian"));
    assert_eq!(mine.lineage, ["debian", "native"]);
    assert_eq!((mine.env["TERM"].value.as_str(), mine.env.len()), ("xterm", debian.env.len() + 1));
    let targets = |p: &brands::Profile| p.mounts.iter().map(|m| m.target.clone()).collect::<Vec<_>>();
    assert_eq!(targets(&mine)[..debian.mounts.len()], targets(&debian), "in the ancestor's order");
    let tmp = mine.mounts.iter().find(|m| m.target == "/tmp").unwrap();
    assert_eq!(tmp.options["size"], "1m");
    let net_raw: Capability = "net_raw".parse().unwrap();
    assert!(debian.capabilities.default_set().contains(net_raw));
    assert!(!mine.capabilities.default_set().contains(net_raw));
    let refused =
        |p: &brands::Profile, call: &str| p.syscalls.deny.iter().any(|r| r.names.iter().any(|n| n == call));
    assert!(refused(&debian, "io_uring_setup") && !refused(&mine, "io_uring_setup"));
    assert!(refused(&mine, "io_uring_register"));
}

#[test]
fn what_cannot_be_carried_out_is_refused() {
    for (rest, said) in [
        ("colour: red", "line 4"),
        ("colour: red", "unknown field `colour`"),
        ("stop: { timeout: many }", "stop"),
        ("init: { path: sbin/init, why: t }", "init.path"),
        ("init: { path: /sbin/init, why: '' }", "have no reason"),
        ("links: [{ path: /etc/x, target: y, why: t }]", "outlive the boot"),
        ("links: [{ path: /run/../etc/x, target: y, why: t }]", "without .."),
        ("links: [{ path: /runaway, target: y, why: t }]", "outlive the boot"),
        ("masks: [{ path: /etc/x, how: hide, why: t }]", "neither below /proc nor /sys"),
        ("devices: [{ paths: [/etc/x], why: t }]", "not below /dev"),
        ("mounts: [{ target: /a, kind: tmpfs, why: t }, { target: /a, kind: proc, why: t }]", "/a"),
        ("mounts: [{ target: /, kind: tmpfs, why: t }]", "the root itself"),
        ("mounts: [{ target: /a, kind: ext4, why: t }]", "unknown variant `ext4`"),
        ("rlimits: { nofile: { soft: 2, hard: 1, why: t } }", "above the hard one"),
        ("capabilities: { default: [{ names: [net_row], why: t }] }", "net_row"),
        ("capabilities: { required: [{ names: [sys_time], why: t }] }", "both required and prohibited"),
        ("syscalls: { deny: [{ names: [opne], errno: EPERM, why: t }] }", "opne"),
        ("syscalls: { deny: [{ names: [open], errno: EWHAT, why: t }] }", "EWHAT"),
        (
            "syscalls: { deny: [{ names: [open], errno: EPERM, args: [{ index: 6, is: [1] }], why: t }] }",
            "0 to 5",
        ),
        (
            "syscalls: { deny: [{ names: [open], errno: EPERM, args: [{ index: 0 }], why: t }] }",
            "either `is` or",
        ),
        ("stop: { timeout: 1, why: t, signals: { unknown: { signal: SIGWHAT, why: t } } }", "SIGWHAT"),
        ("stop: { timeout: 1, why: t, signals: {} }", "no entry `unknown`"),
    ] {
        let text = fault(rest);
        assert!(text.contains(said), "{rest}: {text}");
    }
}

#[test]
fn files_names_and_ancestors_must_agree() {
    let one = |name: &str, text: &str| with(name, text).1.pop().unwrap();
    assert!(matches!(one("a", "name: b\nabout: t\ninherits: native"), ProfileError::Misnamed { .. }));
    assert!(matches!(one("native", "name: native\nabout: t"), ProfileError::Taken { .. }));
    assert!(matches!(one("a", "name: a\nabout: t\ninherits: lost"), ProfileError::NoParent { .. }));
    assert!(matches!(one("a", "name: a\nabout: t\ninherits: a"), ProfileError::Circle { .. }));
    assert!(matches!(one("a", "name: a\nabout: t"), ProfileError::Missing { key: "init", .. }));
    assert!(matches!(one("a", &"#".repeat(300_000)), ProfileError::TooLong { .. }));
    let mut library = Library::built_in().unwrap();
    assert!(library.add_folder(Path::new("/nonexistent/brands")).is_empty(), "no folder, no profiles");
    let Err(ProfileError::Unknown { known, .. }) = library.get("solaris8") else { panic!("solaris8") };
    assert_eq!(known, "debian, native");
}

#[test]
fn one_broken_file_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.yaml", "name: a\nabout: t\ninherits: b"),
        ("b.yaml", "name: b\nabout: t\ninherits: native"),
        ("c.yaml", "name: [c"),
        ("d.txt", "not a profile"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut library = Library::built_in().unwrap();
    let faults = library.add_folder(folder.path());
    assert!(matches!(faults.as_slice(), [ProfileError::Syntax { origin, .. }] if origin.ends_with("c.yaml")));
    assert_eq!(library.get("a").unwrap().lineage, ["b", "native"]);
    assert_eq!(library.list().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "debian", "native"]);
}

#[test]
fn limitpriv_adds_takes_away_and_says_why_not() {
    let profile = built_in("debian");
    let resolve = |entries: &[&str]| {
        capability::resolve(&profile, &entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
    };
    let default = resolve(&["default"]).unwrap();
    assert_eq!(default, profile.capabilities.default_set());
    let less = resolve(&["default", "!net_raw", "checkpoint_restore"]).unwrap();
    let names = |set: brands::CapSet| set.iter().map(Capability::name).collect::<Vec<_>>();
    assert!(!names(less).contains(&"net_raw") && names(less).contains(&"checkpoint_restore"));
    assert_eq!(default.bits() & (1 << 16), 0, "sys_module");
    assert_ne!(default.bits() & (1 << 21), 0, "sys_admin");

    let Err(PrivilegeError::Unknown { name }) = resolve(&["default", "!net_row"]) else { panic!("net_row") };
    assert_eq!(name, "net_row");
    let required = resolve(&["default", "!sys_admin"]).unwrap_err().to_string();
    assert!(required.contains("sys_admin") && required.contains("systemd mounts"), "{required}");
    assert!(matches!(resolve(&["net_raw"]), Err(PrivilegeError::Required { .. })), "without default");
    let prohibited = resolve(&["default", "sys_module"]).unwrap_err().to_string();
    assert!(prohibited.contains("reach the kernel"), "{prohibited}");
    assert!(resolve(&["default", "!sys_module"]).is_ok(), "what is not there can be taken away");
}

#[test]
fn the_schema_knows_every_key() {
    let schema = serde_yaml::to_string(&library::schema()).unwrap();
    for key in ["no-new-privs", "is-not", "checkpoint_restore", "read-only", "EAFNOSUPPORT"] {
        assert!(schema.contains(key), "{key}");
    }
}
