//! Loop devices: giving a file one of its own, and finding the one it has.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    platform::{At, Failure, disks::Disk},
    sys::loop_device,
};

/// How long the mount of a boot that has just ended may hold a file.
const RELEASE: Duration = Duration::from_secs(5);

/// A loop device, held: it shows its file for as long as it is open.
#[derive(Debug)]
pub(super) struct Device {
    /// Its node.
    pub(super) path: PathBuf,
    open: File,
}

impl Device {
    /// Opens one by name, if it shows the file still: while it is open it shows no other.
    fn open(name: &str, file: &Path) -> io::Result<Option<Self>> {
        let path = Path::new("/dev").join(name);
        let open = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok((shown(name).as_deref() == Some(file)).then_some(Self { path, open }))
    }

    /// Its number.
    pub(super) fn disk(&self) -> io::Result<Disk> {
        Ok(Disk::numbered(self.open.metadata()?.rdev()))
    }
}

/// The device that shows a file, if one does.
pub(super) fn showing(file: &Path) -> Result<Option<Device>, Failure> {
    let file = &fs::canonicalize(file).at("find", file.display())?;
    match shown_by(file) {
        Some(name) => Device::open(&name, file).at("open", name),
        None => Ok(None),
    }
}

/// Gives a file a device, until the last user of the device is gone. Waits for one that still shows it.
pub(super) fn attach(file: &Path) -> Result<Device, Failure> {
    let backing = OpenOptions::new().read(true).write(true).open(file).at("open", file.display())?;
    wait_until_unused(file)?;
    let control = Path::new("/dev/loop-control");
    let opened = OpenOptions::new().read(true).write(true).open(control);
    let opened = opened.at("open", "/dev/loop-control (`modprobe loop` may help)")?;
    // Another program may take the same one first.
    for _ in 0..64 {
        let number = loop_device::free(&opened).at("find", "a free loop device")?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&path).at("open", path.display())?;
        match loop_device::configure(&device, &backing) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
            other => return other.at("set up", path.display()).map(|()| Device { path, open: device }),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY)).at("find", "a free loop device")
}

/// Waits until no device shows a file: the overlay of a boot that has ended may be on its way out still.
pub(super) fn wait_until_unused(file: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + RELEASE;
    let file = &fs::canonicalize(file).at("find", file.display())?;
    while let Some(device) = shown_by(file) {
        if Instant::now() > deadline {
            let why = io::Error::other(format!("{device} still shows it"));
            return Err(why).at("use", file.display());
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The loop device that shows a file, by name. `file` is its canonical path.
pub(super) fn shown_by(file: &Path) -> Option<String> {
    devices().into_iter().find(|(_, shown)| shown == file).map(|(device, _)| device)
}

/// Loop devices in use, with the files they show.
pub fn devices() -> Vec<(String, PathBuf)> {
    let block = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let names = block.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let loops = names.filter(|name| name.starts_with("loop"));
    loops.filter_map(|name| shown(&name).map(|file| (name, file))).collect()
}

/// Whether a device shows a volume, and not this one: it was given away since.
pub fn is_of_another(name: &str, file: &Path) -> bool {
    let a_volume =
        |shown: &Path| shown.file_name() == file.file_name() && shown.parent().is_some_and(of_a_zone);
    shown(name).is_some_and(|shown| shown != file && a_volume(&shown))
}

fn of_a_zone(dataset: &Path) -> bool {
    dataset.file_name().and_then(|name| name.to_str()).is_some_and(|name| uuid::Uuid::try_parse(name).is_ok())
}

/// The file that a device shows.
fn shown(name: &str) -> Option<PathBuf> {
    let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    Some(PathBuf::from(file.trim_end()))
}
