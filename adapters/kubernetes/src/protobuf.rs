//! Protobuf request bodies, as kubectl sends them: the magic `k8s\0`, a `runtime.Unknown` envelope naming the
//! kind, and the object itself, decoded to JSON by the field numbers of the field table.
//!
//! Kubernetes' encoder writes every plain field even when it is empty, so zeros are taken as absent unless the
//! field is known to tell zero from absence. Answers are not encoded here; clients accept JSON.

mod decode;
mod wire;

pub(crate) use wire::Writer;

use crate::schema::{Gvk, schema};
use serde_json::Value;
use wire::{Reader, WireValue};

/// The media type of Kubernetes' protobuf bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body could not be decoded; all are the client's fault (400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The body does not begin with the magic bytes.
    #[error("the body is not Kubernetes protobuf: it does not begin with \"k8s\\0\"")]
    NotKubernetes,
    /// The envelope names a kind that is not served.
    #[error("no kind {kind:?} is served in version {api_version:?}")]
    UnknownKind {
        /// As the envelope has it.
        api_version: String,
        /// As the envelope has it.
        kind: String,
    },
    /// The envelope's content is encoded in a way that is not supported.
    #[error("the body is encoded as {0:?}, send it plain")]
    Encoding(String),
    /// The bytes are not a valid message.
    #[error("the body is not valid protobuf: {path}: {problem}")]
    Invalid {
        /// The field that was being read, or the message.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Whether a body claims to be Kubernetes protobuf.
#[must_use]
pub fn is_protobuf(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

/// Decodes a body to JSON with `apiVersion` and `kind`. Fields that the table does not have are skipped, as
/// every protobuf reader does.
///
/// # Errors
/// See [`ProtobufError`]; nothing in the body can make it panic or take more memory than a small multiple of it.
pub fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let raw = body.strip_prefix(MAGIC).ok_or(ProtobufError::NotKubernetes)?;
    let envelope = Envelope::read(raw)?;
    if !envelope.content_encoding.is_empty() {
        return Err(ProtobufError::Encoding(envelope.content_encoding.to_owned()));
    }
    let gvk = Gvk::from_api_version(envelope.api_version, envelope.kind);
    let Some(id) = schema().of_kind(gvk) else {
        let (api_version, kind) = (envelope.api_version.to_owned(), envelope.kind.to_owned());
        return Err(ProtobufError::UnknownKind { api_version, kind });
    };
    let mut object = match envelope.content_type {
        "" | MEDIA_TYPE => decode::message(id, envelope.raw)?,
        "application/json" => serde_json::from_slice(envelope.raw).map_err(|e| invalid("raw", &e.to_string()))?,
        other => return Err(ProtobufError::Encoding(other.to_owned())),
    };
    let Value::Object(map) = &mut object else {
        return Err(invalid("raw", "expected an object"));
    };
    map.insert("apiVersion".to_owned(), Value::from(envelope.api_version));
    map.insert("kind".to_owned(), Value::from(envelope.kind));
    Ok(object)
}

fn invalid(path: &str, problem: &str) -> ProtobufError {
    ProtobufError::Invalid { path: path.to_owned(), problem: problem.to_owned() }
}

/// `k8s.io.apimachinery.pkg.runtime.Unknown`.
#[derive(Default)]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
    content_encoding: &'a str,
    content_type: &'a str,
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let bad = |problem: &'static str| invalid("the envelope", problem);
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).map_err(|_| bad("text that is not UTF-8"));
        let mut envelope = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next().map_err(bad)? {
            match (number, value) {
                (1, WireValue::Bytes(meta)) => {
                    let mut inner = Reader::new(meta);
                    while let Some((number, value)) = inner.next().map_err(bad)? {
                        match (number, value) {
                            (1, WireValue::Bytes(bytes)) => envelope.api_version = text(bytes)?,
                            (2, WireValue::Bytes(bytes)) => envelope.kind = text(bytes)?,
                            _ => {}
                        }
                    }
                }
                (2, WireValue::Bytes(bytes)) => envelope.raw = bytes,
                (3, WireValue::Bytes(bytes)) => envelope.content_encoding = text(bytes)?,
                (4, WireValue::Bytes(bytes)) => envelope.content_type = text(bytes)?,
                _ => {}
            }
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests;
