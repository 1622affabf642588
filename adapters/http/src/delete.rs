//! Deleting one object or all of a selection, with options from the body or the query.

use crate::body::Body;
use crate::decode::{media_type, parse};
use crate::error::{Failure, json_response, success};
use crate::route::Address;
use crate::service::Call;
use http::{Response, StatusCode};
use serde_json::Value;
use steersman_application::client::{Client as _, DeleteOptions, Propagation, Write, WriteOptions};
use steersman_domain::{Kind, Revision, Stored, Uid};

impl Call<'_> {
    /// Deletes an object, or begins to.
    pub(crate) async fn delete(self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let options = self.delete_options(body).await?;
        let stored = self.api().delete(&key, &options).await?;
        Ok(self.deleted(address, &stored))
    }

    /// The object while it is still there (pods, and for who prefers it, in any case), else that it is gone.
    fn deleted(&self, address: &Address, stored: &Stored) -> Response<Body> {
        let meta = stored.object.meta();
        let asked = self.headers.get_all("prefer").iter().any(|v| v.as_bytes() == b"return=representation");
        if address.kind == Kind::Pod || meta.is_deleting() || asked {
            return self.renderer(address).answer(StatusCode::OK, stored);
        }
        json_response(StatusCode::OK, &success(Some((&stored.key, meta.uid.as_str()))))
    }

    /// Deletes every selected object; answers them as a list.
    pub(crate) async fn delete_collection(self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        if address.wire.namespaced && address.namespace.is_none() {
            return Err(Failure::method_not_allowed());
        }
        let options = self.delete_options(body).await?;
        let selection = self.selection(address)?;
        let deleted = self.api().delete_selected(&selection, &options).await?;
        let revision = self.api().head().await?.revision;
        Ok(self.renderer(address).list(deleted, revision, None, None))
    }

    /// Evicts a pod: deletes it with the options in the eviction.
    pub(crate) async fn evict(self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let bytes = body.read().await?;
        let (eviction, _) = parse(media_type(self.headers), &bytes)?;
        let api_version = eviction["apiVersion"].as_str().unwrap_or("policy/v1");
        if !matches!(api_version, "policy/v1" | "policy/v1beta1") {
            let message = format!("an eviction is of policy/v1 or policy/v1beta1, not {api_version}");
            return Err(Failure::bad_request(message));
        }
        if eviction["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty() && name != key.name) {
            return Err(Failure::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut options = read_options(&eviction["deleteOptions"])?;
        options.dry_run |= self.query.dry_run()?;
        self.api().evict(&key, &options).await?;
        Ok(json_response(StatusCode::CREATED, &success(None)))
    }

    /// Binds the pod of an address to the node in the body.
    pub(crate) async fn bind(self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let options = self.write_options()?;
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let bytes = body.read().await?;
        let (binding, _) = parse(media_type(self.headers), &bytes)?;
        self.perform_binding(key, &binding, &options).await
    }

    /// Binds the pod that the body names.
    pub(crate) async fn bindings(self, namespace: &str, body: Body) -> Result<Response<Body>, Failure> {
        if !self.user.is_master() {
            return Err(Failure::forbidden(format!(
                "bindings is forbidden: User \"{}\" cannot create them",
                self.user.name
            )));
        }
        if self.method != http::Method::POST {
            return Err(Failure::method_not_allowed());
        }
        let options = self.write_options()?;
        let bytes = body.read().await?;
        let (binding, _) = parse(media_type(self.headers), &bytes)?;
        let name = binding["metadata"]["name"].as_str().unwrap_or_default();
        let key = steersman_domain::Key::new(Kind::Pod, namespace, name);
        self.perform_binding(key, &binding, &options).await
    }

    async fn perform_binding(
        self,
        key: steersman_domain::Key,
        binding: &Value,
        options: &WriteOptions,
    ) -> Result<Response<Body>, Failure> {
        let target = &binding["target"];
        let node = target["name"].as_str().unwrap_or_default();
        if node.is_empty() {
            return Err(Failure::invalid_parameter("target.name", "Required value: name the node"));
        }
        if !matches!(target["kind"].as_str(), None | Some("" | "Node")) {
            return Err(Failure::invalid_parameter("target.kind", "Unsupported value: supported values: \"Node\""));
        }
        let uid = Uid::from(binding["metadata"]["uid"].as_str().unwrap_or_default());
        let write = Write::Bind { pod: key, uid, node: node.into() };
        for answer in self.api().write(vec![write], options).await {
            answer?;
        }
        Ok(json_response(StatusCode::CREATED, &success(None)))
    }

    async fn delete_options(&self, body: Body) -> Result<DeleteOptions, Failure> {
        let bytes = body.read().await?;
        let mut options = if bytes.iter().all(u8::is_ascii_whitespace) {
            DeleteOptions::default()
        } else {
            read_options(&parse(media_type(self.headers), &bytes)?.0)?
        };
        if let Some(grace) = self.query.number("gracePeriodSeconds")? {
            options.grace_period_seconds = Some(grace);
        }
        if let Some(policy) = Some(self.query.get("propagationPolicy")).filter(|p| !p.is_empty()) {
            options.propagation = Some(propagation(policy)?);
        }
        if let Some(orphan) = self.query.choice("orphanDependents")? {
            options.propagation = options.propagation.or(Some(by_orphan(orphan)));
        }
        options.dry_run |= self.query.dry_run()?;
        Ok(options)
    }
}

fn by_orphan(orphan: bool) -> Propagation {
    if orphan { Propagation::Orphan } else { Propagation::Background }
}

fn propagation(text: &str) -> Result<Propagation, Failure> {
    match text {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => {
            let message =
                format!("Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\"");
            Err(Failure::invalid_parameter("propagationPolicy", message))
        }
    }
}

fn read_options(value: &Value) -> Result<DeleteOptions, Failure> {
    let mut options = DeleteOptions::default();
    match value {
        Value::Null => return Ok(options),
        Value::Object(_) => {}
        _ => return Err(Failure::bad_request("delete options are an object of kind DeleteOptions")),
    }
    let wrong = |field: &str| Failure::bad_request(format!("DeleteOptions: {field} has the wrong type"));
    match &value["gracePeriodSeconds"] {
        Value::Null => {}
        other => options.grace_period_seconds = Some(other.as_i64().ok_or_else(|| wrong("gracePeriodSeconds"))?),
    }
    match &value["propagationPolicy"] {
        Value::Null => {}
        other => options.propagation = Some(propagation(other.as_str().ok_or_else(|| wrong("propagationPolicy"))?)?),
    }
    if let (None, Some(orphan)) = (options.propagation, value["orphanDependents"].as_bool()) {
        options.propagation = Some(by_orphan(orphan));
    }
    let preconditions = &value["preconditions"];
    options.uid = preconditions["uid"].as_str().filter(|u| !u.is_empty()).map(Uid::from);
    if let Some(text) = preconditions["resourceVersion"].as_str().filter(|t| !t.is_empty()) {
        options.resource_version = Some(Revision(text.parse().map_err(|_| wrong("preconditions.resourceVersion"))?));
    }
    for value in value["dryRun"].as_array().into_iter().flatten() {
        match value.as_str() {
            Some("All") => options.dry_run = true,
            _ => return Err(Failure::invalid_parameter("dryRun", "Unsupported value: supported values: \"All\"")),
        }
    }
    Ok(options)
}
