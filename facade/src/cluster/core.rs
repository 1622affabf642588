//! What every cluster has at its core, whatever its store, its clock and its executor are: the API, and the loops that lead
//! it. The live cluster and the simulated one are made of it alike.

use crate::Scheduling;
use crate::explain::RecordExplainer;
use std::sync::Arc;
use steersman_application::client::Client;
use steersman_application::driver::controllers::{self, ControllerHost, Whys};
use steersman_application::driver::housekeeping;
use steersman_application::driver::scheduler::{self, Records, SchedulerCore};
use steersman_application::driver::spawner::Task;
use steersman_application::reconcile::{self, Settings, housekeeping::Retention};
use steersman_application::scheduling::SchedulingContext;
use steersman_application::usecase::logs::LogRegistry;
use steersman_application::usecase::{Api, ApiConfig, ApiPorts};
use steersman_domain::ports::{Clock, Entropy, Store};

/// The ports that a core stands on.
pub(crate) struct CorePorts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// What the parts of a cluster share.
pub(crate) struct Core {
    pub(crate) api: Arc<Api>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) logs: Arc<LogRegistry>,
    pub(crate) config: ApiConfig,
    /// How its controllers work.
    pub(crate) settings: Settings,
    scheduling: Scheduling,
    records: Records,
    whys: Whys,
}

impl Core {
    /// The API on these ports, with nothing in its store and nothing running.
    pub(crate) fn new(ports: CorePorts, config: ApiConfig, scheduling: Scheduling) -> Self {
        let CorePorts { store, clock, entropy } = ports;
        let logs = Arc::new(LogRegistry::default());
        let ports =
            ApiPorts { store: store.clone(), clock: clock.clone(), entropy: entropy.clone(), logs: logs.clone() };
        let api = Arc::new(Api::new(ports, config.clone()));
        let (records, whys) = (Records::default(), Whys::default());
        api.set_explainer(Arc::new(RecordExplainer {
            records: records.clone(),
            whys: whys.clone(),
            legend: scheduling.legend(),
        }));
        Core { api, store, clock, entropy, logs, config, settings: Settings::default(), scheduling, records, whys }
    }

    /// The API in this process.
    pub(crate) fn client(&self) -> Arc<dyn Client> {
        self.api.clone()
    }

    /// The controllers, which know nothing yet.
    pub(crate) fn controllers(&self) -> Task {
        let host = ControllerHost::new(reconcile::all(&self.settings), self.whys.clone());
        Box::pin(controllers::run(host, self.client(), self.clock.clone()))
    }

    /// The scheduler, which knows nothing yet; what former ones decided is still explained.
    pub(crate) fn scheduler(&self, entropy: Arc<dyn Entropy>) -> Task {
        let Scheduling { scheduler, profiles } = self.scheduling.clone();
        let context = SchedulingContext::new(profiles, &self.config.default_runtime);
        let core = SchedulerCore::new(scheduler, context, self.records.clone(), self.clock.clone(), entropy);
        Box::pin(scheduler::run(core, self.client(), self.clock.clone()))
    }

    /// What forgets the past of the store.
    pub(crate) fn housekeeping(&self) -> Task {
        Box::pin(housekeeping::compact(self.store.clone(), self.clock.clone(), Retention::default()))
    }
}
