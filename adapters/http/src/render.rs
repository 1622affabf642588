//! Objects and lists in the form that the client asked for. A plain object is sent as the bytes it is stored with.

use crate::autoscaling;
use crate::body::Body;
use crate::continuation::Continuation;
use crate::error::{bytes_response, json_response};
use crate::events;
use crate::negotiate::Form;
use crate::route::{Address, Words};
use crate::service::Call;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;
use steersman_domain::{Revision, Stored};
use steersman_kubernetes::Gvk;
use steersman_kubernetes::table::{self, IncludeObject};

/// How the objects of one request are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renderer {
    form: Form,
    include: IncludeObject,
    gvk: Gvk<'static>,
    words: Words,
    /// Seconds since 1970, for ages.
    pub(crate) now: i64,
    /// A stream has named the columns of its table already.
    columns_named: bool,
}

impl Call<'_> {
    pub(crate) fn renderer(&self, address: &Address) -> Renderer {
        Renderer {
            form: self.form,
            include: IncludeObject::from_query(self.query.get("includeObject")),
            gvk: address.gvk(),
            words: address.words(),
            now: self.api().now().secs(),
            columns_named: false,
        }
    }
}

impl Renderer {
    /// The object as JSON in the words of the address.
    pub(crate) fn value(&self, stored: &Stored) -> Value {
        let value = serde_json::from_slice(&stored.json()).unwrap_or(Value::Null);
        match self.words {
            Words::Stored => value,
            Words::NewEvents => events::to_new(value),
            Words::Autoscaling1 => autoscaling::to_v1(value),
        }
    }

    /// The object as tables are made from it.
    fn printed(&self, stored: &Stored) -> Value {
        match self.words {
            Words::Stored | Words::Autoscaling1 => serde_json::from_slice(&stored.json()).unwrap_or(Value::Null),
            Words::NewEvents => self.value(stored),
        }
    }

    /// One object in the form asked for.
    pub(crate) fn object(&self, stored: &Stored) -> Bytes {
        match self.form {
            Form::Json | Form::Aggregated(_) if self.words == Words::Stored => stored.json(),
            Form::Json | Form::Aggregated(_) => self.value(stored).to_string().into(),
            Form::Table(version) => {
                let value = self.printed(stored);
                let mut table = self.table(std::slice::from_ref(&value), version);
                table["metadata"]["resourceVersion"] = json!(stored.revision);
                table.to_string().into()
            }
            Form::Partial(version) => partial(&self.value(stored), version).to_string().into(),
        }
    }

    /// One object of a stream: of all tables in it only the first names its columns.
    pub(crate) fn next_object(&mut self, stored: &Stored) -> Bytes {
        let bytes = self.object(stored);
        self.columns_named = true;
        bytes
    }

    /// One object as an answer.
    pub(crate) fn answer(&self, code: StatusCode, stored: &Stored) -> Response<Body> {
        bytes_response(code, "application/json", self.object(stored))
    }

    fn table(&self, values: &[Value], version: &str) -> Value {
        let mut table = table::table(self.gvk, values, self.now, self.include);
        if self.columns_named {
            table["columnDefinitions"] = Value::Null;
        }
        if version != "v1" {
            let api_version = json!(format!("meta.k8s.io/{version}"));
            table["apiVersion"] = api_version.clone();
            if self.include == IncludeObject::Metadata {
                for row in table["rows"].as_array_mut().into_iter().flatten() {
                    row["object"]["apiVersion"] = api_version.clone();
                }
            }
        }
        table
    }

    /// A list in the form asked for.
    pub(crate) fn list(
        &self,
        items: Vec<Arc<Stored>>,
        revision: Revision,
        next: Option<&Continuation>,
        remaining: Option<usize>,
    ) -> Response<Body> {
        let mut metadata = json!({"resourceVersion": revision});
        if let Some(next) = next {
            metadata["continue"] = json!(next.encode());
            if let Some(remaining) = remaining.filter(|n| *n > 0) {
                metadata["remainingItemCount"] = json!(remaining);
            }
        }
        let kind = format!("{}List", self.gvk.kind);
        let api_version = self.gvk.api_version();
        match self.form {
            Form::Json | Form::Aggregated(_) if self.words == Words::Stored => {
                let head = format!(
                    "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":["
                );
                let mut response = Response::new(Body::objects(head, items));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Form::Json | Form::Aggregated(_) => {
                let items: Vec<Value> = items.iter().map(|s| self.value(s)).collect();
                let list = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items});
                json_response(StatusCode::OK, &list)
            }
            Form::Table(version) => {
                let values: Vec<Value> = items.iter().map(|s| self.printed(s)).collect();
                let mut table = self.table(&values, version);
                table["metadata"] = metadata;
                json_response(StatusCode::OK, &table)
            }
            Form::Partial(version) => {
                let items: Vec<Value> = items.iter().map(|s| partial(&self.value(s), version)).collect();
                let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                    "metadata": metadata, "items": items});
                json_response(StatusCode::OK, &list)
            }
        }
    }

    /// A bookmark: nothing but a revision, up to which everything has been sent.
    pub(crate) fn bookmark(&self, revision: Revision, initial_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision, "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.form {
            Form::Table(version) => {
                json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
                    "columnDefinitions": [], "rows": []})
            }
            Form::Partial(version) => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
            }
            Form::Json | Form::Aggregated(_) => {
                json!({"kind": self.gvk.kind, "apiVersion": self.gvk.api_version(), "metadata": metadata})
            }
        }
    }
}

fn partial(value: &Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": value["metadata"]})
}
