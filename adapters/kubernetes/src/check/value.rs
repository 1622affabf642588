//! Whether one plain value fits its type.

use crate::schema::Base;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What the type expects, when the value is not that; objects are looked at elsewhere.
pub(super) fn expected(base: Base, value: &Value) -> Option<&'static str> {
    let (fits, expected) = match base {
        Base::String => (value.is_string(), "text"),
        Base::Int32 => (value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()), "a whole number of 32 bits"),
        Base::Int64 => (value.as_i64().is_some(), "a whole number of 64 bits"),
        Base::Bool => (value.is_boolean(), "true or false"),
        Base::Bytes => (value.as_str().is_some_and(|t| STANDARD.decode(t).is_ok()), "base64"),
        Base::Quantity => (is_quantity(value), "a quantity such as 100m, 2 or 1Gi"),
        Base::IntOrString => {
            let fits = value.is_string() || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
            (fits, "a whole number of 32 bits or text")
        }
        Base::Time | Base::MicroTime => (is_time(value), "a time such as 2026-01-02T03:04:05Z"),
        Base::Raw | Base::Object(_) => (true, ""),
    };
    (!fits).then_some(expected)
}

/// Kubernetes' grammar: a signed decimal, then a binary suffix, a decimal suffix or an exponent.
fn is_quantity(value: &Value) -> bool {
    let text = match value {
        Value::Number(_) => return true,
        Value::String(text) => text.trim_start_matches(['+', '-']),
        _ => return false,
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let is_number = number.bytes().any(|b| b.is_ascii_digit()) && number.matches('.').count() <= 1;
    let is_exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && e.len() <= 3 && e.bytes().all(|b| b.is_ascii_digit())
    });
    const SUFFIXES: &[&str] = &["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    is_number && (SUFFIXES.contains(&suffix) || is_exponent)
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok())
}

/// The value in a few words for a person.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 40 => {
            format!("the text {:?}...", text.chars().take(40).collect::<String>())
        }
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_follow_the_grammar() {
        for good in ["1", "0.5", ".5", "5.", "100m", "1Gi", "-1", "1e3", "1E-3", "2E"] {
            assert!(is_quantity(&json!(good)), "{good}");
        }
        for bad in ["", "m", "1.2.3", "1 Gi", "1gi", "ten", "1e", "1ee3", "0x10"] {
            assert!(!is_quantity(&json!(bad)), "{bad}");
        }
        assert!(is_quantity(&json!(2)) && !is_quantity(&json!(true)));
    }

    #[test]
    fn plain_types_are_strict() {
        assert_eq!(expected(Base::Int32, &json!(2_147_483_647)), None);
        assert!(expected(Base::Int32, &json!(2_147_483_648_i64)).is_some());
        assert!(expected(Base::Int32, &json!(1.5)).is_some());
        assert!(expected(Base::Bytes, &json!("no base64!")).is_some());
        assert_eq!(expected(Base::Bytes, &json!("aGk=")), None);
        assert!(expected(Base::Time, &json!("yesterday")).is_some());
        assert_eq!(expected(Base::MicroTime, &json!("2026-01-02T03:04:05.123456Z")), None);
        assert_eq!(expected(Base::IntOrString, &json!("25%")), None);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(describe(&json!("ü".repeat(50))), format!("the text {:?}...", "ü".repeat(40)));
    }
}
