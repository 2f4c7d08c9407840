//! What one sees from the host and from each zone, by the same script run in all four places.
//!
//! In each place lies a mark of its own: a process and a file with an unmistakable name. The script looks for the
//! marks of all places, and for the host's hardware, log and settings; a zone may find its own marks and no more.

use super::zones::{ZONES, in_zone};
use crate::daemon::{Daemon, end};
use anyhow::{Context as _, Result, ensure};
use comfy_table::{Table, presets};
use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const MARK_LIMIT: Duration = Duration::from_secs(10);
/// How many seconds the marked processes sleep; the decimal place is the number of the place.
const MARK: &str = "242";

/// Prints `KEY<tab>VALUE` for each look. `FOLDER` is where the host's marked file is, `PID` the host's marked
/// process. Shell and coreutils only: it runs in every root.
const LOOK: &str = r#"
say() { printf '%s\t%s\n' "$1" "$2"; }
say 'host name' "$(cat /proc/sys/kernel/hostname)"
processes=0; marks=
for dir in /proc/[0-9]*; do
    processes=$((processes + 1))
    line=$(tr '\0' ' ' 2>/dev/null < "$dir/cmdline") || continue
    case $line in "sleep MARK."*) line=${line#sleep MARK.}; marks="$marks ${line%% *}";; esac
done
say 'processes' "$processes"
say 'marked processes' "$(printf '%s\n' $marks | sort -u | tr '\n' ' ')"
files=
for file in FOLDER/zone-demo-mark-* /var/tmp/zone-demo-mark-*; do
    if [ -e "$file" ]; then files="$files ${file##*-}"; fi
done
say 'marked files' "$files"
say 'network links' "$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\n' ' ')"
disks=
for disk in /dev/[hsv]d[a-z]* /dev/nvme* /dev/loop[0-9]*; do
    if [ -b "$disk" ]; then disks="$disks ${disk#/dev/}"; fi
done
say 'block devices' "$disks"
can() { what=$1; shift; if "$@" >/dev/null 2>&1; then say "$what" yes; else say "$what" no; fi; }
can 'can signal the host' kill -0 PID
can 'can read its log' dmesg
can 'can change its memory' test -w /proc/sys/vm/drop_caches
"#;

/// What a zone may see; anything else is a leak.
fn allowed(key: &str, own: &str) -> Option<String> {
    match key {
        "marked processes" | "marked files" => Some(own.to_owned()),
        "network links" if own == "systemd" => Some("lo".to_owned()),
        "network links" => Some("lo net0".to_owned()),
        "host name" => Some(own.to_owned()),
        "block devices" => Some(String::new()),
        "can signal the host" | "can read its log" | "can change its memory" => Some("no".to_owned()),
        _ => None,
    }
}

/// Looks from all four places, prints them side by side, and fails if a zone sees more than itself.
pub(crate) fn compare(daemon: &Daemon) -> Result<()> {
    let (marks, folder) = (Marks::set(daemon)?, daemon.folder().display().to_string());
    let script =
        LOOK.replace("MARK", MARK).replace("FOLDER", &folder).replace("PID", &marks.host_pid().to_string());
    let mut host = Command::new("/bin/sh");
    host.args(["-c", &script]);
    let mut places = vec![daemon.hosts().host.within(|| look(&mut host, "host"))??];
    for zone in ZONES {
        places.push(look(&mut in_zone(daemon, zone, &script), zone)?);
    }
    print(&places);
    for (index, (zone, seen)) in ZONES.into_iter().zip(&places[1..]).enumerate() {
        for (key, value) in seen {
            let allowed = allowed(key, NAMES[index + 1]);
            ensure!(allowed.is_none_or(|allowed| *value == allowed), "zone {zone} sees {key}: {value:?}");
        }
    }
    println!("each zone sees its own marks, and nothing of the host or of the other zones");
    Ok(())
}

const NAMES: [&str; 4] = ["host", ZONES[0], ZONES[1], ZONES[2]];

type Seen = Vec<(String, String)>;

fn look(command: &mut Command, place: &str) -> Result<Seen> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot look from {place}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the look from {place} failed ({}): {}",
        output.status,
        complaint.trim()
    );
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(k, v)| (k.to_owned(), named(k, v)))
        .collect())
}

/// Marks are numbers in a process's arguments: their places' names instead.
fn named(key: &str, value: &str) -> String {
    let name = |word: &str| match key {
        "marked processes" => word.parse().ok().and_then(|n: usize| NAMES.get(n)).copied().map(str::to_owned),
        _ => None,
    };
    let words = value.split_whitespace().map(|word| name(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

fn print(places: &[Seen]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "HOST", "SPARSE", "DEBIAN", "SYSTEMD"]);
    for (row, (key, _)) in places.first().into_iter().flatten().enumerate() {
        let cells = places.iter().map(|place| match place.get(row).map_or("", |(_, value)| value) {
            "" => "-".to_owned(),
            value => value.to_owned(),
        });
        table.add_row(std::iter::once(key.clone()).chain(cells));
    }
    println!("{table}");
}

/// The marks of all places; the processes end when this is dropped.
struct Marks {
    host: Child,
    zones: Vec<Child>,
}

impl Marks {
    fn set(daemon: &Daemon) -> Result<Self> {
        fs::write(daemon.folder().join("zone-demo-mark-host"), "")?;
        let sleep = |place: usize| format!("{MARK}.{place}");
        let host = Command::new("sleep").arg(sleep(0)).spawn().context("cannot run sleep")?;
        let mut marks = Self { host, zones: Vec::new() };
        for (index, zone) in ZONES.into_iter().enumerate() {
            let script = format!(": > /var/tmp/zone-demo-mark-{zone}; exec sleep {}", sleep(index + 1));
            marks.zones.push(in_zone(daemon, zone, &script).spawn().context("cannot run zonectl")?);
            wait_for(daemon, zone, &sleep(index + 1))?;
        }
        Ok(marks)
    }

    fn host_pid(&self) -> u32 {
        self.host.id()
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        for child in std::iter::once(&mut self.host).chain(&mut self.zones) {
            end(child);
        }
    }
}

/// Waits until a zone's marked process is there.
fn wait_for(daemon: &Daemon, zone: &str, mark: &str) -> Result<()> {
    let same = format!("[ \"$(tr '\\0' ' ' 2>/dev/null < $file)\" = 'sleep {mark} ' ]");
    let script = format!("for file in /proc/[0-9]*/cmdline; do if {same}; then exit 0; fi; done; exit 1");
    let deadline = Instant::now() + MARK_LIMIT;
    loop {
        let there = in_zone(daemon, zone, &script).output().context("cannot run zonectl")?;
        if there.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&there.stderr);
        ensure!(
            Instant::now() < deadline,
            "zone {zone}: its marked process does not start {}",
            complaint.trim()
        );
        thread::sleep(Duration::from_millis(10));
    }
}
