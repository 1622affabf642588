//! Threads for the service proxy alone. On the threads of everything else a relayed request waits behind writes and
//! watches, and changes threads on its way: both showed as a third less of it.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// The share of the machine's cores that get a proxy thread: one in four, and one at least. A thread relays about as much
/// as client and server on two more cores can take part in.
const CORES_PER_THREAD: usize = 4;

/// A runtime for the proxy. Dropping it, anywhere, ends its threads without waiting for them.
#[derive(Debug)]
pub(crate) struct ProxyThreads(Option<Runtime>);

impl ProxyThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread or no descriptor.
    pub(crate) fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads((cores / CORES_PER_THREAD).max(1)).max_blocking_threads(1);
        builder
            .thread_name("service-proxy")
            .enable_io()
            .enable_time()
            .build()
            .map(|runtime| ProxyThreads(Some(runtime)))
    }

    /// Where to spawn.
    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("taken only by drop").handle()
    }
}

impl Drop for ProxyThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
