//! The one macro behind every entity: a struct whose known fields are typed and whose unknown fields ride along as
//! raw JSON text, so that what a client wrote comes back whole. It decides nothing about meaning or defaults.

use crate::Str;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The fields of an entity that Steersman carries without acting on them: raw, compact JSON text by field name,
/// in name order. Empty at the cost of one pointer.
#[derive(Clone, Default)]
pub struct Extra(Option<Box<Fields>>);

/// Raw JSON text by field name, in name order.
type Fields = Vec<(Str, Arc<RawValue>)>;

impl Extra {
    /// The raw JSON text of a carried field.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == field).map(|(_, raw)| raw)
    }

    /// All carried fields as (name, raw JSON text), in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|list| list.iter()).map(|(name, raw)| (name.as_str(), raw.get()))
    }

    /// Whether nothing is carried.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Carries `raw` (JSON text) under `field`, replacing what was there; white space outside strings is dropped.
    pub fn insert(&mut self, field: &str, raw: Box<RawValue>) {
        let raw: Arc<RawValue> = compact(raw).into();
        let list = self.0.get_or_insert_default();
        match list.binary_search_by(|(name, _)| name.as_str().cmp(field)) {
            Ok(at) => list[at].1 = raw,
            Err(at) => list.insert(at, (field.into(), raw)),
        }
    }

    /// Drops a carried field.
    pub fn remove(&mut self, field: &str) {
        if let Some(list) = &mut self.0 {
            list.retain(|(name, _)| name != field);
            if list.is_empty() {
                self.0 = None;
            }
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Str, &RawValue)> {
        self.0.iter().flat_map(|list| list.iter()).map(|(name, raw)| (name, &**raw))
    }
}

impl PartialEq for Extra {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Drops the white space outside strings, so that carried text costs no more than it must.
fn compact(raw: Box<RawValue>) -> Box<RawValue> {
    let text = raw.get();
    if !text.bytes().any(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')) {
        return raw;
    }
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if quoted {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
            out.push(c);
        } else if !matches!(c, ' ' | '\n' | '\r' | '\t') {
            quoted = c == '"';
            out.push(c);
        }
    }
    RawValue::from_string(out).unwrap_or(raw)
}

/// Whether a field holds its empty value and is left out when written (`omitempty`).
pub(crate) trait Omit {
    fn omit(&self) -> bool;
}

impl<T> Omit for Option<T> {
    fn omit(&self) -> bool {
        self.is_none()
    }
}

impl<T> Omit for Vec<T> {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}

impl Omit for Str {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}

impl Omit for String {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}

impl Omit for bool {
    fn omit(&self) -> bool {
        !self
    }
}

macro_rules! omit_zero {
    ($($t:ty),*) => { $(impl Omit for $t { fn omit(&self) -> bool { *self == 0 } })* };
}
omit_zero!(i32, i64, u16, u32, u64);

impl<T: Omit> Omit for Arc<T> {
    fn omit(&self) -> bool {
        (**self).omit()
    }
}

/// A field name, borrowed from the input where it can be.
pub(crate) struct FieldName<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for FieldName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = FieldName<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Borrowed(v)))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(v.to_owned())))
            }
            fn visit_string<E: Error>(self, v: String) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(v)))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// Declares an entity: one line per typed field, `name: Type = "wireName"`. An optional `[Kind::X]` after the name
/// makes it a top-level object that writes `apiVersion` and `kind` and skips them when read. A `null` is the
/// field's default. Unknown fields are kept in `extra`.
macro_rules! entity {
    ($($(#[$m:meta])* pub struct $name:ident $([$kind:expr])? {
        $($(#[$fm:meta])* $field:ident : $ty:ty = $wire:literal),* $(,)?
    })*) => {$(
        $(#[$m])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $(#[doc = concat!("`", $wire, "`, as Kubernetes has it.\n\n")] $(#[$fm])* pub $field: $ty,)*
            /// Fields that are carried, not acted on.
            pub extra: $crate::entity::Extra,
        }

        impl $crate::entity::Omit for $name {
            fn omit(&self) -> bool {
                $($crate::entity::Omit::omit(&self.$field) &&)* self.extra.is_empty()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                $(
                    map.serialize_entry("apiVersion", $kind.info().api_version)?;
                    map.serialize_entry("kind", $kind.info().kind)?;
                )?
                $(if !$crate::entity::Omit::omit(&self.$field) {
                    map.serialize_entry($wire, &self.$field)?;
                })*
                for (name, raw) in self.extra.entries() {
                    map.serialize_entry(name.as_str(), raw)?;
                }
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct EntityVisitor;
                impl<'de> serde::de::Visitor<'de> for EntityVisitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("an object of type ", stringify!($name)))
                    }
                    #[allow(unused_mut)]
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut value = $name::default();
                        while let Some($crate::entity::FieldName(field)) = map.next_key()? {
                            match &*field {
                                $($wire => {
                                    value.$field = map.next_value::<Option<$ty>>()
                                        .map_err(|e| $crate::entity::within($wire, e))?.unwrap_or_default();
                                })*
                                $("apiVersion" | "kind" if { let _ = $kind; true } => {
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                })?
                                _ => {
                                    let raw: Box<serde_json::value::RawValue> = map.next_value()?;
                                    if raw.get() != "null" {
                                        value.extra.insert(&field, raw);
                                    }
                                }
                            }
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_map(EntityVisitor)
            }
        }
    )*};
}
pub(crate) use entity;

/// Puts the field's name in front of a decoding error, so that the message holds the whole path.
pub(crate) fn within<E: Error>(field: &str, error: E) -> E {
    let message = error.to_string();
    match message.strip_prefix('\u{1}') {
        Some(rest) => E::custom(format!("\u{1}{field}.{rest}")),
        None => E::custom(format!("\u{1}{field}: {message}")),
    }
}

/// The message of a decoding error as a person reads it: `spec.replicas: invalid type: …`.
pub(crate) fn decode_message(error: &serde_json::Error) -> String {
    error.to_string().replace('\u{1}', "")
}
