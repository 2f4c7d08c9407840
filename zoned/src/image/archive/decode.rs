//! Takes the compression off an archive, told by its first bytes. The memory a stream may ask for is bounded.

use std::io::{self, BufReader, Cursor, Read};

use super::ArchiveError;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    /// Not at all.
    None,
    /// gzip, several members allowed.
    Gzip,
    /// xz, several streams allowed.
    Xz,
    /// Zstandard, several frames allowed.
    Zstd,
}

/// Most memory an xz stream may ask for, in bytes: `xz -9` takes 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Largest window of a zstd frame, as a power of two: 128 MiB, what `zstd --long` uses.
const ZSTD_WINDOW: u32 = 27;

const MAGIC_LEN: usize = 6;

impl Compression {
    /// Tells it by the first bytes; formats known to be unsupported are an error.
    fn of(magic: &[u8]) -> Result<Self, ArchiveError> {
        let unsupported = |what: &str| Err(ArchiveError::Unsupported(what.to_owned()));
        match magic {
            [] => Err(ArchiveError::NotAnArchive("it is empty".into())),
            [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Ok(Compression::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
            [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => unsupported("lz4"),
            [b'P', b'K', 3, 4, ..] => unsupported("zip"),
            [0x5d, 0, 0, ..] => unsupported("lzma (the predecessor of xz)"),
            _ => Ok(Compression::None),
        }
    }
}

/// The plain archive inside `reader`.
pub(super) fn decode<'r>(mut reader: impl Read + 'r) -> Result<Box<dyn Read + 'r>, ArchiveError> {
    let mut magic = Vec::with_capacity(MAGIC_LEN);
    let head = reader.by_ref().take(MAGIC_LEN as u64).read_to_end(&mut magic);
    head.map_err(|e| ArchiveError::Read(e.into()))?;
    let compression = Compression::of(&magic)?;
    let whole = BufReader::with_capacity(128 << 10, Cursor::new(magic).chain(reader));
    let broken = |e: io::Error| ArchiveError::NotAnArchive(e.into());
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED);
            let stream = stream.map_err(|e| broken(e.into()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(whole, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(whole).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(broken)?;
            Box::new(decoder)
        }
    })
}
