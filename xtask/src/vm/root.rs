//! The guest's root: a Debian of the machine's own release, so that programs that are built here run there, with a
//! kernel's modules in it.
//!
//! Two steps, each kept: an archive made by mmdebstrap (half a minute, needs the mirror), and from it an image with the
//! modules of a kernel (seconds). A guest writes into a copy that goes with it.

use super::{
    agent,
    apt::{KEYRING, reach, said, sources},
    drive, folder,
    kernel::Kernel,
};
use crate::{packages::Group, progress, setup};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// What a guest can hold, as the text that mkfs reads. What is not written takes no space here.
const SIZE: &str = "16G";

const LEFT_OUT: [&str; 4] = [
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
];

/// The agent is copied from the drive, since it must be able to let go of that. What is built into a kernel cannot be
/// loaded, and some of Debian's do not list it.
fn service() -> String {
    format!(
        "[Unit]\n\
         Description=Runs what the host of this virtual machine asks for\n\
         FailureAction=poweroff-force\n\
         SuccessAction=poweroff-force\n\
         [Service]\n\
         ExecStartPre=-/sbin/modprobe --all virtio_pci virtio_console virtio_blk overlay\n\
         ExecStartPre=/bin/mount -t ext4 -o ro {drive} /mnt\n\
         ExecStartPre=/bin/cp /mnt/{agent} /run/zones-vm-agent\n\
         ExecStartPre=/bin/umount /mnt\n\
         ExecStart=/run/zones-vm-agent vm agent\n\
         StandardOutput=journal+console\n\
         TasksMax=infinity\n\
         LimitNOFILE=1048576\n\
         Delegate=yes\n",
        drive = agent::DRIVE,
        agent = drive::AGENT,
    )
}

/// Timers that a guest of minutes has no use for.
const MASKED: [&str; 5] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
];

/// An image of the root with this kernel's modules.
pub(super) fn image(kernel: &Kernel) -> Result<PathBuf> {
    let packages = packages();
    let suite = suite()?;
    let service = service();
    let archive = folder().join(format!("root-{suite}-{:016x}.tar", digest(&packages)));
    let digest = digest(&(&archive, &service, SIZE, MASKED));
    let image = folder().join(format!("root-{}-{digest:016x}.img", kernel.release));
    if image.exists() {
        return Ok(image);
    }
    ensure!(setup::is_root(), "making the guest's root takes root; what is made is kept");
    if !archive.exists() {
        bootstrap(&suite, &packages, &archive)?;
        forget(&format!("root-{suite}-"), ".tar", &archive);
    }
    let root = tempfile::tempdir_in(folder())?;
    said(
        Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(root.path()),
    )?;
    furnish(root.path(), kernel, &service)?;
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d"]);
    let making = image.with_extension("new");
    // A file that is there is taken as large as it is.
    let _ = fs::remove_file(&making);
    let title = format!("making the root for Linux {}", kernel.release);
    progress::logged(&title, "vm-root.log", mkfs.arg(root.path()).arg(&making).arg(SIZE))?;
    fs::rename(&making, &image)?;
    forget(&format!("root-{}-", kernel.release), ".img", &image);
    Ok(image)
}

/// What is in the root beside the essential packages.
fn packages() -> Vec<&'static str> {
    let groups = [Group::Run, Group::Test, Group::Guest];
    let mut names: Vec<_> =
        groups.into_iter().flat_map(|group| group.packages()).map(|package| package.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The machine's own release.
fn suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("what distribution is this?")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(suite.context("this machine is no Debian")?.trim_matches('"').to_owned())
}

fn bootstrap(suite: &str, packages: &[&str], archive: &Path) -> Result<()> {
    let making = archive.with_extension("new");
    let [updates, security] = ["updates", "security"].map(|more| format!("{suite}-{more}"));
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--variant=minbase", "--format=tar"])
        .arg(format!("--keyring={KEYRING}"))
        .arg(format!("--include={}", packages.join(",")))
        .args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")))
        .args(reach()?.iter().map(|option| format!("--aptopt={}", option.trim_end_matches(';'))))
        .arg(suite)
        .arg(&making)
        .args(sources(&[suite, &updates, &security])?);
    progress::logged("making the guest's root", "vm-root.log", &mut mmdebstrap)?;
    Ok(fs::rename(&making, archive)?)
}

fn furnish(root: &Path, kernel: &Kernel, service: &str) -> Result<()> {
    let modules = root.join("usr/lib/modules");
    fs::create_dir_all(&modules)?;
    said(Command::new("cp").arg("--archive").arg(kernel.modules()).arg(&modules))?;
    let units = root.join("etc/systemd/system");
    fs::write(units.join("zones-vm.service"), service)?;
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted)?;
    symlink("../zones-vm.service", wanted.join("zones-vm.service"))?;
    for unit in MASKED {
        symlink("/dev/null", units.join(unit))?;
    }
    fs::write(root.join("etc/hostname"), "zones-vm\n")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost zones-vm\n::1 localhost\n")?;
    Ok(())
}

/// Removes what earlier settings made.
fn forget(prefix: &str, suffix: &str, but: &Path) {
    for entry in fs::read_dir(folder()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(suffix) && entry.path() != but {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Of a part's settings: another one is made when they change.
fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
