//! `vm`: the tests of the process runtime on a host of another kind: a small machine, emulated by QEMU, whose kernel has
//! all its control groups in the second version. The machine consists of Debian's kernel, a busybox, the test binary and
//! the programs that its scripts call; it has no disk and no network.
//!
//! Needs Debian's packages `qemu-system-x86` (installed, or on `PATH`), and fetches the kernel and busybox.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::kubectl::{apt_options, download, is_root, on_path};
use crate::run::{capture, cargo, run};
use crate::tools::tools_dir;

/// What names the newest kernel for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";
/// Which tests run: those that limit, kill and take over.
const TESTS: &[&str] = &["limits", "life", "adoption", "identity"];
/// Programs that the scripts of those tests call.
const PROGRAMS: &[&str] = &[
    "sh", "cat", "cut", "dd", "env", "grep", "head", "id", "kill", "ls", "mkdir", "ps", "readlink", "rm", "sed", "seq",
    "setsid", "sleep", "sort", "stat", "tail", "timeout", "touch", "tr", "umount", "wc",
];
/// The longest that a run may take, in seconds: an emulated machine is some ten times slower than this one.
const PATIENCE: &str = "600";
/// What the machine says last when all is well.
const GOOD: &str = "the tests ended with 0";

/// Builds the machine and runs it.
///
/// # Errors
/// When a tool cannot be had, something does not build, or a test fails.
pub(crate) fn vm() -> Result<()> {
    let qemu = qemu()?;
    let kernel = kernel()?;
    let busybox = unpacked("busybox-static")?.join("bin/busybox");
    let binaries = binaries()?;
    let dir = tools_dir()?.join("vm");
    let root = dir.join("root");
    if root.exists() {
        std::fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    println!("-- building the machine in {}", dir.display());
    furnish(&root, &busybox, &binaries)?;
    let image = dir.join("machine.cpio");
    let pack = format!("{} find . | {} cpio -o -H newc > {}", busybox.display(), busybox.display(), image.display());
    run(Command::new("sh").args(["-c", &pack]).current_dir(&root).stderr(Stdio::null()))?;
    println!("-- running it");
    start(&qemu, &kernel, &image)
}

fn qemu() -> Result<PathBuf> {
    let find = || on_path("qemu-system-x86_64", std::env::var_os("PATH").as_deref());
    if let Some(found) = find() {
        return Ok(found);
    }
    if is_root()? {
        println!("-- installing Debian's qemu-system-x86");
        let words = ["install", "--yes", "--quiet", "--no-install-recommends", "qemu-system-x86"];
        run(Command::new("apt-get").arg("update").arg("--quiet").stdout(Stdio::null()))?;
        run(Command::new("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))?;
    }
    find().context("there is no qemu-system-x86_64: install the package qemu-system-x86")
}

/// The folder into which a package was unpacked, fetched if need be.
fn unpacked(package: &str) -> Result<PathBuf> {
    let dir = tools_dir()?.join(package);
    if dir.join("whole").is_file() {
        return Ok(dir);
    }
    println!("-- fetching Debian's {package} once into {}", dir.display());
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = download(package, &dir)?;
    run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&dir))?;
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    // Written last: a fetch that was broken off is done again.
    std::fs::write(dir.join("whole"), "").context("cannot mark the package as whole")?;
    Ok(dir)
}

fn kernel() -> Result<PathBuf> {
    let options = apt_options(KERNEL)?;
    let depends = capture(Command::new("apt-cache").args(options).args(["depends", KERNEL]))?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.with_context(|| format!("Debian has no {KERNEL}: run `apt-get update`"))?;
    let boot = unpacked(package)?.join("boot");
    let files = std::fs::read_dir(&boot).with_context(|| format!("{} holds no kernel", boot.display()))?;
    let kernel = files.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz"));
    Ok(kernel.with_context(|| format!("{} holds no kernel", boot.display()))?.path())
}

/// What cargo builds for the tests of the process runtime; the test binary comes last.
fn binaries() -> Result<Vec<PathBuf>> {
    println!("-- building the tests of the process runtime");
    let words = ["test", "--package", "steersman-runtime", "--test", "process", "--no-run", "--message-format", "json"];
    let told = capture(cargo(&words)?.stderr(Stdio::inherit()))?;
    let mut found: Vec<PathBuf> = told
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    found.sort_by_key(|path| path.parent().is_some_and(|dir| dir.ends_with("deps")));
    if found.len() < 2 { bail!("cargo built no tests of the process runtime") } else { Ok(found) }
}

/// Makes the machine's files: each binary where it lies here, since the tests find their helpers by that path.
fn furnish(root: &Path, busybox: &Path, binaries: &[PathBuf]) -> Result<()> {
    for dir in ["proc", "sys", "dev", "tmp", "bin", "usr/bin", "etc", "root", "mnt", "var"] {
        std::fs::create_dir_all(root.join(dir)).with_context(|| format!("cannot make {dir}"))?;
    }
    copy(busybox, &root.join("bin/busybox"))?;
    let mut libraries = BTreeSet::new();
    for binary in binaries {
        libraries.extend(libraries_of(binary)?);
        copy(binary, &within(root, binary))?;
    }
    for name in PROGRAMS {
        let path = on_path(name, std::env::var_os("PATH").as_deref());
        let path = path.with_context(|| format!("this machine has no {name} to copy"))?;
        let path = path.canonicalize().with_context(|| format!("cannot find {name}"))?;
        libraries.extend(libraries_of(&path)?);
        copy(&path, &within(root, &path))?;
        for dir in ["bin", "usr/bin"] {
            let link = root.join(dir).join(name);
            if !link.exists() && link.symlink_metadata().is_err() {
                symlink(&path, &link).with_context(|| format!("cannot link {name}"))?;
            }
        }
    }
    for library in libraries {
        copy(&library, &within(root, &library))?;
    }
    for file in ["/etc/passwd", "/etc/group"] {
        copy(Path::new(file), &within(root, Path::new(file)))?;
    }
    let init = root.join("init");
    std::fs::write(&init, script(binaries)).context("cannot write the machine's first program")?;
    std::fs::set_permissions(&init, std::fs::Permissions::from_mode(0o755)).context("cannot make it a program")
}

/// What the machine does: it mounts what the tests need, runs them, and ends.
fn script(binaries: &[PathBuf]) -> String {
    let tests = binaries.last().map(|path| path.display().to_string()).unwrap_or_default();
    format!(
        "#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
$B ln -s /proc/self/fd /dev/fd
$B ln -s fd/1 /dev/stdout
$B ln -s fd/2 /dev/stderr
$B chmod 1777 /tmp
$B mount -t cgroup2 cgroup2 /sys/fs/cgroup
$B ip link set lo up
echo \"controllers of version 2: $($B cat /sys/fs/cgroup/cgroup.controllers)\"
export PATH=/bin:/usr/bin RUST_BACKTRACE=0
cd /tmp
{tests} --include-ignored --test-threads=2 {}
echo \"the tests ended with $?\"
$B poweroff -f
",
        TESTS.join(" ")
    )
}

fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    std::fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

/// The shared libraries that a program loads, its loader among them.
fn libraries_of(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let told = capture(Command::new("ldd").arg(program))?;
    Ok(told.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn start(qemu: &Path, kernel: &Path, image: &Path) -> Result<()> {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", PATIENCE]).arg(qemu);
    // Emulated, so that it works within a virtual machine too.
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"]);
    command.args(["-nographic", "-no-reboot", "-kernel"]).arg(kernel).arg("-initrd").arg(image);
    command.args(["-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start timeout")?;
    let stdout = child.stdout.take().context("the machine has no console")?;
    let (mut good, mut limits) = (false, false);
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read the machine's console")?;
        let line = String::from_utf8_lossy(&line);
        println!("   {}", line.trim_end());
        good |= line.contains(GOOD);
        limits |=
            line.contains("controllers of version 2:") && ["cpu", "memory", "pids"].iter().all(|c| line.contains(c));
    }
    let status = child.wait().context("cannot wait for the machine")?;
    match (limits, good) {
        (false, _) => bail!("the machine ({status}) has not the control groups that it is there for"),
        (true, false) => bail!("the tests failed in the machine ({status})"),
        (true, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_runs_the_last_binary_and_says_how_it_ended() {
        let script = script(&["/t/helper".into(), "/t/deps/process-1".into()]);
        assert!(script.contains("\n/t/deps/process-1 --include-ignored --test-threads=2 limits life"), "{script}");
        assert!(GOOD.starts_with("the tests ended with ") && script.contains("the tests ended with $?"));
    }

    #[test]
    fn a_program_brings_its_libraries() {
        let sh = on_path("sh", std::env::var_os("PATH").as_deref()).expect("every machine has sh");
        assert!(libraries_of(&sh).expect("ldd answers").iter().all(|library| library.is_file()));
    }
}
