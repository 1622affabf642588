//! Which objects of a kind are meant.

use steersman_application::client::{ApiError, Selection};
use steersman_domain::ports::Scope;
use steersman_domain::selector::{FieldSelector, Selector};
use steersman_domain::{Resource, Str};

/// Which objects of a kind to list or watch; by default all of them.
///
/// ```
/// use steersman::Query;
///
/// let query = Query::namespace("shop").label("tier in (web,api)").field("status.phase=Running");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    namespace: Option<Str>,
    labels: String,
    fields: String,
}

fn and(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(more);
}

impl Query {
    /// The objects of every namespace.
    pub fn all() -> Self {
        Query::default()
    }

    /// The objects of this namespace; the empty name means `default`, as everywhere.
    pub fn namespace(namespace: &str) -> Self {
        let namespace = if namespace.is_empty() { "default" } else { namespace };
        Query { namespace: Some(namespace.into()), ..Query::default() }
    }

    /// Only those whose labels are so, as `kubectl --selector` words it: `app=web,tier!=db`. Several must all hold.
    #[must_use]
    pub fn label(mut self, selector: &str) -> Self {
        and(&mut self.labels, selector);
        self
    }

    /// Only those whose fields are so, as `kubectl --field-selector` words it: `spec.nodeName=node-1`. Several must all hold.
    #[must_use]
    pub fn field(mut self, selector: &str) -> Self {
        and(&mut self.fields, selector);
        self
    }

    pub(super) fn selection<T: Resource>(&self) -> Result<Selection, ApiError> {
        let wrong = |what: &str, text: &str, why: String| {
            ApiError::BadRequest(format!("the {what} selector {text:?} cannot be read: {why}"))
        };
        // Objects of the whole cluster are in no namespace, whichever is asked for.
        let namespace = self.namespace.clone().filter(|_| T::KIND.info().namespaced);
        Ok(Selection {
            scope: Scope { kind: Some(T::KIND), namespace, node: None },
            labels: Selector::parse(&self.labels).map_err(|why| wrong("label", &self.labels, why))?,
            fields: FieldSelector::parse(&self.fields).map_err(|why| wrong("field", &self.fields, why))?,
        })
    }
}
