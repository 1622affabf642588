//! Writes an OpenAPI version 2 document as the protobuf message `openapi.v2.Document` of gnostic
//! (OpenAPIv2.proto), which kubectl asks for. Only what [`super::v2`] writes is covered.

use crate::protobuf::Writer;
use serde_json::Value;

/// The whole document.
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.text(1, text(document, "swagger"));
    writer.message(2, |w| {
        w.text(1, text(&document["info"], "title"));
        w.text(2, text(&document["info"], "version"));
    });
    writer.message(8, |paths| {
        for (name, item) in entries(document, "paths") {
            paths.message(2, |named| {
                named.text(1, name);
                named.message(2, |w| path_item(w, item));
            });
        }
    });
    writer.message(9, |definitions| named_schemas(definitions, document, "definitions"));
    writer.finish()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn entries<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(name).and_then(Value::as_object).into_iter().flatten()
}

fn elements<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn path_item(writer: &mut Writer, item: &Value) {
    for (method, number) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(value) = item.get(method) {
            writer.message(number, |w| operation(w, value));
        }
    }
    for value in elements(item, "parameters") {
        writer.message(9, |w| parameter(w, value));
    }
}

fn operation(writer: &mut Writer, operation: &Value) {
    for tag in elements(operation, "tags").filter_map(Value::as_str) {
        writer.text(1, tag);
    }
    writer.text(5, text(operation, "operationId"));
    for media in elements(operation, "produces").filter_map(Value::as_str) {
        writer.text(6, media);
    }
    for media in elements(operation, "consumes").filter_map(Value::as_str) {
        writer.text(7, media);
    }
    for value in elements(operation, "parameters") {
        writer.message(8, |w| parameter(w, value));
    }
    writer.message(9, |responses| {
        for (code, response) in entries(operation, "responses") {
            responses.message(1, |named| {
                named.text(1, code);
                named.message(2, |value| {
                    value.message(1, |w| {
                        w.text(1, text(response, "description"));
                        w.message(2, |item| item.message(1, |w| schema(w, &response["schema"])));
                    });
                });
            });
        }
    });
    extensions(writer, 13, operation);
}

/// `ParametersItem`, which holds a body parameter or one of the four other places.
fn parameter(writer: &mut Writer, parameter: &Value) {
    let place = text(parameter, "in");
    writer.message(1, |item| match place {
        "body" => item.message(1, |w| {
            w.text(1, text(parameter, "description"));
            w.text(2, text(parameter, "name"));
            w.text(3, place);
            w.flag(4, flag(parameter, "required"));
            w.message(5, |w| schema(w, &parameter["schema"]));
        }),
        _ => item.message(2, |other| {
            // A query parameter may be empty and so has one field more before its type.
            let (number, type_number) = if place == "query" { (3, 6) } else { (4, 5) };
            other.message(number, |w| {
                w.flag(1, flag(parameter, "required"));
                w.text(2, place);
                w.text(3, text(parameter, "description"));
                w.text(4, text(parameter, "name"));
                w.text(type_number, text(parameter, "type"));
            });
        }),
    });
}

fn named_schemas(writer: &mut Writer, value: &Value, name: &str) {
    for (name, value) in entries(value, name) {
        writer.message(1, |named| {
            named.text(1, name);
            named.message(2, |w| schema(w, value));
        });
    }
}

fn schema(writer: &mut Writer, value: &Value) {
    writer.text(1, text(value, "$ref"));
    writer.text(2, text(value, "format"));
    writer.text(4, text(value, "description"));
    if let Some(default) = value.get("default") {
        writer.message(5, |any| any.text(2, &default.to_string()));
    }
    for name in elements(value, "required").filter_map(Value::as_str) {
        writer.text(19, name);
    }
    if let Some(inner) = value.get("additionalProperties") {
        writer.message(21, |item| item.message(1, |w| schema(w, inner)));
    }
    if value.get("type").is_some() {
        writer.message(22, |w| w.text(1, text(value, "type")));
    }
    if let Some(inner) = value.get("items") {
        writer.message(23, |item| item.message(1, |w| schema(w, inner)));
    }
    if value.get("properties").is_some() {
        writer.message(25, |w| named_schemas(w, value, "properties"));
    }
    extensions(writer, 31, value);
}

/// Everything beginning with `x-`; values travel as YAML, of which JSON is a part.
fn extensions(writer: &mut Writer, number: u32, value: &Value) {
    for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
        writer.message(number, |named| {
            named.text(1, name);
            named.message(2, |any| any.text(2, &value.to_string()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_small_document_has_the_expected_bytes() {
        let small = json!({"swagger": "2.0", "info": {"title": "T", "version": "v"},
            "paths": {}, "definitions": {"D": {"type": "object", "x-a": ["b"]}}});
        let schema = [&b"\xb2\x01\x08\x0a\x06object"[..], b"\xfa\x01\x0e\x0a\x03x-a\x12\x07\x12\x05[\"b\"]"].concat();
        let named = [&b"\x0a\x01D\x12"[..], &[schema.len() as u8], &schema].concat();
        let definitions = [&[0x0a, named.len() as u8][..], &named].concat();
        let expect =
            [&b"\x0a\x032.0\x12\x06\x0a\x01T\x12\x01v\x42\x00\x4a"[..], &[definitions.len() as u8], &definitions]
                .concat();
        assert_eq!(document(&small), expect);
    }
}
