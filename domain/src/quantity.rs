//! Resource quantities as Kubernetes writes them (`500m`, `1.5`, `64Mi`, `1e3`): the written form is kept, arithmetic is
//! on integers. Source of the grammar: the Kubernetes API reference, "Quantity".

use crate::Str;
use crate::entity::Omit;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

const NANO: i128 = 1_000_000_000;

/// An amount of a resource. Keeps the text it was read from; computes in billionths (rounded up).
#[derive(Clone, Default)]
pub struct Quantity {
    nano: i128,
    written: Str,
}

/// A text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quantity: write a number with an optional suffix, such as 500m, 2 or 64Mi")]
pub struct InvalidQuantity(pub String);

impl Quantity {
    /// From thousandths of a unit (millicores for cpu).
    pub fn from_milli(milli: i64) -> Self {
        let written = match milli % 1000 {
            0 => (milli / 1000).to_string(),
            _ => format!("{milli}m"),
        };
        Quantity { nano: i128::from(milli) * (NANO / 1000), written: written.into() }
    }

    /// From whole units (bytes for memory), written with the largest binary suffix that loses nothing.
    pub fn from_bytes(bytes: i64) -> Self {
        let mut value = bytes;
        let mut suffix = "";
        for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
            if value == 0 || value % 1024 != 0 {
                break;
            }
            value /= 1024;
            suffix = next;
        }
        Quantity { nano: i128::from(bytes) * NANO, written: format!("{value}{suffix}").into() }
    }

    /// From whole units, written as a plain number.
    pub fn from_units(units: i64) -> Self {
        Quantity { nano: i128::from(units) * NANO, written: units.to_string().into() }
    }

    /// Reads the written form.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantity> {
        let nano = parse_nano(text.trim()).ok_or_else(|| InvalidQuantity(text.to_owned()))?;
        Ok(Quantity { nano, written: text.into() })
    }

    /// Thousandths of a unit, rounded up, saturating.
    pub fn milli(&self) -> i64 {
        saturate(div_ceil(self.nano, NANO / 1000))
    }

    /// Whole units, rounded up, saturating.
    pub fn value(&self) -> i64 {
        saturate(div_ceil(self.nano, NANO))
    }

    /// Whether the amount is below zero.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        if self.written.is_empty() { "0" } else { &self.written }
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn div_ceil(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

fn parse_nano(text: &str) -> Option<i128> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits_end = rest.bytes().position(|b| !b.is_ascii_digit() && b != b'.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 40 {
        return None;
    }
    let (numerator, denominator) = scale(suffix)?;
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = mantissa.checked_mul(numerator)?;
    let nano = div_ceil(scaled.checked_mul(NANO)?, shift.checked_mul(denominator)?);
    Some(if negative { -nano } else { nano })
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024_i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, NANO)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => Some((1000, 1)),
        "M" => Some((1_000_000, 1)),
        "G" => Some((NANO, 1)),
        "T" => Some((NANO * 1000, 1)),
        "P" => Some((NANO * 1_000_000, 1)),
        "E" => Some((NANO * NANO, 1)),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.abs() <= 18)?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano && self.as_str() == other.as_str()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Omit for Quantity {
    fn omit(&self) -> bool {
        self.written.is_empty()
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 500m, 2 or 64Mi")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Quantity, E> {
                Quantity::parse(v).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Quantity, E> {
                Quantity::parse(&v.to_string()).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Quantity, E> {
                Quantity::parse(&v.to_string()).map_err(E::custom)
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<Quantity, E> {
                Quantity::parse(&v.to_string()).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, milli) in [
            ("1", 1000),
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("1.5Gi", 1_610_612_736_000),
            ("1e3", 1_000_000),
            ("1E", 1_000_000_000_000_000_000_000_i128.min(i64::MAX.into()) as i64),
            ("-2", -2000),
            ("1n", 1),
            ("100u", 1),
            ("12e-1", 1200),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.milli()), Ok(milli), "{text}");
        }
        for text in ["", "1.2.3", "Mi", "1 Gi", "1gb", "--1", "e3", "1e99"] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keeps_its_written_form() {
        let q: Quantity = serde_json::from_str("\"0.5\"").expect("a quantity");
        assert_eq!((q.as_str(), q.milli(), q.value()), ("0.5", 500, 1));
        assert_eq!(Quantity::from_bytes(64 << 20).as_str(), "64Mi");
        assert_eq!(Quantity::from_milli(1500).as_str(), "1500m");
    }
}
