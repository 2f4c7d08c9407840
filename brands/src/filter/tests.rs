//! The program is read by an interpreter of the instructions it uses, over every number there is a word about.

use super::{
    bpf::{ALLOW, AND, AT_LEAST, EQUAL, JUMP, LOAD, REFUSE, RETURN},
    *,
};
use crate::{
    Library, capability,
    profile::{ArgRule, Errno, SyscallRule},
};

const EVERY: [Arch; 4] = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm];

/// What the program says to a call; also the number of instructions it took.
fn run(program: &[u8], arch: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend([0; 8]);
    args.iter().for_each(|arg| data.extend(arg.to_ne_bytes()));
    let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
    let (mut at, mut a, mut steps) = (0, 0u32, 0);
    loop {
        let i = &program[at * 8..at * 8 + 8];
        let (code, jt, jf, k) =
            (u16::from_ne_bytes([i[0], i[1]]), usize::from(i[2]), usize::from(i[3]), word(&i[4..]));
        at += 1;
        steps += 1;
        match code {
            LOAD => a = word(&data[k as usize..k as usize + 4]),
            AND => a &= k,
            JUMP => at += k as usize,
            EQUAL => at += if a == k { jt } else { jf },
            AT_LEAST => at += if a >= k { jt } else { jf },
            RETURN => return (k, steps),
            _ => panic!("instruction {code:#x}"),
        }
    }
}

fn errno(errno: Errno) -> u32 {
    REFUSE | u32::from(errno.number())
}

pub(super) fn native() -> Profile {
    Library::built_in().unwrap().get("native").unwrap()
}

pub(super) fn default_caps(profile: &Profile) -> CapSet {
    capability::resolve(profile, &["default".to_owned()]).unwrap()
}

fn program(profile: &Profile) -> Vec<u8> {
    compile_for(profile, default_caps(profile), &EVERY).unwrap()
}

/// A call of the default filter on one architecture.
fn ask(arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let number = syscall::number(name, arch).unwrap_or_else(|| panic!("{arch:?} has no {name}"));
    run(&program(&native()), arch.audit(), number, args).0
}

#[test]
fn every_number_is_answered_as_the_table_and_the_rules_say() {
    let profile = native();
    let program = program(&profile);
    for arch in EVERY {
        let known = syscall::all(arch);
        let rules = |name: &str| profile.syscalls.deny.iter().find(|r| r.names.iter().any(|n| n == name));
        for number in (0..0x1100).chain(0xf_0000..0xf_0010) {
            let expected = match known.get(&number).map(|name| rules(name)) {
                None => errno(Errno::Enosys),
                Some(Some(rule)) if rule.args.is_empty() => errno(rule.errno),
                // With an argument no rule names.
                Some(_) => ALLOW,
            };
            // userfaultfd is the one that is refused for a bit that is missing.
            let args = if known.get(&number) == Some(&"userfaultfd") {
                [1; 6]
            } else {
                harmless(known.get(&number))
            };
            let said = run(&program, arch.audit(), number, args).0;
            assert_eq!(said, expected, "{arch:?} {number} {:?}", known.get(&number));
        }
    }
}

/// Arguments that no rule is about: an Internet socket, plain Linux, and so on.
fn harmless(name: Option<&&str>) -> [u64; 6] {
    match name.copied() {
        Some("socket" | "socketpair" | "socketcall") => [2; 6],
        _ => [0; 6],
    }
}

#[test]
fn foreign_conventions_are_enosys() {
    let profile = native();
    let x86_64 = Arch::X86_64.audit();
    let alone = compile_for(&profile, default_caps(&profile), &[Arch::X86_64]).unwrap();
    for arch in [Arch::X86.audit(), Arch::Aarch64.audit(), 0, u32::MAX, 0x8000_0015] {
        assert_eq!(run(&alone, arch, 39, [0; 6]).0, errno(Errno::Enosys), "{arch:#x}");
    }
    // x32: its own numbers from 512, and bit 30.
    for number in [0x4000_0000, 0x4000_0027, 0x4000_0200, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe] {
        assert_eq!(run(&alone, x86_64, number, [0; 6]).0, errno(Errno::Enosys), "{number:#x}");
    }
    assert_eq!(run(&alone, x86_64, 39, [0; 6]).0, ALLOW);
    assert_eq!(run(&alone, x86_64, u32::MAX, [0; 6]).0, ALLOW, "a tracer's skip");
}

#[test]
fn conditions_look_at_32_bits() {
    const GARBAGE: u64 = 0xdead_beef_0000_0000;
    for arch in [Arch::X86_64, Arch::X86, Arch::Aarch64] {
        for high in [0, GARBAGE, 1 << 63] {
            let second = |value: u64| [7, high | value, 0, 0, 0, 0];
            for request in [0x5412, 0x541C, 0x5423] {
                assert_eq!(ask(arch, "ioctl", second(request)), errno(Errno::Eperm), "{arch:?} {request:#x}");
            }
            assert_eq!(ask(arch, "ioctl", second(0x5413)), ALLOW);
            let first = |value: u64| [high | value, 1, 0, 0, 0, 0];
            for (family, said) in [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW), (17, ALLOW)] {
                assert_eq!(ask(arch, "socket", first(family)), said, "{arch:?} family {family}");
            }
            for family in [3, 15, 31, 38, 40, 44, 0xffff] {
                assert_eq!(
                    ask(arch, "socket", first(family)),
                    errno(Errno::Eafnosupport),
                    "{arch:?} {family}"
                );
            }
            for (persona, said) in [
                (0, ALLOW),
                (8, ALLOW),
                (0xffff_ffff, ALLOW),
                (0x002_0008, ALLOW),
                (0x004_0000, ALLOW),
                (0x010_0000, errno(Errno::Eperm)),
                (4, errno(Errno::Eperm)),
                (0x002_0006, errno(Errno::Eperm)),
            ] {
                assert_eq!(ask(arch, "personality", first(persona)), said, "{arch:?} {persona:#x}");
            }
        }
    }
    let audit = [16, 3, 0xff_0000_0009, 0, 0, 0];
    assert_eq!(ask(Arch::X86_64, "socket", audit), errno(Errno::Eafnosupport));
    assert_eq!(ask(Arch::X86_64, "socket", [2, 3, 9, 0, 0, 0]), ALLOW, "protocol 9 of IPv4");
    assert_eq!(ask(Arch::X86, "socketcall", [1, 0, 0, 0, 0, 0]), errno(Errno::Eafnosupport));
    assert_eq!(ask(Arch::X86, "socketcall", [3, 0, 0, 0, 0, 0]), ALLOW, "connect");
    assert_eq!(ask(Arch::X86_64, "userfaultfd", [0o4000; 6]), errno(Errno::Eperm));
    assert_eq!(ask(Arch::X86_64, "userfaultfd", [0o4001; 6]), ALLOW);
}

#[test]
fn what_a_zone_needs_is_allowed_and_what_reaches_the_host_is_not() {
    let needed = [
        "reboot",
        "mount",
        "umount2",
        "pivot_root",
        "clone3",
        "unshare",
        "setns",
        "ptrace",
        "process_vm_readv",
        "fsopen",
        "move_mount",
        "open_tree",
        "chroot",
        "sethostname",
        "prctl",
        "seccomp",
        "openat2",
        "statx",
        "faccessat2",
        "pidfd_open",
        "fanotify_init",
        "name_to_handle_at",
        "adjtimex",
        "clock_adjtime",
        "mseal",
        "futex_waitv",
        "open_tree_attr",
        "landlock_create_ruleset",
        "rseq",
        "modify_ldt",
    ];
    for name in needed {
        assert_eq!(ask(Arch::X86_64, name, [0; 6]), ALLOW, "{name}");
    }
    for name in ["kexec_load", "finit_module", "bpf", "perf_event_open", "syslog", "swapon", "clock_settime"]
    {
        for arch in EVERY {
            assert_eq!(ask(arch, name, [0; 6]), errno(Errno::Eperm), "{arch:?} {name}");
        }
    }
    assert_eq!(ask(Arch::X86, "stime", [0; 6]), errno(Errno::Eperm));
    assert_eq!(ask(Arch::X86, "clock_settime64", [0; 6]), errno(Errno::Eperm));
    assert_eq!(ask(Arch::X86_64, "io_uring_setup", [0; 6]), errno(Errno::Enosys));
}

#[test]
fn a_privilege_takes_its_rule_off() {
    let profile = native();
    let caps = capability::resolve(&profile, &["default".into(), "perfmon".into()]).unwrap();
    let program = compile_for(&profile, caps, &EVERY).unwrap();
    assert_eq!(run(&program, Arch::X86_64.audit(), 298, [0; 6]).0, ALLOW, "perf_event_open");
    assert_eq!(run(&program, Arch::X86_64.audit(), 321, [0; 6]).0, errno(Errno::Eperm), "bpf");
}

#[test]
fn the_program_is_short_and_its_tree_flat() {
    let program = program(&native());
    assert!(program.len() / 8 < 1500, "{} instructions", program.len() / 8);
    let steps = |number| run(&program, Arch::X86_64.audit(), number, [0; 6]).1;
    let deepest = syscall::all(Arch::X86_64).into_keys().map(steps).max().unwrap();
    assert!(deepest <= 24, "{deepest} steps");
}

#[test]
fn far_jumps_and_refusals_of_the_compiler() {
    let mut profile = native();
    let rule = |index| SyscallRule {
        names: vec!["ioctl".into(), "fcntl".into(), "prctl".into(), "read".into(), "close".into()],
        errno: Errno::Einval,
        args: vec![
            ArgRule { index, mask: u32::MAX, is: (0..32).map(|n| 1000 + n).collect(), is_not: vec![] };
            6
        ],
        unless: None,
        why: "test".into(),
    };
    profile.syscalls.deny = vec![rule(0), rule(5)];
    let wide = compile_for(&profile, CapSet::EMPTY, &[Arch::X86_64]).unwrap();
    for value in 999..1033 {
        let said = run(&wide, Arch::X86_64.audit(), 0, [0, 0, 0, 0, 0, value]).0;
        let hit = (1000..1032).contains(&value);
        assert_eq!(said, if hit { errno(Errno::Einval) } else { ALLOW }, "{value}");
    }
    profile.syscalls.deny = vec![rule(0); 20];
    let too_long = compile_for(&profile, CapSet::EMPTY, &EVERY);
    assert!(matches!(too_long, Err(FilterError::TooLong { instructions: 4097.., .. })), "{too_long:?}");
    let mut many = rule(0);
    many.args[0].is = (0..300).collect();
    profile.syscalls.deny = vec![many];
    assert!(matches!(compile(&profile, CapSet::EMPTY), Err(FilterError::TooManyConditions { .. })));
}
