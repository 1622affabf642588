//! Reading: one object, and lists with selectors, in chunks, at revisions.

use crate::body::Body;
use crate::continuation::{Continuation, expired};
use crate::error::Failure;
use crate::events;
use crate::route::Address;
use crate::service::Call;
use http::{Response, StatusCode};
use steersman_application::client::{ApiError, Client as _, Selection};
use steersman_application::usecase::PageQuery;
use steersman_domain::Revision;
use steersman_domain::ports::Scope;
use steersman_domain::selector::{FieldRequirement, FieldSelector, Selector};

impl Call<'_> {
    /// One object.
    pub(crate) async fn get(&self, address: &Address) -> Result<Response<Body>, Failure> {
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let stored = self.api().get(&key).await?;
        Ok(self.renderer(address).answer(StatusCode::OK, &stored))
    }

    /// What a list, a watch or a delete-collection is about.
    pub(crate) fn selection(&self, address: &Address) -> Result<Selection, Failure> {
        let labels = Selector::parse(self.query.get("labelSelector")).map_err(Failure::bad_request)?;
        let mut fields = FieldSelector::parse(self.query.get("fieldSelector")).map_err(Failure::bad_request)?;
        if address.new_events() {
            fields = events::selector(fields);
        }
        if let Some(name) = &address.name {
            fields.0.push(FieldRequirement { path: "metadata.name".into(), value: name.clone(), equal: true });
        }
        Ok(Selection {
            scope: Scope { kind: Some(address.kind), namespace: address.namespace.clone(), node: None },
            labels,
            fields,
        })
    }

    /// The revision that a read names; `None` when it names none.
    pub(crate) fn revision(&self) -> Result<Option<Revision>, Failure> {
        match self.query.get("resourceVersion") {
            "" => Ok(None),
            text => text.parse().map(|n| Some(Revision(n))).map_err(|_| {
                Failure::bad_request(format!(
                    "Invalid value: {text:?}: resourceVersion must be a number that this server gave"
                ))
            }),
        }
    }

    /// A list, or a chunk of one.
    pub(crate) async fn list(&self, address: &Address) -> Result<Response<Body>, Failure> {
        let selection = self.selection(address)?;
        let limit = usize::try_from(self.query.number("limit")?.unwrap_or(0)).unwrap_or(0);
        let from = match self.query.get("continue") {
            "" => None,
            token => Some(Continuation::decode(address.kind, token)?),
        };
        let at = self.list_revision(limit, from.as_ref()).await?;
        let after = from.as_ref().map(|c| c.after.clone());
        let page = match self.api().list_page(&selection, &PageQuery { after, limit, at }).await {
            Ok(page) => page,
            Err(ApiError::Expired(message)) => {
                return Err(from.as_ref().map_or_else(|| ApiError::Expired(message).into(), expired));
            }
            Err(error) => return Err(error.into()),
        };
        let next = page.next.map(|after| Continuation { at: Some(page.revision), after });
        Ok(self.renderer(address).list(page.items, page.revision, next.as_ref(), page.remaining))
    }

    /// At which revision a list is read, by the table of Kubernetes' "API concepts"; `None`: now.
    async fn list_revision(&self, limit: usize, from: Option<&Continuation>) -> Result<Option<Revision>, Failure> {
        let wanted = self.revision()?;
        let matching = self.query.get("resourceVersionMatch");
        if let Some(from) = from {
            if wanted.is_some_and(|r| r.0 > 0) {
                return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
            }
            return Ok(from.at);
        }
        let forbidden = |why: &str| Err(Failure::invalid_parameter("resourceVersionMatch", why));
        match (matching, wanted) {
            ("", None) => Ok(None),
            (_, None) => forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"),
            ("Exact", Some(Revision(0))) => forbidden("\"Exact\" is forbidden for resourceVersion 0"),
            ("Exact", Some(at)) => Ok(Some(at)),
            // A limit with a revision and no match means that revision, for the sake of old clients.
            ("", Some(at)) if limit > 0 && at.0 > 0 => Ok(Some(at)),
            ("" | "NotOlderThan", Some(at)) => {
                let newest = self.api().head().await?.revision;
                if at > newest {
                    let message = format!("Too large resource version: {at}, current: {newest}");
                    return Err(ApiError::BadRequest(message).into());
                }
                Ok(None)
            }
            (other, _) => forbidden(&format!("supported values: \"Exact\", \"NotOlderThan\", got {other:?}")),
        }
    }
}
