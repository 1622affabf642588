//! Patches: applied to what is stored, then written as an update. When the patch names no revision, a conflict means that
//! somebody else was faster, and the patch is applied anew.

use crate::body::Body;
use crate::decode::media_type;
use crate::error::Failure;
use crate::route::Address;
use crate::service::Call;
use crate::write::part;
use http::{Response, StatusCode};
use serde_json::Value;
use steersman_application::client::{ApiError, Client as _};
use steersman_kubernetes::{
    FieldProblem, Gvk, PatchError, PatchType, carried_fields, check_fields, duplicate_fields, json_patch, merge_patch,
    strategic_merge, yaml_documents,
};

/// As often as Kubernetes' API server applies a patch anew.
const MOST_ATTEMPTS: usize = 5;

impl From<PatchError> for Failure {
    fn from(error: PatchError) -> Self {
        let message = error.to_string();
        match error {
            PatchError::Malformed(_) => Failure::bad_request(message),
            PatchError::Inapplicable(_) => Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message),
            PatchError::TooLarge(_) => Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message),
            PatchError::Unsupported(_) => Failure::unsupported_media_type(message),
        }
    }
}

/// Applies a patch to an object.
pub(crate) fn apply(form: PatchType, gvk: Gvk<'_>, original: &Value, patch: &Value) -> Result<Value, Failure> {
    Ok(match form {
        PatchType::Json => json_patch(original, patch)?,
        PatchType::Merge => merge_patch(original, patch)?,
        PatchType::Strategic => strategic_merge(gvk, original, patch)?,
    })
}

impl Call<'_> {
    /// Judges what a patch adds; what was stored before is not held against it.
    fn judge_change(
        &mut self,
        gvk: Gvk<'static>,
        original: &Value,
        patched: &Value,
        duplicates: Vec<String>,
    ) -> Result<(), Failure> {
        let known = check_fields(gvk, original);
        let added: Vec<FieldProblem> = check_fields(gvk, patched).into_iter().filter(|p| !known.contains(p)).collect();
        self.judge_problems(gvk, added, duplicates)?;
        let known = carried_fields(gvk, original);
        self.warn_of(carried_fields(gvk, patched).into_iter().filter(|path| !known.contains(path)));
        Ok(())
    }

    /// The form and the content of the patch in a request.
    pub(crate) async fn patch_body(&self, body: Body) -> Result<(PatchType, Value, Vec<String>), Failure> {
        let form = PatchType::from_media_type(media_type(self.headers))?;
        let bytes = body.read().await?;
        // kubectl may send YAML where it says JSON; every JSON text is YAML too, but JSON is read faster.
        let patch = match serde_json::from_slice(&bytes) {
            Ok(patch) => patch,
            Err(error) => {
                let text = std::str::from_utf8(&bytes).unwrap_or_default();
                match yaml_documents(text).map(|mut documents| (documents.pop(), documents.len())) {
                    Ok((Some(patch @ (Value::Object(_) | Value::Array(_))), 0)) => patch,
                    _ => return Err(Failure::bad_request(format!("the patch is not valid JSON: {error}"))),
                }
            }
        };
        Ok((form, patch, duplicate_fields(&bytes).unwrap_or_default()))
    }

    /// Patches an object or its status.
    pub(crate) async fn patch(mut self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let options = self.write_options()?;
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let (form, patch, duplicates) = self.patch_body(body).await?;
        let render = self.renderer(address);
        for attempt in 1.. {
            let stored = self.api().get(&key).await?;
            let original = render.value(&stored);
            let patched = apply(form, address.gvk(), &original, &patch)?;
            // A patch that names a revision (or moves it) is meant for that revision alone.
            let pinned = patched["metadata"]["resourceVersion"] != original["metadata"]["resourceVersion"]
                || patch["metadata"].get("resourceVersion").is_some();
            if attempt == 1 {
                self.judge_change(address.gvk(), &original, &patched, duplicates.clone())?;
            }
            let mut object = self.object(address, patched)?;
            match self.guard_write(address, &mut object).await {
                Err(failure) if failure.reason == "Conflict" && !pinned && attempt < MOST_ATTEMPTS => continue,
                guarded => guarded?,
            }
            match self.api().update(object, part(address), &options).await {
                Err(ApiError::Conflict { .. }) if !pinned && attempt < MOST_ATTEMPTS => {}
                answer => return Ok(render.answer(StatusCode::OK, &*answer?)),
            }
        }
        Err(Failure::no_such_path())
    }
}
