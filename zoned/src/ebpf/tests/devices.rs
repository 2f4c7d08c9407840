//! The device policy, tried from inside a zone's cgroup.

use zone_ebpf_abi::{Access, DeviceKind};

use super::host::{Host, Zone, go};
use crate::ebpf::{DeviceRule, EbpfError, STANDARD_DEVICES};

/// What a shell in the zone could do: one letter for each of the attempts that worked.
fn tried(zone: &Zone) -> String {
    let node = format!("/tmp/zt-ebpf-node-{}", zone.uuid);
    let script = format!(
        "(: < /dev/null) && printf n; (: > /dev/null) && printf N; (: < /dev/zero) && printf z
         (head -c1 /dev/urandom > /dev/full) || printf f; (: < /dev/kmsg) && printf k
         mknod {node} c 1 3 && printf m; rm -f {node}"
    );
    let mut shells = [zone.shell("payload", &script)];
    go(&mut shells);
    let [shell] = shells;
    String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_zone_may_use_what_it_is_allowed_and_nothing_else() {
    let Some(host) = Host::new() else { return };
    let mut kernel = host.open();
    let (zone, other) = (host.zone(), host.zone());
    kernel.assign(zone.uuid, zone.id).unwrap();
    kernel.assign(other.uuid, other.id).unwrap();
    // Writing to /dev/full fails in any case: ENOSPC when it is allowed.
    assert_eq!(tried(&zone), "f");
    let null = DeviceRule { kind: DeviceKind::Char, major: 1, minor: Some(3), access: Access::READ };
    kernel.allow_device(zone.uuid, null).unwrap();
    assert_eq!(tried(&zone), "nf");
    assert_eq!(tried(&other), "f");
    kernel.allow_device(zone.uuid, DeviceRule { access: Access::WRITE | Access::MKNOD, ..null }).unwrap();
    assert_eq!(tried(&zone), "nNfm");
    kernel.allow_device(zone.uuid, DeviceRule { minor: None, access: Access::READ, ..null }).unwrap();
    assert_eq!(tried(&zone), "nNzfkm");
    for rule in STANDARD_DEVICES {
        kernel.allow_device(other.uuid, rule).unwrap();
    }
    assert_eq!(tried(&other), "nNzf");
    // Another boot begins without any.
    let again = host.zone();
    kernel.assign(zone.uuid, again.id).unwrap();
    assert_eq!(tried(&again), "f");
    kernel.release(other.uuid).unwrap();
    assert_eq!(tried(&other), "f");
    assert!(matches!(kernel.allow_device(other.uuid, null), Err(EbpfError::NotAssigned { .. })));
}
