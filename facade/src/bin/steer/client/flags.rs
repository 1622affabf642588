//! Flags that the commands of the client share.

use clap::Args;
use std::path::PathBuf;

/// Which cluster.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClientFlags {
    /// The kubeconfig; else the files of $KUBECONFIG, else $XDG_STATE_HOME/steersman/kubeconfig
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) context: Option<String>,
}

/// Which namespace.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Target {
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    /// The namespace; else the one of the kubeconfig
    #[arg(short, long, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) namespace: Option<String>,
}

/// Which namespace, or all.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ScopeFlags {
    #[command(flatten)]
    pub(crate) target: Target,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace", help_heading = "Cluster")]
    pub(crate) all_namespaces: bool,
}

/// A namespace, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One namespace.
    Namespace(String),
    /// All namespaces.
    All,
}

impl Scope {
    /// The namespace, when it is one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Scope::Namespace(name) => Some(name),
            Scope::All => None,
        }
    }
}

impl Target {
    /// The namespace that is meant; `default` is the kubeconfig's.
    pub(crate) fn namespace(&self, default: &str) -> String {
        self.namespace.clone().unwrap_or_else(|| default.to_owned())
    }
}

impl ScopeFlags {
    /// The scope that is meant; `default` is the kubeconfig's namespace.
    pub(crate) fn scope(&self, default: &str) -> Scope {
        if self.all_namespaces { Scope::All } else { Scope::Namespace(self.target.namespace(default)) }
    }
}
