//! What form of answer a client accepts.

use http::{HeaderMap, header};

/// A form of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object or list itself.
    Json,
    /// A `meta.k8s.io` Table; the version asked for.
    Table(&'static str),
    /// Metadata alone.
    Partial(&'static str),
    /// Aggregated discovery; the version asked for.
    Aggregated(&'static str),
}

/// The first form that is offered here among those accepted; `None`: none is.
pub(crate) fn form(headers: &HeaderMap) -> Option<Form> {
    let mut seen = false;
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|r| !r.is_empty()) {
            seen = true;
            if let Some(form) = offered(range) {
                return Some(form);
            }
        }
    }
    (!seen).then_some(Form::Json)
}

fn offered(range: &str) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?;
    if !matches!(media_type, "application/json" | "application/*" | "*/*") {
        return None;
    }
    let (mut kind, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => kind = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            // Weights, character sets and pretty printing change nothing.
            _ => {}
        }
    }
    let version = match version {
        "v1" => "v1",
        "v1beta1" => "v1beta1",
        "v2" => "v2",
        "v2beta1" => "v2beta1",
        _ => "",
    };
    match (kind, group, version) {
        ("", _, _) => Some(Form::Json),
        ("Table", "meta.k8s.io", v @ ("v1" | "v1beta1")) => Some(Form::Table(v)),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", v @ ("v1" | "v1beta1")) => {
            Some(Form::Partial(v))
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", v @ ("v2" | "v2beta1")) => Some(Form::Aggregated(v)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_form_wins() {
        for (accept, expected) in [
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Form::Table("v1"))),
            ("application/json;as=Table;v=v1;g=other,application/json", Some(Form::Json)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Json)),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Partial("v1"))),
            ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", Some(Form::Aggregated("v2"))),
            ("*/*", Some(Form::Json)),
            ("application/vnd.kubernetes.protobuf", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            assert_eq!(form(&headers), expected, "{accept}");
        }
        assert_eq!(form(&HeaderMap::new()), Some(Form::Json));
    }
}
