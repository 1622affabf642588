//! What every task of one service port shares, and the state all ports of a proxy share.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::backend::{Backend, Lease};
use super::balance::Table;
use super::bind::{Binder, PortReport, PortState, Wanted};
use super::budget::Budget;
use super::config::ProxyConfig;
use super::metrics::Counters;
use super::tunnel::Tunnel;

/// Shared by all ports of one proxy.
pub(super) struct Shared {
    pub(super) config: ProxyConfig,
    pub(super) budget: Budget,
    pub(super) binder: Arc<dyn Binder>,
    /// The way to pods of other nodes, where there is one.
    pub(super) tunnel: Option<Arc<dyn Tunnel>>,
    pub(super) reports: mpsc::Sender<PortReport>,
    /// Becomes true when everything must end at once.
    pub(super) halt: watch::Sender<bool>,
}

/// One service port on one virtual IP.
pub(super) struct Port {
    pub(super) wanted: Wanted,
    pub(super) counters: Arc<Counters>,
    pub(super) shared: Arc<Shared>,
    pub(super) table: Mutex<Table>,
    http: AtomicBool,
    state: Mutex<Option<PortState>>,
}

impl Port {
    pub(super) fn new(wanted: Wanted, counters: Arc<Counters>, shared: Arc<Shared>) -> Self {
        let table = Mutex::new(Table::new(shared.config.affinity_clients_per_port));
        Self { wanted, counters, shared, table, http: AtomicBool::new(false), state: Mutex::new(None) }
    }

    pub(super) fn is_http(&self) -> bool {
        self.http.load(Ordering::Relaxed)
    }

    /// Holds for connections accepted from now on.
    pub(super) fn set_http(&self, http: bool) {
        self.http.store(http, Ordering::Relaxed);
    }

    pub(super) fn pick(&self, client: Ipv4Addr, tried: &[Arc<Backend>]) -> Option<Lease> {
        self.table.lock().pick(client, tried, Instant::now())
    }

    /// The endpoint failed a connect: for a moment others come first.
    pub(super) fn suspect(&self, backend: &Backend) {
        backend.suspect(Instant::now() + self.shared.config.suspicion);
    }

    pub(super) fn state(&self) -> Option<PortState> {
        self.state.lock().clone()
    }

    /// Keeps the state and reports it when it is news. A full channel drops the report: the state can still be read.
    pub(super) fn set_state(&self, state: PortState) {
        let Wanted { service, protocol, port, .. } = self.wanted.clone();
        let mut current = self.state.lock();
        if current.as_ref() == Some(&state) {
            return;
        }
        *current = Some(state.clone());
        if self.shared.reports.try_send(PortReport { service, protocol, port, state }).is_err() {
            tracing::debug!(service = %self.wanted.service, port, "a port report found no reader");
        }
    }
}
