//! A script of system calls: `NAME ARGUMENT… ; NAME ARGUMENT… ; …`
//!
//! | argument | is |
//! |---|---|
//! | `12`, `-100`, `0x1f` | a number |
//! | `'text'` | the address of these bytes and a NUL |
//! | `[0a00ff]` | the address of these bytes |
//! | `{64}` | the address of 64 zero bytes for the kernel to fill |
//! | `$2` | the result of the second call |
//! | `&2.3` | the address of the bytes that were the second call's third argument |
//!
//! NAME is a system call of this architecture or its number. `show &2.3 LEN` is none: it ends the script, whose answer
//! then is the first LEN of those bytes, in hexadecimal.

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;

use crate::sys;

/// Smallest buffer, so that what a call fills fits even where a script counted wrong.
const ROOM: usize = 4096;

/// System calls in order.
#[derive(Debug)]
pub(crate) struct Script(Vec<Call>);

#[derive(Debug)]
struct Call {
    name: String,
    /// None: `show`.
    number: Option<i64>,
    args: Vec<Arg>,
}

#[derive(Debug)]
enum Arg {
    Number(u64),
    Bytes(Vec<u8>),
    Result(usize),
    BytesOf(usize, usize),
}

impl Script {
    /// Reads a script.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut calls = vec![Vec::new()];
        for word in words(text)? {
            if word == ";" {
                calls.push(Vec::new());
            } else if let Some(last) = calls.last_mut() {
                last.push(word);
            }
        }
        let calls: Result<_> = calls.iter().map(|words| Call::parse(words)).collect();
        calls.map(Self).with_context(|| format!("script {text:?}"))
    }

    /// Makes the calls until one fails: `ok RESULT` or `ERRNO NAME`.
    pub(crate) fn run(mut self) -> String {
        let mut results = Vec::new();
        for at in 0..self.0.len() {
            let Some(number) = self.0[at].number else { return self.show(at) };
            let args = match self.args(at, &results) {
                Ok(args) => args,
                Err(wrong) => return format!("wrong: {wrong}"),
            };
            let name = &self.0[at].name;
            match sys::call(number, args) {
                Ok(result) => results.push(result),
                Err(errno) => return format!("{} {name}", shown(errno)),
            }
        }
        format!("ok {}", results.last().copied().unwrap_or_default())
    }

    /// The numbers the kernel gets. Addresses are of this script's own buffers.
    fn args(&mut self, at: usize, results: &[i64]) -> Result<[u64; 6]> {
        let mut args = [0; 6];
        for (place, slot) in args.iter_mut().enumerate().take(self.0[at].args.len()) {
            *slot = match &mut self.0[at].args[place] {
                Arg::Number(number) => *number,
                Arg::Bytes(bytes) => bytes.as_mut_ptr() as u64,
                Arg::Result(of) => *results.get(*of).context("a result that is not there yet")? as u64,
                Arg::BytesOf(of, which) => {
                    let (of, which) = (*of, *which);
                    self.bytes(of, which)?.as_mut_ptr() as u64
                }
            };
        }
        Ok(args)
    }

    fn bytes(&mut self, of: usize, which: usize) -> Result<&mut Vec<u8>> {
        match self.0.get_mut(of).and_then(|call| call.args.get_mut(which)) {
            Some(Arg::Bytes(bytes)) => Ok(bytes),
            _ => bail!("no bytes are there"),
        }
    }

    fn show(&mut self, at: usize) -> String {
        let [Arg::BytesOf(of, which), Arg::Number(len)] = self.0[at].args[..] else {
            return "wrong: show what?".into();
        };
        match self.bytes(of, which) {
            Ok(bytes) => {
                let hex: String = bytes.iter().take(len as usize).map(|b| format!("{b:02x}")).collect();
                format!("ok {hex}")
            }
            Err(wrong) => format!("wrong: {wrong}"),
        }
    }
}

impl Call {
    fn parse(words: &[String]) -> Result<Self> {
        let (name, args) = words.split_first().context("an empty call")?;
        ensure!(args.len() <= 6, "{name}: more than six arguments");
        let args = args.iter().map(|word| Arg::parse(word)).collect::<Result<Vec<_>>>()?;
        let known = brands::syscall::number(name, brands::syscall::HOST[0]).map(i64::from);
        let number = match name.as_str() {
            "show" => None,
            _ => Some(known.or_else(|| name.parse().ok()).with_context(|| format!("{name}: no such call"))?),
        };
        Ok(Self { name: name.clone(), number, args })
    }
}

impl Arg {
    fn parse(word: &str) -> Result<Self> {
        let index =
            |n: &str| n.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).context("a call's number");
        let inner = |open, close| word.strip_prefix(open).and_then(|w: &str| w.strip_suffix(close));
        if let Some(text) = inner('\'', '\'') {
            return Ok(Arg::Bytes(roomy(text.bytes().collect())));
        }
        if let Some(hex) = inner('[', ']') {
            let byte = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap_or("-"), 16);
            return Ok(Arg::Bytes(roomy((0..hex.len()).step_by(2).map(byte).collect::<Result<_, _>>()?)));
        }
        if let Some(size) = inner('{', '}') {
            return Ok(Arg::Bytes(roomy(vec![0; size.parse()?])));
        }
        match word.split_at(1) {
            ("$", of) => Ok(Arg::Result(index(of)?)),
            ("&", of) => {
                let (of, which) = of.split_once('.').context("&CALL.ARGUMENT is wanted")?;
                Ok(Arg::BytesOf(index(of)?, index(which)?))
            }
            _ => number(word).map(Arg::Number),
        }
    }
}

/// With a NUL behind, and never less than [`ROOM`].
fn roomy(mut bytes: Vec<u8>) -> Vec<u8> {
    let size = (bytes.len() + 1).max(ROOM);
    bytes.resize(size, 0);
    bytes
}

fn number(word: &str) -> Result<u64> {
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let value = value.with_context(|| format!("{word:?} is no argument"))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// Splits at blanks outside of quotes.
fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('\'') {
            Some(quoted) => {
                quoted.find('\'').with_context(|| format!("a quote that is not closed: {rest}"))? + 2
            }
            None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

/// `EPERM`, or the number of an error without a name.
fn shown(errno: Errno) -> String {
    match errno {
        Errno::UnknownErrno => format!("errno-{}", errno as i32),
        known => format!("{known:?}"),
    }
}
