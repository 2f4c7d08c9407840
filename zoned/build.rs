//! Puts the eBPF programs where the daemon embeds them from: the objects that `cargo xtask ebpf` built, or empty stubs,
//! with which everything compiles and the daemon says at its start what is missing.

use std::{env, fs, io, path::Path};

const OBJECTS: [&str; 3] = ["zone-ebpf.o", "zone-fss.o", "zone-congestion.o"];

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?;
    let built = Path::new(&manifest).join("../target/ebpf");
    println!("cargo::rerun-if-changed=build.rs");
    for name in OBJECTS {
        fs::write(Path::new(&out).join(name), object(&built, name)?)?;
    }
    Ok(())
}

fn object(built: &Path, name: &str) -> io::Result<Vec<u8>> {
    let object = built.join(name);
    match fs::read(&object) {
        Ok(bytes) => {
            println!("cargo::rerun-if-changed={}", object.display());
            Ok(bytes)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // A file that does not exist counts as changed every time; the folder that it will appear in does not.
            fs::create_dir_all(built)?;
            println!("cargo::rerun-if-changed={}", built.display());
            Ok(Vec::new())
        }
        Err(e) => Err(e),
    }
}
