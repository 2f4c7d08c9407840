//! Kernels to boot: Debian's for clouds, as packages, unpacked below `target/xtask/vm/kernels`.

use super::{
    apt::{Apt, said},
    folder,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What a kernel's package is called around its release: Debian has renamed them. Neither is signed for secure boot.
const PACKAGES: [(&str, &str); 2] = [("linux-binary-unsigned-", ""), ("linux-image-", "-unsigned")];
const FLAVOUR: &str = "-cloud-amd64";

/// Which kernel is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Newest,
    /// The newest one of this version, such as `6.1` or `7.3.4`.
    Version(Vec<u32>),
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        let numbers: Result<Vec<_>, _> = text.split('.').map(str::parse).collect();
        numbers.map(Self::Version).map_err(|_| "not `newest` or a version like 6.12".into())
    }
}

impl Wanted {
    /// Of these names of packages the one to take, with the release of its kernel.
    fn among<'n>(&self, names: &'n [String]) -> Option<(&'n str, &'n str)> {
        let release = |name: &'n str| {
            PACKAGES.iter().find_map(|(before, after)| name.strip_prefix(before)?.strip_suffix(after))
        };
        names
            .iter()
            .filter_map(|name| Some((name.as_str(), release(name)?)))
            .filter(|(_, release)| release.ends_with(FLAVOUR) && version(release).len() > 2)
            .filter(|(_, release)| match self {
                Self::Newest => true,
                Self::Version(wanted) => version(release).starts_with(wanted),
            })
            .max_by_key(|(_, release)| version(release))
    }
}

/// The numbers in a release: 7.3.4+deb13-cloud-amd64 is 7, 3, 4, 13.
fn version(release: &str) -> Vec<u32> {
    let release = release.strip_suffix(FLAVOUR).unwrap_or(release);
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// A kernel that is there.
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    folder: PathBuf,
}

impl Kernel {
    /// The wanted one, fetched if it is not there yet.
    pub(super) fn obtain(wanted: &Wanted, anew: bool) -> Result<Self> {
        ensure!(
            env::consts::ARCH == "x86_64",
            "`cargo xtask vm` knows the kernel and the machine of x86_64 only, and this is {}",
            env::consts::ARCH
        );
        let apt = Apt::open(anew)?;
        let names = apt.names("linux-")?;
        let Some((package, release)) = wanted.among(&names) else {
            bail!("Debian has no such kernel; `--kernel` takes `newest` or a version like 6.1 or 6.12");
        };
        let kernel = Self { release: release.to_owned(), folder: folder().join("kernels").join(release) };
        if !kernel.folder.exists() {
            // The modules are in the same package or in one of their own.
            let modules = format!("linux-modules-{release}");
            let own = names.contains(&modules).then_some(modules.as_str());
            let packages: Vec<_> = [package].into_iter().chain(own).collect();
            kernel.unpack(&apt, &packages).with_context(|| format!("kernel {release}"))?;
        }
        Ok(kernel)
    }

    /// Its version as packages of its source are called by: 7.3.
    pub(super) fn series(&self) -> String {
        let numbers = version(&self.release);
        numbers.iter().take(2).map(u32::to_string).collect::<Vec<_>>().join(".")
    }

    /// The compressed image that is booted.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// A folder named by the release.
    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.release)
    }

    fn unpack(&self, apt: &Apt, packages: &[&str]) -> Result<()> {
        let parent = self.folder.parent().context("no folder for kernels")?;
        fs::create_dir_all(parent)?;
        let unpacked = tempfile::tempdir_in(parent)?;
        apt.unpack(packages, unpacked.path())?;
        let made = tempfile::tempdir_in(parent)?;
        let images = [
            Path::new("boot").join(format!("vmlinuz-{}", self.release)),
            Path::new("usr/lib/modules").join(&self.release).join("vmlinuz.unsigned"),
        ];
        let image = images.map(|image| unpacked.path().join(image)).into_iter().find(|image| image.exists());
        fs::rename(image.context("no image in the package")?, made.path().join("vmlinuz"))?;
        let modules = ["usr/lib/modules", "lib/modules"].map(|folder| unpacked.path().join(folder));
        let modules = modules.into_iter().find(|folder| folder.join(&self.release).join("kernel").exists());
        fs::create_dir(made.path().join("lib"))?;
        fs::rename(modules.context("no modules in the packages")?, made.path().join("lib/modules"))?;
        // It warns of lists that newer packages come without.
        said(Command::new("depmod").arg("--basedir").arg(made.path()).arg(&self.release))?;
        fs::rename(made.keep(), &self.folder)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_what_is_wanted_is_taken() {
        let names = [
            "linux-image-6.1.0-47-cloud-amd64-unsigned",
            "linux-image-6.1.0-156-cloud-amd64-unsigned",
            "linux-image-6.1.0-200-amd64-unsigned",
            "linux-image-6.1.0-300-cloud-amd64",
            "linux-image-6.12-cloud-amd64-unsigned",
            "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
            "linux-binary-unsigned-7.2.12+deb13-cloud-amd64",
            "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.4.0+deb13-cloud-amd64",
        ]
        .map(str::to_owned);
        let taken =
            |wanted: &str| wanted.parse::<Wanted>().unwrap().among(&names).map(|(_, release)| release);
        assert_eq!(taken("newest"), Some("7.3.4+deb13-cloud-amd64"));
        assert_eq!(taken("6.1"), Some("6.1.0-156-cloud-amd64"));
        assert_eq!(taken("6.12"), Some("6.12.117+deb12-cloud-amd64"));
        assert_eq!(taken("7.2"), Some("7.2.12+deb13-cloud-amd64"));
        assert_eq!(taken("6"), Some("6.12.117+deb12-cloud-amd64"));
        assert_eq!(taken("5.10"), None);
        "new".parse::<Wanted>().unwrap_err();
    }
}
