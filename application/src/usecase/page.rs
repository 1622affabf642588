//! Lists, whole or in pages, with selectors applied.

use super::{Api, fields, select};
use crate::client::{ApiError, Selection};
use std::sync::Arc;
use steersman_domain::ports::ListQuery;
use steersman_domain::{Key, Revision, Stored};

/// Which page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// Start after this key.
    pub after: Option<Key>,
    /// At most this many; 0: all.
    pub limit: usize,
    /// As of this revision; `None`: now.
    pub at: Option<Revision>,
}

/// A page of selected objects, consistent at `revision`, in key order.
#[derive(Clone, Debug)]
pub struct Page {
    /// The objects, in order of their keys.
    pub items: Vec<Arc<Stored>>,
    /// The revision that they are as of.
    pub revision: Revision,
    /// Where the next page starts; `None`: this was the last.
    pub next: Option<Key>,
    /// How many objects follow; `None` where selectors make it unknown.
    pub remaining: Option<usize>,
}

impl Api {
    /// A page of selected objects.
    pub async fn list_page(&self, selection: &Selection, page: &PageQuery) -> Result<Page, ApiError> {
        fields::check(selection)?;
        let everything = selection.labels.is_empty() && selection.fields.0.is_empty();
        let query = |after: Option<Key>, at| ListQuery { scope: selection.scope.clone(), after, limit: page.limit, at };
        let mut found = self.store.list(query(page.after.clone(), page.at)).await?;
        let revision = found.revision;
        if everything {
            let next = (found.remaining > 0).then(|| found.items.last().map(|s| s.key.clone())).flatten();
            return Ok(Page { items: found.items, revision, next, remaining: Some(found.remaining) });
        }
        let mut items = Vec::new();
        loop {
            let last = found.items.last().map(|s| s.key.clone());
            for stored in found.items {
                if select::matches(selection, &stored) {
                    items.push(stored);
                    if page.limit > 0 && items.len() == page.limit {
                        return Ok(self.cut(items, revision, found.remaining, last));
                    }
                }
            }
            if found.remaining == 0 || last.is_none() {
                return Ok(Page { items, revision, next: None, remaining: None });
            }
            found = self.store.list(query(last, Some(revision))).await?;
        }
    }

    /// A full page. There may be more behind its last item, matching or not.
    fn cut(&self, items: Vec<Arc<Stored>>, revision: Revision, remaining: usize, last: Option<Key>) -> Page {
        let end = items.last().map(|s| s.key.clone());
        let more = remaining > 0 || end != last;
        Page { next: if more { end } else { None }, items, revision, remaining: None }
    }
}
