//! Label selectors and field selectors: parsing of the query form (`a=b,c in (d,e),!f`) and matching.
//! Source of the grammar: `k8s.io/apimachinery/pkg/labels`.

use crate::{LabelSelector, Map, Str, names};

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The label has one of these values.
    In(Str, Vec<Str>),
    /// The label has none of these values, or is not there.
    NotIn(Str, Vec<Str>),
    /// The label is there.
    Exists(Str),
    /// The label is not there.
    NotExists(Str),
    /// The value, as an integer, is greater.
    Gt(Str, i64),
    /// The value, as an integer, is less.
    Lt(Str, i64),
}

impl Requirement {
    /// Builds from the parts as objects hold them; the error names what is wrong.
    pub fn new(key: &str, operator: &str, values: &[Str]) -> Result<Self, String> {
        names::qualified_name(key).map_err(|e| format!("key {key:?}: {e}"))?;
        let some = || {
            if values.is_empty() {
                Err(format!("operator {operator} of key {key:?} needs at least one value"))
            } else {
                Ok(values.to_vec())
            }
        };
        let none = || {
            if values.is_empty() { Ok(()) } else { Err(format!("operator {operator} of key {key:?} takes no values")) }
        };
        let integer = || match values {
            [one] => {
                one.parse().map_err(|_| format!("operator {operator} of key {key:?} needs an integer, got {one:?}"))
            }
            _ => Err(format!("operator {operator} of key {key:?} needs exactly one integer")),
        };
        let key = Str::from(key);
        match operator {
            "In" => Ok(Requirement::In(key, some()?)),
            "NotIn" => Ok(Requirement::NotIn(key, some()?)),
            "Exists" => none().map(|()| Requirement::Exists(key)),
            "DoesNotExist" => none().map(|()| Requirement::NotExists(key)),
            "Gt" => Ok(Requirement::Gt(key, integer()?)),
            "Lt" => Ok(Requirement::Lt(key, integer()?)),
            other => Err(format!("{other:?} is not an operator: use In, NotIn, Exists or DoesNotExist")),
        }
    }

    /// Whether labels fulfil the requirement.
    pub fn matches(&self, labels: &Map<Str>) -> bool {
        let number = |key: &Str| labels.get(key).and_then(|v| v.parse::<i64>().ok());
        match self {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::NotExists(key) => !labels.contains_key(key),
            Requirement::Gt(key, than) => number(key).is_some_and(|v| v > *than),
            Requirement::Lt(key, than) => number(key).is_some_and(|v| v < *than),
        }
    }
}

/// A parsed selector: all requirements must hold. No requirement matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Requirement>);

impl Selector {
    /// Matches everything.
    pub fn everything() -> Self {
        Selector::default()
    }

    /// From a label selector of an object. An empty one matches everything; whether an absent one matches nothing
    /// is for the caller.
    pub fn from_labels(selector: &LabelSelector) -> Result<Self, String> {
        let mut list: Vec<Requirement> =
            selector.match_labels.iter().map(|(k, v)| Requirement::In(k.clone(), vec![v.clone()])).collect();
        for e in &selector.match_expressions {
            list.push(Requirement::new(&e.key, &e.operator, &e.values)?);
        }
        Ok(Selector(list))
    }

    /// From a plain map (Service selectors, node selectors).
    pub fn from_map(map: &Map<Str>) -> Self {
        Selector(map.iter().map(|(k, v)| Requirement::In(k.clone(), vec![v.clone()])).collect())
    }

    /// Whether labels fulfil all requirements.
    pub fn matches(&self, labels: &Map<Str>) -> bool {
        self.0.iter().all(|r| r.matches(labels))
    }

    /// Whether there is no requirement.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the query form: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        for part in split_outside_parens(text)? {
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    continue;
                }
                return Err(format!(
                    "unable to parse label selector {text:?}: found an empty requirement between commas"
                ));
            }
            list.push(parse_one(part).map_err(|e| format!("unable to parse label selector {text:?}: {e}"))?);
        }
        Ok(Selector(list))
    }
}

fn split_outside_parens(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if !(0..=1).contains(&depth) {
            return Err(format!("unable to parse label selector {text:?}: parentheses do not match"));
        }
    }
    if depth != 0 {
        return Err(format!("unable to parse label selector {text:?}: parentheses do not match"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn parse_one(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return Requirement::new(key.trim(), "DoesNotExist", &[]);
    }
    if let Some(open) = part.find('(') {
        let values = part[open..].trim_start_matches('(').strip_suffix(')').ok_or("text after ')'")?;
        let values: Vec<Str> = values.split(',').map(|v| Str::from(v.trim())).collect();
        let mut words = part[..open].split_whitespace();
        let (key, operator, rest) = (words.next(), words.next(), words.next());
        return match (key, operator, rest) {
            (Some(key), Some("in"), None) => checked(key, "In", &values),
            (Some(key), Some("notin"), None) => checked(key, "NotIn", &values),
            _ => Err(format!("{part:?} is neither 'key in (values)' nor 'key notin (values)'")),
        };
    }
    for (sign, operator) in [("!=", "NotIn"), ("==", "In"), ("=", "In"), (">", "Gt"), ("<", "Lt")] {
        if let Some((key, value)) = part.split_once(sign) {
            return checked(key.trim(), operator, &[value.trim().into()]);
        }
    }
    Requirement::new(part, "Exists", &[])
}

fn checked(key: &str, operator: &str, values: &[Str]) -> Result<Requirement, String> {
    for value in values {
        names::label_value(value).map_err(|e| format!("value {value:?}: {e}"))?;
    }
    Requirement::new(key, operator, values)
}

/// A field selector: `metadata.name=x,status.phase!=Running`. Which fields a kind offers is for the caller to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(pub Vec<FieldRequirement>);

/// One comparison of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The path of the field, as `spec.nodeName`.
    pub path: Str,
    /// The value that is compared with.
    pub value: Str,
    /// Whether the field must equal the value, or must not.
    pub equal: bool,
}

impl FieldSelector {
    /// Reads the query form. Values may escape `,`, `=` and `\` with a backslash.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        for part in split_escaped(text).into_iter().filter(|p| !p.trim().is_empty()) {
            let (path, value, equal) = [("!=", false), ("==", true), ("=", true)]
                .into_iter()
                .find_map(|(sign, equal)| part.split_once(sign).map(|(p, v)| (p, v, equal)))
                .ok_or_else(|| format!("invalid field selector {text:?}: {part:?} has no '='"))?;
            let value = value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\");
            list.push(FieldRequirement { path: path.trim().into(), value: value.trim().into(), equal });
        }
        Ok(FieldSelector(list))
    }

    /// Whether `field` (path to value; `None` for a path the kind does not offer) fulfils all requirements.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|r| field(&r.path).is_some_and(|v| (v == r.value) == r.equal))
    }
}

fn split_escaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &[(&str, &str)]) -> Map<Str> {
        list.iter().map(|(k, v)| (*k, Str::from(*v))).collect()
    }

    #[test]
    fn parses_and_matches_like_kubernetes() {
        let l = labels(&[("app", "web"), ("tier", "front"), ("n", "5")]);
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (api, web),!gone", true),
            ("app notin (web)", false),
            ("missing notin (web)", true),
            ("n>4,n<6", true),
            ("tier", true),
            ("other", false),
        ] {
            assert_eq!(Selector::parse(text).map(|s| s.matches(&l)), Ok(expected), "{text}");
        }
        for text in ["a in b", "a in (b", "a,,b", "a=b=c", "-a=b", "a in (b) c"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn field_selectors_compare() {
        let s = FieldSelector::parse("metadata.name=a\\,b,status.phase!=Running").expect("parses");
        assert!(s.matches(|p| Some(if p == "metadata.name" { "a,b" } else { "Pending" })));
        assert!(!s.matches(|p| Some(if p == "metadata.name" { "a,b" } else { "Running" })));
        assert!(!s.matches(|_| None));
        assert!(FieldSelector::parse("novalue").is_err());
    }
}
