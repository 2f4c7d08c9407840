//! Extended headers of POSIX.1-2001 (pax): records of `length key=value\n`, whose values may hold any byte.

/// What the records of an archive or of an entry say, later ones winning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The contents are a sparse file in one of pax' three forms.
    pub(super) sparse: bool,
}

impl Pax {
    /// Adds the records of one header; an error says what is malformed.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        while !records.is_empty() {
            let (key, value, rest) = split(records).ok_or("a pax record is malformed")?;
            records = rest;
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number(value).ok_or("a pax size is no number")?),
                b"uid" => self.uid = Some(number(value).ok_or("a pax uid is no number")?),
                b"gid" => self.gid = Some(number(value).ok_or("a pax gid is no number")?),
                b"mtime" => self.mtime = Some(time(value).ok_or("a pax mtime is no time")?),
                _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.attributes.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

/// First record as key and value, and the records after it.
fn split(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(number(&records[..space])?).ok()?;
    let record = records.get(space + 1..length)?;
    let (b'\n', record) = record.split_last()? else { return None };
    let equals = record.iter().position(|b| *b == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

fn number(text: &[u8]) -> Option<u64> {
    // str::parse would also take a sign.
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds since the epoch with an optional sign and fraction, as seconds (rounded down) and nanoseconds.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut halves = text.splitn(2, |b| *b == b'.');
    let seconds = i64::try_from(number(halves.next()?)?).ok()?;
    let fraction = halves.next().unwrap_or_default();
    let digits = &fraction[..fraction.len().min(9)];
    let mut nanos = if digits.is_empty() { 0 } else { u32::try_from(number(digits)?).ok()? };
    nanos *= 10u32.pow(9 - digits.len() as u32);
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = body.len() + 1;
        while format!("{length}").len() + body.len() != length {
            length += 1;
        }
        [format!("{length}").into_bytes(), body].concat()
    }

    #[test]
    fn values_may_hold_any_byte() {
        let mut pax = Pax::default();
        let text = [
            record("path", b"a\nb=c"),
            record("SCHILY.xattr.user.x", b"\n\0\n"),
            record("size", b"18446744073709551615"),
        ];
        pax.read(&text.concat()).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb=c"[..]));
        assert_eq!(pax.attributes, [(b"user.x".to_vec(), b"\n\0\n".to_vec())]);
        assert_eq!(pax.size, Some(u64::MAX));
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_the_epoch() {
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"7."), Some((7, 0)));
        assert_eq!(time(b"1.0000000019"), Some((1, 1)));
        for wrong in [&b""[..], b"x", b"1.x", b"+1", b"99999999999999999999"] {
            assert_eq!(time(wrong), None, "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Pax::default().read(&bytes);
            let _ = time(&bytes);
        }

        #[test]
        fn what_is_written_is_read(key in "[a-z]{1,300}", value: Vec<u8>) {
            let mut text = record(&key, &value);
            text.extend(record("uid", b"7"));
            let mut pax = Pax::default();
            pax.read(&text).unwrap();
            proptest::prop_assert_eq!(pax.uid, Some(7));
        }
    }
}
