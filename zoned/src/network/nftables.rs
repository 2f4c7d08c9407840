//! Whether a table of nftables is there: one question to the kernel, where nft(8) takes milliseconds.

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

// `NFNL_SUBSYS_NFTABLES`, and of its messages `NFT_MSG_NEWTABLE` and `NFT_MSG_GETTABLE`.
const NEW_TABLE: u16 = 10 << 8;
const GET_TABLE: u16 = 10 << 8 | 1;
/// `NFPROTO_INET`.
const INET: u8 = 1;
const TABLE_NAME: u16 = 1;
const TABLE_HANDLE: u16 = 4;
/// A netlink header and the one that messages of netfilter begin with.
const HEADERS: usize = 16 + 4;

/// The number that the kernel gave to the table `inet NAME`; none if there is no such table. It is never given again while
/// the network namespace lives (Linux 4.17).
pub(super) fn handle(table: &str) -> io::Result<Option<u64>> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
    send(&socket, &question(table), SendFlags::empty())?;
    let mut answer = [0; 4096];
    let (length, _) = recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
    read(answer.get(..length).unwrap_or_default())
}

fn question(table: &str) -> Vec<u8> {
    let name = [table.as_bytes(), &[0]].concat();
    let attribute = 4 + name.len();
    let length = HEADERS + attribute.next_multiple_of(4);
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(GET_TABLE.to_ne_bytes());
    // NLM_F_REQUEST, then sequence and port, which nobody else uses here.
    message.extend(1_u16.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([INET, 0, 0, 0]);
    message.extend((attribute as u16).to_ne_bytes());
    message.extend(TABLE_NAME.to_ne_bytes());
    message.extend(name);
    message.resize(length, 0);
    message
}

fn read(answer: &[u8]) -> io::Result<Option<u64>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let short = |at: usize| answer.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
    match short(4).ok_or_else(malformed)? {
        NEW_TABLE => {}
        // An error: its number is behind the header.
        2 => {
            let number = answer.get(16..20).and_then(|n| n.try_into().ok()).map(i32::from_ne_bytes);
            return match number.ok_or_else(malformed)? {
                e if -e == libc::ENOENT => Ok(None),
                e => Err(io::Error::from_raw_os_error(-e)),
            };
        }
        _ => return Err(malformed()),
    }
    let mut at = HEADERS;
    while let (Some(length), Some(kind)) = (short(at), short(at + 2)) {
        if kind == TABLE_HANDLE {
            let number = answer.get(at + 4..at + 12).and_then(|n| n.try_into().ok()).map(u64::from_be_bytes);
            return number.map(Some).ok_or_else(malformed);
        }
        at += usize::from(length.max(4)).next_multiple_of(4);
    }
    Err(malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_off_is_none() {
        let mut answer = [0; HEADERS].to_vec();
        answer[4..6].copy_from_slice(&NEW_TABLE.to_ne_bytes());
        answer.extend([8, 0, 2, 0, 0, 0, 0, 0, 12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(read(&answer).unwrap(), Some(258));
        assert!((0..answer.len()).all(|end| read(&answer[..end]).is_err()));
    }

    #[test]
    fn a_table_that_is_not_there_is_none() {
        // Kernels without nftables, and callers without the power, are refused.
        assert!(!matches!(handle("zt-no-such-table"), Ok(Some(_))));
    }
}
