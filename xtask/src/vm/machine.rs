//! A virtual machine: QEMU without a network, its disks, its console and the agent's port.
//!
//! It ends with what started it, by SIGKILL of the kernel's sending, unless it was started to [`stay`](Machine::stay).
//! Nothing that it writes outlives it, so it is simply ended.

use super::{agent, folder, kernel::Kernel, session::Session};
use crate::progress;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest from the start to the agent's greeting. Emulated and undisturbed it takes six seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Longest for QEMU itself to come up or to go.
const QEMU_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
/// Lines of the console shown when the guest is lost.
const CONSOLE_LINES: usize = 30;

/// What the machine is made of.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
pub(super) struct Hardware {
    /// Processors
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(super) cpus: u32,
    /// Memory, in MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    pub(super) memory: u32,
    /// Use the processor's own virtualisation instead of emulating
    #[arg(long)]
    pub(super) kvm: bool,
    /// Emulate all processors in turns: slower, and safe for a kernel that rewrites itself often, as with each change of
    /// scheduler
    #[arg(long, conflicts_with = "kvm")]
    pub(super) in_turns: bool,
}

pub(super) struct Machine {
    /// Its sockets and the drive; short enough a path for a socket.
    folder: PathBuf,
    console: PathBuf,
    life: Life,
}

/// How long a machine lives.
enum Life {
    /// As long as this.
    Ours { qemu: Child, _folder: TempDir },
    /// Until `vm down`.
    Staying { _lock: File },
}

/// What is written down of a machine that stays.
#[derive(Serialize, Deserialize)]
struct Record {
    folder: PathBuf,
    hardware: Hardware,
}

impl Machine {
    /// Starts one whose drive has been made by `fill`.
    pub(super) fn start(
        kernel: &Kernel,
        root: &Path,
        hardware: &Hardware,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let temporary = tempfile::Builder::new().prefix("zones-vm-").tempdir()?;
        let folder = temporary.path().to_owned();
        fill(&folder.join("drive"))?;
        let qemu = qemu(kernel, root, &folder, hardware, true)?.spawn().context("cannot run QEMU")?;
        let console = console(&kernel.release);
        Ok(Self { folder, console, life: Life::Ours { qemu, _folder: temporary } })
    }

    /// As [`Machine::start`], and it stays when this program has ended.
    pub(super) fn stay(
        kernel: &Kernel,
        root: &Path,
        hardware: &Hardware,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let record = record(&kernel.release);
        let lock = lock(&record)?;
        let temporary = tempfile::Builder::new().prefix("zones-vm-").tempdir()?;
        let folder = temporary.path().to_owned();
        fill(&folder.join("drive"))?;
        let mut command = qemu(kernel, root, &folder, hardware, false)?;
        // A session of its own: Ctrl-C in this terminal is not for it.
        command.stderr(File::create(folder.join("qemu.log"))?).process_group(0);
        command.spawn().context("cannot run QEMU")?;
        let kept = Record { folder: temporary.keep(), hardware: hardware.clone() };
        fs::write(&record, serde_json::to_vec(&kept)?)?;
        Ok(Self { folder, console: console(&kernel.release), life: Life::Staying { _lock: lock } })
    }

    /// The one that stays with this kernel, if there is one; waits until nobody else uses it.
    pub(super) fn staying(kernel: &Kernel, hardware: &Hardware) -> Result<Option<Self>> {
        let record = record(&kernel.release);
        let Some(Record { folder, hardware: has }) = read(&record) else { return Ok(None) };
        if UnixStream::connect(folder.join("monitor")).is_err() {
            return Ok(None);
        }
        ensure!(
            has == *hardware,
            "the machine that is up has {} CPUs and {} MiB; `cargo xtask vm down` ends it",
            has.cpus,
            has.memory
        );
        let lock = lock(&record)?;
        Ok(Some(Self { folder, console: console(&kernel.release), life: Life::Staying { _lock: lock } }))
    }

    /// Ends every machine that stays; how many there were.
    pub(super) fn end_all() -> Result<usize> {
        let mut ended = 0;
        for entry in fs::read_dir(super::folder())?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "up") {
                continue;
            }
            if let Some(Record { folder, .. }) = read(&path) {
                ended += usize::from(quit(&folder)?);
                if folder.starts_with(std::env::temp_dir()) {
                    let _ = fs::remove_dir_all(folder);
                }
            }
            fs::remove_file(&path)?;
        }
        Ok(ended)
    }

    pub(super) fn drive(&self) -> PathBuf {
        self.folder.join("drive")
    }

    /// Connects to the agent, once it is there.
    pub(super) fn connect(&mut self) -> Result<Session> {
        let deadline = Instant::now() + QEMU_LIMIT;
        let stream = loop {
            match UnixStream::connect(self.folder.join("agent")) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => return Err(error).context("QEMU does not answer"),
                Err(_) => self.lives()?,
            }
            thread::sleep(POLL);
        };
        Session::begin(stream, BOOT_LIMIT)
    }

    /// Fails if QEMU has ended.
    fn lives(&mut self) -> Result<()> {
        if let Life::Ours { qemu, .. } = &mut self.life
            && let Some(status) = qemu.try_wait()?
        {
            bail!("QEMU has ended ({status})");
        }
        Ok(())
    }

    /// The same error, with how the console ends.
    pub(super) fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let tail = progress::tail(&self.console, CONSOLE_LINES);
        anyhow!("{error:#}; {} ends:\n{tail}", self.console.display())
    }

    /// What the kernel has complained about, one line each.
    pub(super) fn complaints(&self) -> Vec<String> {
        let text = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter(|line| is_complaint(line)).map(str::to_owned).collect()
    }

    pub(super) fn console(&self) -> &Path {
        &self.console
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Life::Ours { qemu, .. } = &mut self.life {
            let _ = qemu.kill().and_then(|()| qemu.wait());
        }
    }
}

/// Signs of a kernel in trouble.
fn is_complaint(line: &str) -> bool {
    const SIGNS: [&str; 8] = [
        "BUG: ",
        "WARNING: CPU",
        "Oops: ",
        "Kernel panic",
        "general protection fault",
        "blocked for more than",
        "soft lockup",
        "detected stalls",
    ];
    SIGNS.iter().any(|sign| line.contains(sign))
}

/// Runs QEMU's first thread before the others, the emulated processors, which are as many as the machine has and always busy:
/// that one raises their timers, and did so milliseconds too late. Threads that it makes are ordinary ones.
const PROMPT: [&str; 4] = ["chrt", "--reset-on-fork", "--fifo", "1"];

/// Whether this user may do that here.
fn may_be_prompt() -> bool {
    let [chrt, arguments @ ..] = PROMPT;
    let tried = Command::new(chrt).args(arguments).arg("true").stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

fn qemu(
    kernel: &Kernel,
    root: &Path,
    folder: &Path,
    hardware: &Hardware,
    ends_with_us: bool,
) -> Result<Command> {
    ensure!(kernel.image().exists(), "{} is missing", kernel.image().display());
    let mut words: Vec<&str> = Vec::new();
    if ends_with_us {
        words.extend(["setpriv", "--pdeathsig", "KILL"]);
    }
    if may_be_prompt() {
        words.extend(PROMPT);
    }
    words.push("qemu-system-x86_64");
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    let accel = match hardware {
        Hardware { kvm: true, .. } => "kvm",
        Hardware { in_turns: true, .. } => "tcg,thread=single",
        _ => "tcg,thread=multi",
    };
    let cpu = if hardware.kvm { "host" } else { "max" };
    let file = |name: &str| folder.join(name).display().to_string();
    // A panic resets the machine, and a reset ends QEMU.
    // Where the host is busy the kernel finds too few ticks of the emulated timer, and panics over it, unless told not to count.
    let line =
        "root=/dev/nvme0n1 rootwait rw console=ttyS0 panic=-1 no_timer_check systemd.show_status=false";
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-net", "none"]);
    command.args(["-accel", accel, "-cpu", cpu, "-smp", &hardware.cpus.to_string()]);
    command.args(["-m", &hardware.memory.to_string()]);
    command.arg("-kernel").arg(kernel.image()).args(["-append", line]);
    command.args(["-serial", &format!("file:{}", console(&kernel.release).display())]);
    command.args(["-monitor", &format!("unix:{},server=on,wait=off", file("monitor"))]);
    // NVMe is built into Debian's kernels, so the root needs no initramfs. What is written to it is dropped.
    command.args(["-drive", &format!("if=none,id=root,format=raw,snapshot=on,file={}", root.display())]);
    command.args(["-device", "nvme,serial=root,drive=root"]);
    // The drive is made anew while it is attached, when the guest has let go of it.
    command.args(["-drive", &format!("if=none,id=drive,format=raw,file.locking=off,file={}", file("drive"))]);
    command.args(["-device", "virtio-blk-pci,drive=drive"]);
    command.args(["-chardev", &format!("socket,id=agent,server=on,wait=off,path={}", file("agent"))]);
    command.args(["-device", "virtio-serial-pci"]);
    command.args(["-device", &format!("virtserialport,chardev=agent,name={}", agent::PORT)]);
    command.args(["-device", "virtio-rng-pci"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

fn console(release: &str) -> PathBuf {
    folder().join(format!("console-{release}.log"))
}

fn record(release: &str) -> PathBuf {
    folder().join(format!("{release}.up"))
}

fn read(record: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(record).ok()?).ok()
}

/// One at a time uses a machine that stays.
fn lock(record: &Path) -> Result<File> {
    let path = record.with_extension("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting: another run uses the machine");
        file.lock()?;
    }
    Ok(file)
}

/// Ends a machine by its monitor; false if it was gone already.
fn quit(folder: &Path) -> Result<bool> {
    let socket = folder.join("monitor");
    let Ok(mut monitor) = UnixStream::connect(&socket) else { return Ok(false) };
    monitor.write_all(b"quit\n")?;
    let deadline = Instant::now() + QEMU_LIMIT;
    while UnixStream::connect(&socket).is_ok() {
        ensure!(Instant::now() < deadline, "QEMU with the monitor {} does not end", socket.display());
        thread::sleep(POLL);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_in_trouble_is_noticed() {
        for line in [
            "[    1.1] BUG: kernel NULL pointer dereference, address: 0",
            "[   90.0] INFO: task kworker/0:1 blocked for more than 120 seconds.",
            "[   25.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s!",
        ] {
            assert!(is_complaint(line), "{line}");
        }
        assert!(!is_complaint("[    1.2] clocksource: Watchdog remote CPU 1 read timed out"));
    }
}
