//! The virtual addresses of services.

use super::address;
use super::book::Book;
use super::create::{immutable, invalid};
use super::node_port;
use super::round::Round;
use crate::client::ApiError;
use serde_json::value::RawValue;
use std::net::Ipv4Addr;
use std::sync::Arc;
use steersman_domain::validate::{FieldError, FieldErrorKind};
use steersman_domain::{Object, Service};

const PATH: &str = "spec.clusterIPs[0]";

impl Round<'_> {
    /// Gives a new service its virtual address: the one it asks for, none, or a free one.
    pub(super) async fn allocate(&mut self, service: &mut Service) -> Result<Option<usize>, ApiError> {
        if service.spec.kind.is_empty() {
            service.spec.kind = "ClusterIP".into();
        }
        if service.spec.cluster_ip.is_empty() {
            service.spec.cluster_ip = service.spec.cluster_ips.first().cloned().unwrap_or_default();
        }
        for (field, json) in [("ipFamilies", r#"["IPv4"]"#), ("ipFamilyPolicy", r#""SingleStack""#)] {
            if service.spec.extra.get(field).is_none()
                && let Ok(raw) = RawValue::from_string(json.into())
            {
                service.spec.extra.insert(field, raw);
            }
        }
        if service.is_headless() {
            service.spec.cluster_ips = vec!["None".into()];
            return Ok(None);
        }
        let index = self.address_book().await?;
        let (cidr, random) = (self.api.config.service_cidr, self.api.entropy.random());
        let Some(ledger) = self.book(index).and_then(Book::addresses) else { return Ok(None) };
        let wanted = service.spec.cluster_ip.clone();
        let refuse = |service: &Service, detail: String| {
            let error = FieldError::new(FieldErrorKind::Invalid, PATH, detail).value(wanted.as_str());
            Err(invalid(&Object::Service(Arc::new(service.clone())), error))
        };
        let address = if wanted.is_empty() {
            match cidr.free(ledger, random) {
                Some(address) => address,
                None => return refuse(service, format!("failed to allocate an address: the range {cidr} is full")),
            }
        } else {
            match wanted.parse::<Ipv4Addr>() {
                Ok(address) if cidr.usable(address) => address,
                _ => {
                    return refuse(
                        service,
                        format!(
                            "failed to allocate IP {wanted}: the provided IP is not in the valid range. \
                             The range of valid IPs is {cidr}"
                        ),
                    );
                }
            }
        };
        if address::is_taken(ledger, address) {
            return refuse(service, format!("failed to allocate IP {address}: provided IP is already allocated"));
        }
        if let Err(error) = self.settle_node_ports(service, None).await? {
            return Err(invalid(&Object::Service(Arc::new(service.clone())), error));
        }
        if let Some(ledger) = self.book(index).and_then(Book::addresses) {
            address::take(ledger, address);
        }
        service.spec.cluster_ip = address.to_string().into();
        service.spec.cluster_ips = vec![service.spec.cluster_ip.clone()];
        Ok(Some(index))
    }

    /// Frees the address of a service that goes.
    pub(super) async fn release_address(&mut self, service: &Service) -> Result<Option<usize>, ApiError> {
        let Ok(address) = service.spec.cluster_ip.parse::<Ipv4Addr>() else { return Ok(None) };
        let index = self.address_book().await?;
        if let Some(ledger) = self.book(index).and_then(Book::addresses) {
            address::release(ledger, address);
            node_port::release(ledger, service);
        }
        Ok(Some(index))
    }
}

/// Keeps the address of a service over an update that does not name it; refuses to change it.
pub(super) fn keep_address(new: &mut Service, old: &Service) -> Option<FieldError> {
    let spec = &mut new.spec;
    if spec.kind.is_empty() {
        spec.kind = old.spec.kind.clone();
    }
    if spec.cluster_ip.is_empty() {
        spec.cluster_ip = old.spec.cluster_ip.clone();
    }
    if spec.cluster_ips.is_empty() {
        spec.cluster_ips = old.spec.cluster_ips.clone();
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        if let (None, Some(json)) = (spec.extra.get(field), old.spec.extra.get(field))
            && let Ok(raw) = RawValue::from_string(json.into())
        {
            spec.extra.insert(field, raw);
        }
    }
    if spec.cluster_ip != old.spec.cluster_ip {
        return Some(immutable("spec.clusterIP").value(spec.cluster_ip.as_str()));
    }
    (spec.cluster_ips != old.spec.cluster_ips)
        .then(|| immutable(PATH).value(spec.cluster_ips.first().map_or("", |s| s.as_str())))
}
