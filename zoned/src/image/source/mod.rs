//! From a configured root to an archive that holds it: whatever the source, a file that nobody else changes or
//! a change of which is noticed, and its digest.

mod debian;
mod skeleton;

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use zoned_api::config::{Image, Root};

use super::{
    Cancel, Digest, ImageError, StateIo, Step,
    archive::{PackError, pack},
    digest::Summing,
};

pub(super) use debian::WORKING;

/// Bytes between two reports.
const PACE: u64 = 16 << 20;

/// An archive to unpack.
#[derive(Debug)]
pub struct Source {
    /// The archive, at its beginning.
    pub file: File,
    /// Its bytes.
    pub bytes: u64,
    /// Their digest.
    pub digest: Digest,
    /// What it is, in words.
    pub image: String,
    /// Devices and sockets of a folder that were left out.
    pub skipped: u64,
}

/// Who wants a source, and where there is room for one.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Folder for archives that are worth keeping.
    pub cache: &'a Path,
    /// Folder for nameless files.
    pub spool: &'a Path,
    /// Told of every step.
    pub progress: &'a dyn Fn(Step),
    /// Asked often.
    pub cancel: &'a Cancel,
}

/// The archive of a root.
pub fn source(root: &Root, request: &Request<'_>) -> Result<Source, ImageError> {
    match &root.image {
        None => sparse(request),
        Some(Image::Tar(path)) => tar(Path::new(path), format!("tar:{path}"), request),
        Some(Image::Dir(path)) => dir(Path::new(path), request),
        Some(Image::Debian(suite)) => {
            let path = debian::archive(suite, request)?;
            tar(&path, format!("debian:{suite}"), request)
        }
    }
}

/// An archive that is there.
fn tar(path: &Path, image: String, request: &Request<'_>) -> Result<Source, ImageError> {
    // A mere location first: to open a device or a fifo already does something to it.
    let handle = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing("open", path)?;
    let kind = rustix::fs::fstat(&handle).doing("look at", path)?.st_mode;
    match FileType::from_raw_mode(kind) {
        FileType::RegularFile => {}
        other => return Err(ImageError::NotAFile { path: path.to_owned(), found: word(other) }),
    }
    let file = File::open(format!("/proc/self/fd/{}", handle.as_raw_fd())).doing("open", path)?;
    let bytes = file.metadata().doing("look at", path)?.len();
    let mut summing = Summing::new(&file);
    let mut paced = Paced::new(request, format!("{image}: reading"), Some(bytes));
    copy(&mut (&mut summing).take(bytes), &mut paced).map_err(|e| read_error(e, path, request))?;
    let (_, digest) = summing.finish();
    if paced.done != bytes || file.metadata().doing("look at", path)?.len() != bytes {
        return Err(ImageError::Changed(image));
    }
    (&file).rewind().doing("read", path)?;
    Ok(Source { file, bytes, digest, image, skipped: 0 })
}

/// A folder, packed into a nameless file: the digest is known before anything is unpacked, and what is unpacked
/// is what was summed up.
fn dir(path: &Path, request: &Request<'_>) -> Result<Source, ImageError> {
    let image = format!("dir:{}", path.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder: OwnedFd = match openat(CWD, path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOTDIR) => return Err(ImageError::NotAFolder(path.to_owned())),
        folder => folder.doing("open", path)?,
    };
    let (here, host) = (rustix::fs::fstat(&folder).doing("look at", path)?, fs::metadata("/"));
    if host.is_ok_and(|host| (host.dev(), host.ino()) == (here.st_dev, here.st_ino)) {
        return Err(ImageError::HostRoot(path.to_owned()));
    }
    let mut summing = Summing::new(spool(request)?);
    let mut paced = Paced::new(request, format!("{image}: packing"), None);
    let packed = pack(folder.as_fd(), None, &mut summing, &mut |so_far| paced.at(so_far.bytes));
    let packed = packed.map_err(|source| match source {
        PackError::Write(_) if request.cancel.is_cancelled() => ImageError::Cancelled,
        source => ImageError::Pack { image: image.clone(), source },
    })?;
    let (file, digest) = summing.finish();
    finish(file, digest, image, packed.skipped, request)
}

/// The skeleton of a sparse root.
fn sparse(request: &Request<'_>) -> Result<Source, ImageError> {
    let mut summing = Summing::new(spool(request)?);
    let archive = skeleton::archive(Path::new("/"))?;
    summing.write_all(&archive).doing("write to", request.spool)?;
    let (file, digest) = summing.finish();
    finish(file, digest, "sparse".into(), 0, request)
}

/// A file without a name, which is gone when it is closed.
fn spool(request: &Request<'_>) -> Result<File, ImageError> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(CWD, request.spool, flags, Mode::RUSR | Mode::WUSR);
    Ok(file.doing("make a temporary file in", request.spool)?.into())
}

fn finish(
    mut file: File,
    digest: Digest,
    image: String,
    skipped: u64,
    request: &Request<'_>,
) -> Result<Source, ImageError> {
    let bytes = file.stream_position().doing("read", request.spool)?;
    file.rewind().doing("read", request.spool)?;
    Ok(Source { file, bytes, digest, image, skipped })
}

/// Reports progress now and then, and fails when cancelled.
struct Paced<'a> {
    request: &'a Request<'a>,
    what: String,
    of: Option<u64>,
    done: u64,
    told: u64,
}

impl<'a> Paced<'a> {
    fn new(request: &'a Request<'a>, what: String, of: Option<u64>) -> Self {
        (request.progress)(Step::bytes(&what, 0, of));
        Paced { request, what, of, done: 0, told: 0 }
    }

    fn at(&mut self, done: u64) -> io::Result<()> {
        self.done = done;
        if self.done - self.told >= PACE {
            self.told = self.done;
            (self.request.progress)(Step::bytes(&self.what, self.done, self.of));
        }
        match self.request.cancel.is_cancelled() {
            true => Err(io::Error::other("cancelled")),
            false => Ok(()),
        }
    }
}

fn copy(from: &mut impl Read, paced: &mut Paced<'_>) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Ok(()),
            read => paced.at(paced.done + read? as u64)?,
        }
    }
}

fn read_error(e: io::Error, path: &Path, request: &Request<'_>) -> ImageError {
    if request.cancel.is_cancelled() {
        return ImageError::Cancelled;
    }
    ImageError::Io { path: path.to_owned(), doing: "read", source: e }
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests;
