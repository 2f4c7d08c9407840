//! Which devices a zone may use: what no rule allows is denied.
//!
//! Attached to the folder of all zones' cgroups, so that nothing below it is without a policy: a cgroup that is not
//! (or no longer) a zone's has no rule and may use no device. A zone's root cannot attach or detach device programs
//! (that takes CAP_BPF of the host), and all programs up the tree have to agree.

use aya_ebpf::{
    btf_maps::HashMap,
    macros::{btf_map, cgroup_device},
    programs::DeviceContext,
};
use zone_ebpf_abi::{DeviceKey, MAX_DEVICE_RULES};

use crate::identity;

#[btf_map(name = "zone_devices")]
static DEVICES: HashMap<DeviceKey, u32, { MAX_DEVICE_RULES as usize }> = HashMap::new();

const ALLOW: i32 = 1;
const DENY: i32 = 0;

#[cgroup_device]
pub(crate) fn zone_device(ctx: DeviceContext) -> i32 {
    // SAFETY: the kernel's context is valid while the program runs.
    let (access_type, major, minor) =
        unsafe { ((*ctx.device).access_type, (*ctx.device).major, (*ctx.device).minor) };
    let (kind, wanted) = (access_type & 0xffff, access_type >> 16);
    let zone = identity::current();
    let mut key = DeviceKey { slot: zone.slot, generation: zone.generation, kind, major, minor };
    let mut allowed = rule(&key);
    key.minor = DeviceKey::ANY_MINOR;
    allowed |= rule(&key);
    if wanted & !allowed == 0 { ALLOW } else { DENY }
}

#[inline(always)]
fn rule(key: &DeviceKey) -> u32 {
    // SAFETY: a number, copied out at once.
    unsafe { DEVICES.get(key) }.copied().unwrap_or(0)
}
