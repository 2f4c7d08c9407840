//! The loader of struct_ops, by a congestion control that carries a real transfer over loopback.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use aya::{Ebpf, EbpfLoader, maps::Array};

use super::super::{
    btf::Btf,
    struct_ops::{Field, Maps, Source, StructOpsError, load, made, without_programs},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/zone-congestion.o"));
const NAME: &str = "zone_test";
const BYTES: usize = 8 << 20;

fn kernel() -> Btf {
    Btf::parse(std::fs::read("/sys/kernel/btf/vmlinux").unwrap()).unwrap()
}

fn maps(kernel: &Btf, pretend: u32) -> Ebpf {
    let window = kernel.offset("tcp_sock", "snd_cwnd").unwrap();
    let mut loader = EbpfLoader::new();
    loader.override_global("SOCK_WINDOW", &window, true).override_global("HAS_NONE_SUCH", &pretend, true);
    loader.load(&without_programs(OBJECT).unwrap()).unwrap()
}

fn source<'a>(maps: &'a Maps<'a>, fields: &'a [(&'a str, Field<'a>)]) -> Source<'a> {
    Source { structure: "tcp_congestion_ops", fields, object: OBJECT, maps, optional: &[] }
}

fn root() -> bool {
    rustix::process::geteuid().is_root() && !OBJECT.is_empty()
}

/// Sends `BYTES` over loopback by that congestion control; what the receiver got.
fn transfer() -> std::io::Result<usize> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    rustix::net::sockopt::set_tcp_congestion(&sender, NAME)?;
    let receiving = thread::spawn(move || {
        let (mut buffer, mut all) = (vec![0; 1 << 16], 0);
        while let Ok(n @ 1..) = receiver.read(&mut buffer) {
            all += n;
        }
        all
    });
    sender.write_all(&vec![7; BYTES])?;
    drop(sender);
    Ok(receiving.join().unwrap())
}

#[test]
fn a_registered_congestion_control_carries_a_transfer_until_it_is_let_go() {
    if !root() {
        return;
    }
    let kernel = kernel();
    let maps = maps(&kernel, 0);
    let fields = [("name", Field::Text(NAME))];
    let by_name = made(&maps);
    let loaded = load(&source(&by_name, &fields), &kernel).unwrap();
    assert!(transfer().is_err(), "it is not registered yet");
    let link = loaded.register().unwrap();
    assert_eq!(transfer().unwrap(), BYTES);
    let calls: Array<_, u64> = Array::try_from(maps.map("congestion").unwrap()).unwrap();
    let acknowledged = calls.get(&1, 0).unwrap();
    assert!(acknowledged > 10, "the program was called {acknowledged} times");
    drop(link);
    assert!(transfer().is_err(), "nobody holds it any more");
}

#[test]
fn a_function_that_the_kernel_lacks_is_named_where_it_would_be_reached() {
    if !root() {
        return;
    }
    let kernel = kernel();
    let maps = maps(&kernel, 1);
    let fields = [("name", Field::Text(NAME))];
    let by_name = made(&maps);
    let error = load(&source(&by_name, &fields), &kernel).unwrap_err();
    assert!(matches!(error, StructOpsError::Program { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("no zone_no_such_function") && text.contains("2002000000"), "{text}");
}

#[test]
fn what_does_not_fit_is_refused_before_the_kernel_is_asked() {
    if !root() {
        return;
    }
    let kernel = kernel();
    let maps = maps(&kernel, 0);
    let by_name = made(&maps);
    let refused = |source: &Source<'_>| load(source, &kernel).unwrap_err().to_string();
    let (long, misnamed) = ([("name", Field::Text("sixteen_letters_"))], [("nome", Field::Number(1))]);
    assert!(refused(&source(&by_name, &long)).contains("tcp_congestion_ops.name"));
    assert!(refused(&source(&by_name, &misnamed)).contains("has no field nome"));
    let unknown = Source { structure: "zone_ops", ..source(&by_name, &[]) };
    assert!(refused(&unknown).contains("no struct zone_ops"));
    assert!(refused(&source(&Maps::new(), &[])).contains("uses map"));
}
