//! The members of a tar archive, one after the other: ustar, GNU and pax headers, with every length bounded
//! before memory is taken for it.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::{ArchiveError, Rules, pax::Pax};

const BLOCK: usize = 512;

/// Most bytes read after the end mark: archives are padded to a record there, 10 KiB mostly. Reading them lets a
/// decompressor check its sums.
const TRAILER: u64 = 16 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Symlink,
    HardLink,
    Fifo,
    Device,
    Unknown(u8),
}

/// One entry's header, extensions applied.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: (i64, u32),
    /// Size of the file, holes included.
    pub(super) size: u64,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Offset and length of the parts of a sparse file that are in the archive, in order; none for other files.
    pub(super) parts: Option<Vec<(u64, u64)>>,
}

/// Reads an archive.
pub(super) struct Members<'r> {
    reader: Box<dyn Read + 'r>,
    pub(super) limit: u64,
    global: Pax,
    /// Bytes of the current entry's contents not read yet, and of its padding.
    left: u64,
    padding: u64,
    count: u64,
}

impl<'r> Members<'r> {
    pub(super) fn new(reader: Box<dyn Read + 'r>, rules: &Rules) -> Self {
        Members { reader, limit: rules.extension, global: Pax::default(), left: 0, padding: 0, count: 0 }
    }

    /// The next entry, none after the end mark.
    pub(super) fn next(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut pax = self.global.clone();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return self.end().map(|()| None);
            };
            let size = match kind(header.entry_type()) {
                Kind::File | Kind::Unknown(_) => header.entry_size().map_err(|e| self.damaged(e))?,
                // Whatever their size field says, nothing follows them: so GNU tar, Go and Python have it.
                _ => 0,
            };
            self.contents_of(size)?;
            match header.entry_type() {
                EntryType::GNULongName => long_path = Some(c_string(self.extension()?)),
                EntryType::GNULongLink => long_link = Some(c_string(self.extension()?)),
                EntryType::XHeader => {
                    let records = self.extension()?;
                    pax.read(&records).map_err(|e| self.damaged(e))?;
                }
                EntryType::XGlobalHeader => {
                    let records = self.extension()?;
                    self.global.read(&records).map_err(|e| self.damaged(e))?;
                    pax = self.global.clone();
                }
                // A volume label: a name for people.
                other if other.as_byte() == b'V' => {}
                _ => {
                    let member = self.member(&header, size, pax, long_path, long_link)?;
                    self.count += 1;
                    return Ok(Some(member));
                }
            }
        }
    }

    /// Reads from the current entry's contents; 0 at their end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, ArchiveError> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let n = read_some(&mut self.reader, &mut into[..most]).map_err(|e| self.failed(e))?;
        if n == 0 {
            return Err(ArchiveError::Truncated { entries: self.count.saturating_sub(1) });
        }
        self.left -= n as u64;
        Ok(n)
    }

    fn member(
        &mut self,
        header: &Header,
        stored: u64,
        pax: Pax,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Member, ArchiveError> {
        if pax.sparse {
            return Err(ArchiveError::Unsupported("a sparse file in pax form".into()));
        }
        let path = pax.path.or(long_path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.link.or(long_link);
        let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let mut kind = kind(header.entry_type());
        if kind == Kind::File && path.ends_with(b"/") {
            // The form before ustar had no kind for folders.
            kind = Kind::Folder;
        }
        let parts = match header.entry_type() {
            EntryType::GNUSparse => Some(self.sparse_parts(header, stored)?),
            _ => None,
        };
        let size = match (&parts, pax.size) {
            (Some(_), _) => header.as_gnu().map_or(Ok(0), |g| g.real_size()).map_err(|e| self.damaged(e))?,
            (None, Some(size)) if kind == Kind::File => {
                self.contents_of(size)?;
                size
            }
            (None, _) => stored,
        };
        if let Some(end) = parts.as_ref().and_then(|p| p.last()).map(|(at, len)| at + len)
            && end > size
        {
            return Err(self.damaged("a part of a sparse file lies beyond its end"));
        }
        Ok(Member {
            path,
            link,
            kind,
            mode: header.mode().map_err(|e| self.damaged(e))? & 0o7777,
            uid: pax.uid.map_or_else(|| header.uid(), Ok).map_err(|e| self.damaged(e))?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok).map_err(|e| self.damaged(e))?,
            mtime: pax.mtime.unwrap_or_else(|| {
                // Before the epoch it is stored as two's complement: read as a number beyond all times.
                (header.mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0), 0)
            }),
            size,
            attributes: pax.attributes,
            parts,
        })
    }

    /// One header block whose sum is right; none for the end mark.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header::new_old();
        self.block(header.as_mut_bytes())?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sum =
            bytes.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { *b as u32 });
        if header.cksum().ok() != Some(sum.sum()) {
            return Err(match self.count {
                0 => ArchiveError::NotAnArchive("its first block is no tar header".into()),
                _ => self.damaged("a header's checksum is wrong"),
            });
        }
        Ok(Some(header))
    }

    /// Notes that contents of this size come next.
    fn contents_of(&mut self, size: u64) -> Result<(), ArchiveError> {
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        if size.checked_add(padding).is_none() {
            return Err(self.damaged("an entry's size is beyond all bounds"));
        }
        (self.left, self.padding) = (size, padding);
        Ok(())
    }

    /// The contents of an extension header, which are kept in memory.
    fn extension(&mut self) -> Result<Vec<u8>, ArchiveError> {
        if self.left > self.limit {
            return Err(ArchiveError::TooLarge {
                of: "bytes of extension headers".into(),
                limit: self.limit,
            });
        }
        let mut bytes = vec![0; self.left as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read(&mut bytes[filled..])?;
        }
        Ok(bytes)
    }

    fn discard_contents(&mut self) {
        self.padding += self.left;
        self.left = 0;
    }

    /// Skips what is left of the current entry.
    fn skip(&mut self) -> Result<(), ArchiveError> {
        self.discard_contents();
        let mut nowhere = [0; 16 << 10];
        while self.padding > 0 {
            let most = nowhere.len().min(usize::try_from(self.padding).unwrap_or(usize::MAX));
            let n = read_some(&mut self.reader, &mut nowhere[..most]).map_err(|e| self.failed(e))?;
            if n == 0 {
                return Err(ArchiveError::Truncated { entries: self.count.saturating_sub(1) });
            }
            self.padding -= n as u64;
        }
        Ok(())
    }

    /// A whole block. An archive that ends here has no end mark.
    pub(super) fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<(), ArchiveError> {
        let mut filled = 0;
        while filled < BLOCK {
            match read_some(&mut self.reader, &mut block[filled..]).map_err(|e| self.failed(e))? {
                0 if self.count == 0 && filled < BLOCK => {
                    return Err(ArchiveError::NotAnArchive("it is shorter than one header".into()));
                }
                0 => return Err(ArchiveError::Truncated { entries: self.count }),
                n => filled += n,
            }
        }
        Ok(())
    }

    /// Reads what follows the end mark.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut nowhere = [0; 16 << 10];
        let mut rest = 0;
        while rest <= TRAILER {
            match read_some(&mut self.reader, &mut nowhere).map_err(|e| self.failed(e))? {
                0 => return Ok(()),
                n => rest += n as u64,
            }
        }
        Err(self.damaged("much follows its end mark"))
    }

    pub(super) fn damaged(&self, why: impl Into<Why>) -> ArchiveError {
        let Why(why) = why.into();
        ArchiveError::Damaged { entries: self.count, source: super::Cause(why) }
    }

    /// What an error of the reader means: a decompressor says by its kind when its input ended too early.
    fn failed(&self, e: io::Error) -> ArchiveError {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Truncated { entries: self.count },
            _ if e.raw_os_error().is_some() => ArchiveError::Read(e.into()),
            _ => self.damaged(e),
        }
    }
}

/// Text of a damage.
pub(super) struct Why(String);

impl From<&str> for Why {
    fn from(text: &str) -> Self {
        Why(text.to_owned())
    }
}

impl From<io::Error> for Why {
    fn from(e: io::Error) -> Self {
        Why(e.to_string())
    }
}

fn kind(entry: EntryType) -> Kind {
    match entry {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        other => Kind::Unknown(other.as_byte()),
    }
}

fn c_string(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn read_some(reader: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(into) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
