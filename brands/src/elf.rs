//! What an ELF file wants of the machine that runs it.
//!
//! Reads header, program headers, notes and the loader's table, each with a bound, and looks through the code of an x86-64
//! file once: the file comes from a root nobody has vouched for. Never panics, whatever the file holds.

mod dynamic;
mod go;
mod image;
mod machine;
mod note;
mod search;
#[cfg(test)]
pub(crate) mod specimen;
#[cfg(test)]
mod tests;
mod values;
mod vsyscall;

use std::io;

use goblin::elf::{
    header::{
        EI_OSABI, ELFOSABI_FREEBSD, ELFOSABI_NETBSD, ELFOSABI_OPENBSD, ELFOSABI_SOLARIS, ET_EXEC, Header,
    },
    program_header::{PF_X, PT_GNU_STACK, PT_INTERP},
};
use memchr::memmem;
use serde::Serialize;

use self::{dynamic::Wanted, image::Image};

pub use image::Source;
pub use machine::Machine;
pub use values::{Level, Release, System};
pub use vsyscall::{Form, Function, Site};

/// Longest name of an interpreter the kernel takes, with its NUL (`PATH_MAX`).
const MAX_INTERPRETER: u64 = 4096;
/// Where UPX leaves its mark: behind the headers, or in the last bytes of what it packed.
const PACKER: u64 = 4096;

/// What an ELF file wants of the machine that runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Program {
    /// Kind of machine.
    pub machine: Machine,
    /// Its loader (`PT_INTERP`) as written in the file, not escaped; none if it is linked statically.
    pub interpreter: Option<String>,
}

/// All that is told of a file without running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// Machine and loader.
    #[serde(flatten)]
    pub program: Program,
    /// The system it is built for.
    pub system: System,
    /// How it comes into memory.
    pub link: Link,
    /// The oldest kernel it runs on, as its note says.
    pub oldest_kernel: Option<Release>,
    /// The newest version of glibc's symbols it wants.
    pub glibc: Option<Release>,
    /// Its own name as a library.
    pub name: Option<String>,
    /// The libraries it wants, as written in the file.
    pub libraries: Vec<String>,
    /// Whether its stack is to be executable.
    pub stack: Stack,
    /// The least level of an x86-64 processor it says it wants.
    pub level: Option<Level>,
    /// The Go that made it, `go1.15.2`, or what its tables say: `go1.15 or older`.
    pub go: Option<String>,
    /// Whether it is packed (UPX): what is in it cannot be seen.
    pub packed: bool,
    /// Where it calls the vsyscall page.
    pub vsyscalls: Vec<Site>,
}

/// How a file comes into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// A program that a loader links.
    Dynamic,
    /// A program that needs none.
    Static,
    /// A library, or a loader.
    Library,
}

/// What `PT_GNU_STACK` says of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// It is not to be executable.
    Plain,
    /// It is to be.
    Executable,
    /// Nothing, so that of a 32-bit x86 program all readable memory is executable (`READ_IMPLIES_EXEC`).
    Unsaid,
}

/// Why a file is no ELF program.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It does not begin like one.
    #[error("it is no ELF file")]
    NotElf,
    /// It is one that is neither started nor loaded: an object file, a module of the kernel's, a memory dump.
    #[error("its ELF type is not that of a program")]
    NotLoadable,
    /// It begins like one, and then is not.
    #[error("its ELF {0}")]
    Malformed(&'static str),
}

/// Reads what a program wants of its machine. Only what can be started is a program, not an object file.
pub fn read<S: Source + ?Sized>(file: &S) -> Result<Program, ElfError> {
    program(&Image::open(file)?)
}

/// Reads all that can be told of a program or a library. Of what is damaged beyond the program headers nothing is told.
pub fn inspect<S: Source + ?Sized>(file: &S) -> Result<Facts, ElfError> {
    let image = Image::open(file)?;
    let program = program(&image)?;
    let notes = note::read(&image);
    let wanted = dynamic::read(&image).unwrap_or_default();
    let link = link(&image.header, &program, &wanted);
    let go = go::version(&image).or_else(|| {
        // Without any note it is no work of a C compiler.
        let unsaid = notes.go || link == Link::Static && notes.tag.is_none();
        unsaid.then(|| go::by_table(&image)).flatten()
    });
    let system = match notes.tag {
        Some((system, _)) if system != System::Linux => system,
        _ if notes.android || program.interpreter.as_deref().is_some_and(is_androids) => System::Android,
        _ => system(&image.header),
    };
    Ok(Facts {
        system,
        link,
        oldest_kernel: notes.tag.map(|(_, release)| release),
        glibc: wanted.glibc,
        stack: stack(&image),
        level: notes.level,
        packed: is_packed(&image),
        vsyscalls: vsyscall::sites(&image, go.is_some()),
        name: wanted.name,
        libraries: wanted.libraries,
        go,
        program,
    })
}

fn program<S: Source + ?Sized>(image: &Image<'_, S>) -> Result<Program, ElfError> {
    Ok(Program { machine: image.machine(), interpreter: interpreter(image)? })
}

fn interpreter<S: Source + ?Sized>(image: &Image<'_, S>) -> Result<Option<String>, ElfError> {
    let Some(place) = image.of_kind(PT_INTERP).next() else { return Ok(None) };
    if !(2..=MAX_INTERPRETER).contains(&place.p_filesz) {
        return Err(ElfError::Malformed("interpreter has an impossible length"));
    }
    let name = image.bytes(place.p_offset, place.p_filesz)?;
    match name.split_last() {
        Some((0, name)) if name.len() as u64 + 1 == place.p_filesz && !name.contains(&0) => {
            let name =
                std::str::from_utf8(name).map_err(|_| ElfError::Malformed("interpreter is no text"))?;
            Ok(Some(name.to_owned()))
        }
        _ => Err(ElfError::Malformed("interpreter is cut off")),
    }
}

fn is_androids(interpreter: &str) -> bool {
    interpreter.starts_with("/system/bin/linker")
}

/// The system that the header names; those of Linux seldom name it.
fn system(header: &Header) -> System {
    match header.e_ident[EI_OSABI] {
        0 | 3 => System::Linux,
        ELFOSABI_FREEBSD => System::FreeBsd,
        ELFOSABI_NETBSD => System::NetBsd,
        ELFOSABI_OPENBSD => System::OpenBsd,
        ELFOSABI_SOLARIS => System::Solaris,
        _ => System::Other,
    }
}

fn link(header: &Header, program: &Program, wanted: &Wanted) -> Link {
    match (&program.interpreter, header.e_type) {
        (Some(_), _) if wanted.name.is_none() || header.e_type == ET_EXEC || wanted.pie => Link::Dynamic,
        (None, ET_EXEC) => Link::Static,
        (None, _) if wanted.pie || !wanted.dynamic => Link::Static,
        // glibc's own are libraries with a loader, to say their version when they are started.
        _ => Link::Library,
    }
}

fn stack<S: Source + ?Sized>(image: &Image<'_, S>) -> Stack {
    match image.of_kind(PT_GNU_STACK).next() {
        None => Stack::Unsaid,
        Some(segment) if segment.p_flags & PF_X != 0 => Stack::Executable,
        Some(_) => Stack::Plain,
    }
}

/// UPX leaves no section, and its mark.
fn is_packed<S: Source + ?Sized>(image: &Image<'_, S>) -> bool {
    image.header.e_shnum == 0
        && image.bytes(0, PACKER).is_ok_and(|start| memmem::find(&start, b"UPX!").is_some())
}
