//! Messages to JSON by the field table.

use super::ProtobufError;
use super::wire::{Reader, WireValue};
use crate::check::Path;
use crate::schema::{Base, Field, Shape, TypeId, Wire, schema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Messages are nested no deeper than this; Kubernetes' own types reach about fifteen.
const DEEPEST: usize = 64;

/// Decodes the message of a type.
pub(super) fn message(id: TypeId, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut map = Map::new();
    Decoder { path: Path::default(), depth: 0 }.message(id, bytes, &mut map)?;
    Ok(Value::Object(map))
}

struct Decoder {
    path: Path,
    depth: usize,
}

impl Decoder {
    fn invalid(&self, problem: &str) -> ProtobufError {
        let path = self.path.to_string();
        let path = if path.is_empty() { "the message".to_owned() } else { path };
        ProtobufError::Invalid { path, problem: problem.to_owned() }
    }

    /// Reads one message into an object; what is already there is merged with, as the wire format wants.
    fn message(&mut self, id: TypeId, bytes: &[u8], map: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        if self.depth >= DEEPEST {
            return Err(self.invalid("it is nested too deeply"));
        }
        self.depth += 1;
        let known = schema().get(id);
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next().map_err(|problem| self.invalid(problem))? {
            let Ok(at) = known.wire.binary_search_by_key(&number, |(n, _)| *n) else { continue };
            match (known.wire[at].1, value) {
                (Wire::Inline(inner), WireValue::Bytes(bytes)) => self.message(inner, bytes, map)?,
                (Wire::Inline(_), _) => return Err(self.invalid("an inlined message is not a message")),
                (Wire::Field(field), value) => {
                    let field = &known.fields[usize::from(field)];
                    let outside = self.path.enter(field.name);
                    self.field(field, value, map)?;
                    self.path.leave(outside);
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(
        &mut self,
        field: &Field,
        value: WireValue<'_>,
        map: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        match field.shape {
            Shape::One => match (field.base, value) {
                (Base::Object(id), WireValue::Bytes(bytes)) => {
                    let slot = map.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(inner) = slot {
                        self.message(id, bytes, inner)?;
                    }
                }
                (base, value) => match self.plain(base, value)? {
                    Some(value) if field.required || field.pointer || !is_zero(&value) => {
                        map.insert(field.name.to_owned(), value);
                    }
                    // The last value on the wire counts, also when it is the zero that means absence.
                    _ => {
                        map.remove(field.name);
                    }
                },
            },
            Shape::List(_) => {
                let mut list = match map.remove(field.name) {
                    Some(Value::Array(list)) => list,
                    _ => Vec::new(),
                };
                self.elements(field.base, value, &mut list)?;
                map.insert(field.name.to_owned(), Value::Array(list));
            }
            Shape::Map => {
                let (key, value) = self.entry(field.base, value)?;
                let slot = map.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(entries) = slot {
                    entries.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// One element of a list, or several numbers packed together.
    fn elements(&mut self, base: Base, value: WireValue<'_>, list: &mut Vec<Value>) -> Result<(), ProtobufError> {
        match (base, value) {
            (Base::Object(id), WireValue::Bytes(bytes)) => {
                let mut inner = Map::new();
                self.message(id, bytes, &mut inner)?;
                list.push(Value::Object(inner));
            }
            (Base::Int32 | Base::Int64 | Base::Bool, WireValue::Bytes(bytes)) => {
                let mut reader = Reader::new(bytes);
                while let Some(number) = reader.next_packed().map_err(|problem| self.invalid(problem))? {
                    list.extend(self.plain(base, WireValue::Varint(number))?);
                }
            }
            (base, value) => list.push(self.plain(base, value)?.unwrap_or(Value::Null)),
        }
        Ok(())
    }

    /// A map's entry is a message of key and value.
    fn entry(&mut self, base: Base, value: WireValue<'_>) -> Result<(String, Value), ProtobufError> {
        let WireValue::Bytes(bytes) = value else {
            return Err(self.invalid("a map entry is not a message"));
        };
        let mut key = String::new();
        let mut found = None;
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next().map_err(|problem| self.invalid(problem))? {
            match (number, value) {
                (1, WireValue::Bytes(bytes)) => key = self.text(bytes)?.to_owned(),
                (2, value) => found = self.plain(base, value)?,
                _ => {}
            }
        }
        let value = match found {
            Some(value) => value,
            None => self.plain(base, WireValue::Bytes(&[]))?.unwrap_or_default(),
        };
        Ok((key, value))
    }

    /// A value that is not an object of the table; nothing for a time that was never set.
    fn plain(&self, base: Base, value: WireValue<'_>) -> Result<Option<Value>, ProtobufError> {
        Ok(match (base, value) {
            (Base::String, WireValue::Bytes(bytes)) => Some(Value::from(self.text(bytes)?)),
            (Base::Bytes, WireValue::Bytes(bytes)) => Some(Value::from(STANDARD.encode(bytes))),
            (Base::Bool, WireValue::Varint(number)) => Some(Value::from(number != 0)),
            // The lower half holds the number, whatever a writer put above it.
            (Base::Int32, WireValue::Varint(number)) => Some(Value::from(number as i32)),
            (Base::Int64, WireValue::Varint(number)) => Some(Value::from(number as i64)),
            (Base::Quantity, WireValue::Bytes(bytes)) => Some(self.quantity(bytes)?),
            (Base::IntOrString, WireValue::Bytes(bytes)) => Some(self.int_or_string(bytes)?),
            (Base::Time, WireValue::Bytes(bytes)) => self.time(bytes, 0)?,
            (Base::MicroTime, WireValue::Bytes(bytes)) => self.time(bytes, 6)?,
            (Base::Raw, WireValue::Bytes(bytes)) => self.raw(bytes)?,
            (Base::Object(_), _) => return Err(self.invalid("expected a message")),
            _ => return Err(self.invalid("the value has another wire type than the field")),
        })
    }

    fn text<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(bytes).map_err(|_| self.invalid("the text is not UTF-8"))
    }

    fn quantity(&self, bytes: &[u8]) -> Result<Value, ProtobufError> {
        let mut text = "0";
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next().map_err(|problem| self.invalid(problem))? {
            if let (1, WireValue::Bytes(bytes)) = (number, value) {
                text = self.text(bytes)?;
            }
        }
        Ok(Value::from(if text.is_empty() { "0" } else { text }))
    }

    fn int_or_string(&self, bytes: &[u8]) -> Result<Value, ProtobufError> {
        let (mut kind, mut number, mut text) = (0, 0, "");
        let mut reader = Reader::new(bytes);
        while let Some((field, value)) = reader.next().map_err(|problem| self.invalid(problem))? {
            match (field, value) {
                (1, WireValue::Varint(value)) => kind = value,
                (2, WireValue::Varint(value)) => number = value as i32,
                (3, WireValue::Bytes(bytes)) => text = self.text(bytes)?,
                _ => {}
            }
        }
        match kind {
            0 => Ok(Value::from(number)),
            1 => Ok(Value::from(text)),
            _ => Err(self.invalid("a value that is neither a number nor text")),
        }
    }

    /// Seconds and nanoseconds since 1970, written with so many decimals; both zero mean unset.
    fn time(&self, bytes: &[u8], decimals: u8) -> Result<Option<Value>, ProtobufError> {
        let (mut seconds, mut nanos) = (0_i64, 0_i32);
        let mut reader = Reader::new(bytes);
        while let Some((field, value)) = reader.next().map_err(|problem| self.invalid(problem))? {
            match (field, value) {
                (1, WireValue::Varint(value)) => seconds = value as i64,
                (2, WireValue::Varint(value)) => nanos = value as i32,
                _ => {}
            }
        }
        if seconds == 0 && nanos == 0 {
            return Ok(None);
        }
        let time = Timestamp::new(seconds, if decimals == 0 { 0 } else { nanos });
        let time = time.map_err(|_| self.invalid("the time is out of range"))?;
        Ok(Some(Value::from(format!("{time:.*}", usize::from(decimals)))))
    }

    /// `RawExtension` and `FieldsV1`: a message whose first field holds JSON.
    fn raw(&self, bytes: &[u8]) -> Result<Option<Value>, ProtobufError> {
        let mut reader = Reader::new(bytes);
        while let Some((field, value)) = reader.next().map_err(|problem| self.invalid(problem))? {
            if let (1, WireValue::Bytes(json)) = (field, value) {
                let parsed = serde_json::from_slice(json);
                return parsed.map(Some).map_err(|_| self.invalid("the embedded object is not JSON"));
            }
        }
        Ok(None)
    }
}

/// What an encoder writes for a plain field that nobody set.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}
