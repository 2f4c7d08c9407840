//! Users of a zone, by its own `/etc/passwd` and `/etc/group`. Read inside the zone, by a process of the zone's.
//!
//! No name service switch: its modules would be the host's code on the zone's data.

use std::{fs::File, io::Read, path::Path};

use super::{At, Failure};

/// Largest file read, in bytes.
const LIMIT: u64 = 4 << 20;

/// Who a command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name, if the passwd file has one.
    pub name: String,
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups inside.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// Looks a user up by name or number; none means root. Must run inside the zone.
pub fn look_up(wanted: Option<&str>) -> Result<User, Failure> {
    let passwd = read(Path::new("/etc/passwd")).unwrap_or_default();
    let group = read(Path::new("/etc/group")).unwrap_or_default();
    let wanted = wanted.unwrap_or("0");
    find(wanted, &passwd, &group)
        .ok_or(std::io::Error::other("no such user in /etc/passwd of the zone"))
        .at("run as", wanted.escape_default())
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(LIMIT).read_to_end(&mut bytes)).at("read", path.display())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn find(wanted: &str, passwd: &str, group: &str) -> Option<User> {
    let number = wanted.parse::<u32>().ok().filter(|id| *id < crate::plan::IDS);
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|f| f.len() == 7 && (f[0] == wanted || number.is_some_and(|id| f[2].parse() == Ok(id))));
    let Some(f) = entry else {
        return number.map(|uid| User {
            name: uid.to_string(),
            uid,
            gid: if uid == 0 { 0 } else { uid },
            groups: Vec::new(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        });
    };
    let (uid, gid) = (f[2].parse().ok()?, f[3].parse().ok()?);
    let groups = group.lines().filter_map(|line| {
        let g: Vec<_> = line.split(':').collect();
        (g.len() == 4 && g[3].split(',').any(|member| member == f[0])).then(|| g[2].parse().ok())?
    });
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let (home, shell) = (or(f[5], "/"), or(f[6], "/bin/sh"));
    Some(User { name: f[0].into(), uid, gid, groups: groups.collect(), home, shell })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\nwww:x:33:33::/var/www:\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nssl:x:110:www,other\n";

    #[test]
    fn finds_by_name_and_by_number() {
        let www = find("www", PASSWD, GROUP).unwrap();
        assert_eq!(
            (www.uid, www.gid, www.groups.as_slice(), www.shell.as_str()),
            (33, 33, &[110][..], "/bin/sh")
        );
        assert_eq!(find("33", PASSWD, GROUP).unwrap(), www);
        assert_eq!(find("0", "", "").unwrap().shell, "/bin/sh");
        assert_eq!(find("4711", PASSWD, GROUP).unwrap().gid, 4711);
        assert_eq!(find("nobody-here", PASSWD, GROUP), None);
        assert_eq!(find("70000", PASSWD, GROUP), None, "no id of another zone");
    }
}
