//! Puts the eBPF programs where the daemon embeds them from: the object that `cargo xtask ebpf` built, or an empty
//! stub, with which everything compiles and the daemon says at its start what is missing.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?;
    let built = Path::new(&manifest).join("../target/ebpf");
    let object = built.join("zone-ebpf.o");
    let bytes = match fs::read(&object) {
        Ok(bytes) => {
            println!("cargo::rerun-if-changed={}", object.display());
            bytes
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // A file that does not exist counts as changed every time; the folder that it will appear in does not.
            fs::create_dir_all(&built)?;
            println!("cargo::rerun-if-changed={}", built.display());
            Vec::new()
        }
        Err(e) => return Err(e),
    };
    println!("cargo::rerun-if-changed=build.rs");
    fs::write(Path::new(&out).join("zone-ebpf.o"), bytes)
}
