//! Creating and replacing objects.

use crate::body::Body;
use crate::error::Failure;
use crate::route::Address;
use crate::service::Call;
use http::{Response, StatusCode};
use steersman_application::client::{Client as _, Part, WriteOptions};

impl Call<'_> {
    pub(crate) fn write_options(&self) -> Result<WriteOptions, Failure> {
        let manager = self.query.get("fieldManager");
        if manager.len() > 128 {
            return Err(Failure::invalid_parameter("fieldManager", "may not be more than 128 bytes"));
        }
        Ok(WriteOptions { dry_run: self.query.dry_run()?, field_manager: manager.into(), ..WriteOptions::default() })
    }

    /// Creates an object.
    pub(crate) async fn create(mut self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let options = self.write_options()?;
        if address.wire.namespaced && address.namespace.is_none() {
            return Err(Failure::method_not_allowed());
        }
        let value = self.body_value(address.gvk(), body).await?;
        self.warn_of_carried(address, &value).await;
        let mut object = self.object(address, value)?;
        self.guard_write(address, &mut object).await?;
        let stored = self.api().create(object, &options).await?;
        Ok(self.renderer(address).answer(StatusCode::CREATED, &stored))
    }

    /// Replaces an object or a part of it.
    pub(crate) async fn update(mut self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let options = self.write_options()?;
        let part = part(address);
        let value = self.body_value(address.gvk(), body).await?;
        self.warn_of_carried(address, &value).await;
        let mut object = self.object(address, value)?;
        self.guard_write(address, &mut object).await?;
        let stored = self.api().update(object, part, &options).await?;
        Ok(self.renderer(address).answer(StatusCode::OK, &stored))
    }
}

/// The part of the object that an address is about.
pub(crate) fn part(address: &Address) -> Part {
    match address.sub.as_str() {
        "status" => Part::Status,
        "finalize" => Part::Finalize,
        _ => Part::Main,
    }
}
