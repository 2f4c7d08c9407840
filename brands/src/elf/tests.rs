//! Real files, made ones, and damaged ones.

use std::io::Read;

use proptest::prelude::*;

use goblin::elf::program_header::{PF_R, PF_W, PT_LOAD, PT_NOTE};

use super::{specimen::*, *};

/// This test's own program.
fn own() -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::open(std::env::current_exe().unwrap())
        .unwrap()
        .take(64 * 1024)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn parse(bytes: &[u8]) -> Result<Program, ElfError> {
    read(bytes)
}

#[test]
fn its_own_program_runs_here() {
    let program = parse(&own()).unwrap();
    assert!(program.machine.runs_here(), "{}", program.machine);
    assert!(program.interpreter.unwrap().contains("/ld-"));
}

#[test]
fn its_own_program_says_what_it_wants() {
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let facts = inspect(&file).unwrap();
    assert_eq!((facts.system, facts.link, facts.stack), (System::Linux, Link::Dynamic, Stack::Plain));
    assert!(facts.libraries.iter().any(|name| name == "libc.so.6"), "{:?}", facts.libraries);
    assert!(facts.glibc.unwrap() > Release([2, 2, 5]));
    assert!(facts.oldest_kernel.unwrap() >= Release([2, 6, 0]));
    assert!(!facts.packed && facts.go.is_none() && facts.vsyscalls.is_empty());
}

#[test]
fn calls_of_the_vsyscall_page_are_found_wherever_they_are() {
    let sites = |code: Vec<u8>| inspect(&made(&[(PT_LOAD, PF_R | PF_X, code)])[..]).unwrap().vsyscalls;
    let site = |at, function, form| Site { offset: BEGIN + at, function, form };
    let mut code = vec![0x90; 1024 * 1024];
    // The first and the last bytes, and around each place where one piece that is read ends.
    let places = [0, 500, 256 * 1024 - 9, 512 * 1024 - 4, 768 * 1024, 1024 * 1024 - 9];
    places.iter().for_each(|at| word(&mut code, *at, &CALL));
    let expected: Vec<_> = places.iter().map(|at| site(*at as u64, Function::Time, Form::Call)).collect();
    assert_eq!(sites(code), expected);
    let others = [&JUMP[..], &LOADED, &LOADED_WIDE].concat();
    let expected = [
        site(0, Function::Gettimeofday, Form::Jump),
        site(9, Function::Getcpu, Form::Other),
        site(16, Function::Time, Form::Other),
    ];
    assert_eq!(sites(others), expected);
    // A number in the code, another page, and what is cut off.
    let noise = [&POINTER[..], &[0x48, 0xc7, 0xc0, 0, 12, 0x60, 0xff, 0xff, 0xd0], &CALL[..6]].concat();
    assert_eq!(sites(noise), []);
}

proptest! {
    #[test]
    fn a_call_is_found_at_any_place(at in 0usize..300_000) {
        let mut code = vec![0xff; 300_009];
        word(&mut code, at, &CALL);
        let sites = inspect(&made(&[(PT_LOAD, PF_R | PF_X, code)])[..]).unwrap().vsyscalls;
        prop_assert_eq!(sites.len(), 1);
        prop_assert_eq!(sites[0].offset, BEGIN + at as u64);
    }
}

#[test]
fn a_pointer_to_the_page_counts_in_a_go_program() {
    let table = [0xfb, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    let program = |start: &[u8]| {
        let data = [start, &POINTER].concat();
        inspect(&made(&[(PT_LOAD, PF_R | PF_W, data)])[..]).unwrap()
    };
    let facts = program(&table);
    assert_eq!(facts.go.as_deref(), Some("go1.15 or older"));
    let pointer = Site { offset: BEGIN + 8, function: Function::Getcpu, form: Form::Pointer };
    assert_eq!(facts.vsyscalls, [pointer]);
    assert_eq!(program(&[0; 8]).vsyscalls, []);
}

#[test]
fn other_machines_and_the_dead_parts_of_a_file_call_nothing() {
    let mut arm = made(&[(PT_LOAD, PF_R | PF_X, CALL.to_vec())]);
    word(&mut arm, 18, &183u16.to_le_bytes());
    assert_eq!(inspect(&arm[..]).unwrap().vsyscalls, []);
    let data = made(&[(PT_LOAD, PF_R, CALL.to_vec())]);
    assert_eq!(inspect(&data[..]).unwrap().vsyscalls, []);
}

/// A note of GNU's.
fn note(kind: u32, content: &[u8]) -> Vec<u8> {
    let head = [4, content.len() as u32, kind].map(u32::to_le_bytes).concat();
    [&head, &b"GNU\0"[..], content].concat()
}

#[test]
fn notes_tell_the_oldest_kernel_the_system_and_the_level() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let facts = |notes: Vec<u8>| inspect(&made(&[(PT_NOTE, PF_R, notes)])[..]).unwrap();
    let linux = facts(note(1, &words(&[0, 2, 6, 9])));
    assert_eq!((linux.system, linux.oldest_kernel.unwrap().to_string()), (System::Linux, "2.6.9".to_owned()));
    assert_eq!(facts(note(1, &words(&[1, 0, 0, 0]))).system, System::Hurd);
    assert_eq!(facts(note(1, &words(&[3, 8, 1, 0]))).system, System::FreeBsd);
    // Behind another property, which is padded.
    let level = facts(note(5, &words(&[0xc000_0002, 4, 3, 0, 0xc000_8002, 4, 0b111, 0])));
    assert_eq!(level.level.unwrap().to_string(), "x86-64-v3");
    for hostile in [vec![], words(&[0xc000_0002, u32::MAX]), words(&[0xc000_8002, 0]), words(&[1])] {
        assert_eq!(facts(note(5, &hostile)).level, None);
    }
}

#[test]
fn releases_are_numbers_not_text() {
    let release = |text| Release::parse(text).map(|release| release.to_string());
    assert_eq!(release("2.17"), Some("2.17".to_owned()));
    assert_eq!(release("2.6.32-431.el6"), Some("2.6.32".to_owned()));
    assert_eq!(release("3"), Some("3.0".to_owned()));
    assert_eq!(release("PRIVATE"), None);
    assert_eq!(release("99999999999"), None);
    assert!(Release::parse("2.17") > Release::parse("2.3.4"));
}

#[test]
fn another_machine_is_named() {
    let mut bytes = own();
    word(&mut bytes, 18, &22u16.to_le_bytes());
    let program = parse(&bytes).unwrap();
    assert!(!program.machine.runs_here());
    assert_eq!(program.machine.to_string(), "64-bit S390 (machine 22)");
}

#[test]
fn what_the_kernel_would_refuse_is_refused() {
    let reason = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
    assert_eq!(reason(b"#!/bin/sh"), "it is no ELF file");
    assert_eq!(reason(b"\x7fELF\x02\x01"), "its ELF header is broken or cut off");
    let broken = |at, value: &[u8]| {
        let mut bytes = own();
        word(&mut bytes, at, value);
        reason(&bytes)
    };
    assert_eq!(broken(16, &1u16.to_le_bytes()), "its ELF type is not that of a program");
    assert_eq!(broken(56, &u16::MAX.to_le_bytes()), "its ELF program headers have an impossible size");
    assert_eq!(broken(32, &u64::MAX.to_le_bytes()), "its ELF program headers are cut off");
    assert_eq!(broken(32, &(1u64 << 40).to_le_bytes()), "its ELF program headers are cut off");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), elf in any::<bool>()) {
        let mut bytes = bytes;
        if elf && bytes.len() > 6 {
            word(&mut bytes, 0, b"\x7fELF");
            bytes[4] %= 3;
            bytes[5] %= 3;
        }
        let _ = parse(&bytes);
        let _ = inspect(&bytes[..]);
    }

    #[test]
    fn damaged_programs_never_panic(at in 0usize..16384, value in any::<[u8; 8]>(), length in 0usize..4096) {
        let mut bytes = own();
        word(&mut bytes, at, &value);
        let _ = inspect(&bytes[..]);
        let _ = inspect(&bytes[..length]);
    }
}
