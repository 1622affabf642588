//! The data directory: private to its owner, used by one process at a time, and holder of the cluster's place among the
//! loopback addresses of the host.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

/// Clusters that one host can hold: as many as there are blocks of addresses.
const CLUSTERS: u16 = 64;
/// Nodes with processes of their own per cluster and host.
pub(crate) const LOCAL_NODES: u16 = 32;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be read or written.
    #[error("data directory {path}: {source}; choose another with --data-dir")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another cluster has it.
    #[error("data directory {path} is in use by another process{}: stop it, or choose another directory with --data-dir", holder(.pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who uses it, where that is known.
        pid: Option<u32>,
    },
    /// Other clusters of this host have all addresses for pods.
    #[error("all {CLUSTERS} blocks of loopback addresses are in use by other clusters on this host: stop one of them")]
    NoAddresses,
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// A data directory, held until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory (mode 0700) where it is missing and takes it for this process.
    ///
    /// # Errors
    /// When it cannot be made or written, or another process holds it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let io_error = |source| DataDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error)?;
        let path = path.canonicalize().map_err(io_error)?;
        let io_error = |source| DataDirError::Io { path: path.clone(), source };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(io_error)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(path.join("lock")).map_err(io_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = lock.read_to_string(&mut text);
                return Err(DataDirError::InUse { path, pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        let write = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write(&mut lock).map_err(io_error)?;
        Ok(DataDir { path, _lock: lock })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster's block of addresses: the one it had before, where that is free.
    ///
    /// # Errors
    /// When the directory cannot be written, or the host has no free block.
    pub(crate) fn addresses(&self) -> Result<Addresses, DataDirError> {
        let file = self.path.join("addresses");
        let before = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u16>().ok());
        let before = before.filter(|block| *block < CLUSTERS);
        let first = before.unwrap_or(0);
        // Pods outlive a crash of what started them: their block waits for it to come back.
        let pods = steersman_runtime::claimed_addresses()
            .map_err(|source| DataDirError::Io { path: PathBuf::from("/proc/net/unix"), source })?;
        let others = |block: u16| before != Some(block) && pods.iter().any(|ip| block_of(*ip) == Some(block));
        let (block, held) = (0..CLUSTERS)
            .map(|n| (first + n) % CLUSTERS)
            .filter(|block| !others(*block))
            .find_map(|block| Some((block, hold(block)?)))
            .ok_or(DataDirError::NoAddresses)?;
        if before != Some(block) {
            fs::write(&file, format!("{block}\n"))
                .map_err(|source| DataDirError::Io { path: self.path.clone(), source })?;
        }
        Ok(Addresses { block, _held: held })
    }
}

/// Takes a block for this process: a name that the kernel frees when the process ends, however it ends.
fn hold(block: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("steersman-addresses-{block}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

/// The block that the address of a pod belongs to.
fn block_of(pod: Ipv4Addr) -> Option<u16> {
    let [net, second, third, _] = pod.octets();
    let node = u16::from_be_bytes([second.checked_sub(72)?, third]);
    (net == 127 && second < 80).then_some(node / LOCAL_NODES)
}

/// A cluster's block of loopback addresses on this host, held until it is dropped: a /20 for services within
/// 127.64.0.0/13, and 32 blocks of /24 for the pods of its nodes within 127.72.0.0/13.
#[derive(Debug)]
pub(crate) struct Addresses {
    block: u16,
    _held: UnixListener,
}

impl Addresses {
    /// The number of the block on this host.
    pub(crate) fn block(&self) -> u16 {
        self.block
    }

    /// The first address of the services' /20.
    pub(crate) fn services(&self) -> Ipv4Addr {
        let [high, low] = (self.block * 16).to_be_bytes();
        Ipv4Addr::new(127, 64 + high, low, 0)
    }

    /// The first address of the functions on the node of this index, and how many there are: a /23 of 127.80.0.0/12.
    pub(crate) fn functions(&self, node: u16) -> (Ipv4Addr, u32) {
        const EACH: u32 = 512;
        let index = u32::from(self.block) * u32::from(LOCAL_NODES) + u32::from(node.min(LOCAL_NODES - 1));
        let first = u32::from(Ipv4Addr::new(127, 80, 0, 0)) + index * EACH;
        (Ipv4Addr::from(first + 1), EACH - 2)
    }

    /// The first address of the /24 of the pods on the node of this index; `None` past the last.
    pub(crate) fn pods(&self, node: u16) -> Option<Ipv4Addr> {
        let [high, low] = (self.block * LOCAL_NODES + node).to_be_bytes();
        (node < LOCAL_NODES).then(|| Ipv4Addr::new(127, 72 + high, low, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data");
        let held = DataDir::open(&path).expect("free");
        assert_eq!(fs::metadata(&path).expect("made").permissions().mode() & 0o777, 0o700);
        let error = DataDir::open(&path).expect_err("in use").to_string();
        assert!(error.contains(&format!("in use by another process (pid {})", std::process::id())), "{error}");
        drop(held);
        DataDir::open(&path).expect("free again");
    }

    #[test]
    fn clusters_do_not_share_addresses_and_keep_theirs() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (DataDir::open(&dir.path().join("a")), DataDir::open(&dir.path().join("b")));
        let (a, b) = (a.expect("free"), b.expect("free"));
        let (first, second) = (a.addresses().expect("free"), b.addresses().expect("free"));
        assert_ne!(first.services(), second.services());
        assert_ne!(first.pods(0), second.pods(0));
        assert_eq!(first.pods(LOCAL_NODES), None);
        let before = second.services();
        drop((first, second));
        assert_eq!(b.addresses().expect("free").services(), before);
    }

    #[test]
    fn blocks_stay_within_their_ranges() {
        for block in [0, CLUSTERS - 1] {
            let held = UnixListener::bind_addr(
                &SocketAddr::from_abstract_name(format!("steersman-test-{}-{block}", std::process::id()))
                    .expect("a name"),
            )
            .expect("free");
            let addresses = Addresses { block, _held: held };
            assert!((64..72).contains(&addresses.services().octets()[1]));
            let last = addresses.pods(LOCAL_NODES - 1).expect("within");
            assert!((72..80).contains(&last.octets()[1]), "{last}");
            assert_eq!(block_of(last), Some(block));
            assert_eq!(block_of(addresses.services()), None);
        }
    }
}
