//! Sparse files of GNU tar's own form: four parts in the header, the rest in blocks after it.

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::{ArchiveError, members::Members};

impl Members<'_> {
    /// Offset and length of the parts that are in the archive, in order.
    pub(super) fn sparse_parts(
        &mut self,
        header: &Header,
        stored: u64,
    ) -> Result<Vec<(u64, u64)>, ArchiveError> {
        let gnu = header.as_gnu().ok_or_else(|| self.damaged("a sparse file without a GNU header"))?;
        let mut parts = Vec::new();
        self.add_parts(&gnu.sparse, &mut parts)?;
        let mut more = gnu.is_extended();
        while more {
            if (parts.len() as u64) * 16 > self.limit {
                return Err(ArchiveError::TooLarge {
                    of: "bytes of extension headers".into(),
                    limit: self.limit,
                });
            }
            let mut block = GnuExtSparseHeader::new();
            self.block(block.as_mut_bytes())?;
            self.add_parts(block.sparse(), &mut parts)?;
            more = block.is_extended();
        }
        if parts.iter().map(|(_, length)| length).sum::<u64>() != stored {
            return Err(self.damaged("the parts of a sparse file are not as long as its contents"));
        }
        Ok(parts)
    }

    fn add_parts(&self, from: &[GnuSparseHeader], to: &mut Vec<(u64, u64)>) -> Result<(), ArchiveError> {
        for part in from.iter().filter(|part| !part.is_empty()) {
            let at = part.offset().map_err(|e| self.damaged(e))?;
            let length = part.length().map_err(|e| self.damaged(e))?;
            let after = to.last().map_or(0, |(at, length)| at + length);
            let bounded = at.checked_add(length).is_some_and(|end| end <= i64::MAX as u64);
            if at < after || !bounded {
                return Err(self.damaged("the parts of a sparse file overlap or are out of order"));
            }
            to.push((at, length));
        }
        Ok(())
    }
}
