//! YAML in: streams of documents to JSON values, read as Kubernetes reads them (YAML 1.1 booleans and octal
//! numbers), with bounds that refuse alias bombs and absurd nesting.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Options};

/// Objects reach about fifteen levels. The reader recurses, and an unoptimised build takes more than 20 kB of
/// stack per level, so the bound must keep well inside the 2 MiB of a worker thread.
const DEEPEST: usize = 48;
/// Anchors and aliases are a convenience of people, whose manifests repeat a few hundred nodes.
const MOST_REPLAYED: usize = 100_000;

/// Why a YAML text was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document {document}, line {line}, column {column}: {message}")]
pub struct YamlError {
    /// Line in the whole text, from 1; 0 when the problem has no place.
    pub line: u64,
    /// Column, from 1; 0 when the problem has no place.
    pub column: u64,
    /// The document of the stream, from 1.
    pub document: usize,
    /// What is wrong.
    pub message: String,
}

/// The documents of a YAML (or JSON) text, without the empty ones.
///
/// # Errors
/// [`YamlError`] for text that is not YAML, for a key that stands twice in a mapping, and beyond these bounds:
/// 48 levels deep, 10,000 documents, 2 million nodes, 100,000 events replayed by aliases.
pub fn yaml_documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let documents = serde_saphyr::from_multiple_with_options(text, options());
    documents
        .map(|mut all: Vec<Value>| {
            all.iter_mut().for_each(whole_numbers);
            all
        })
        .map_err(|error| {
            let error = error.without_snippet();
            let place = error.location().filter(|l| l.line() > 0);
            let (line, column) = place.map_or((0, 0), |l| (l.line(), l.column()));
            YamlError { line, column, document: document_at(text, line), message: message(error) }
        })
}

/// Replaces every `kind: List` (and `PodList` and the like, as `kubectl get -o yaml` writes them) by its items.
#[must_use]
pub fn flatten_lists(documents: Vec<Value>) -> Vec<Value> {
    let mut flat = Vec::with_capacity(documents.len());
    for mut document in documents {
        let is_list = document.get("kind").and_then(Value::as_str).is_some_and(|k| k.ends_with("List"));
        match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) if is_list => flat.extend(flatten_lists(items)),
            Some(other) => {
                document["items"] = other;
                flat.push(document);
            }
            None => flat.push(document),
        }
    }
    flat
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            max_documents: 10_000,
            max_nodes: 2_000_000,
            max_events: 5_000_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_REPLAYED },
        duplicate_keys: DuplicateKeyPolicy::Error,
        // `defaultMode: 0644` means 420, as for every other Kubernetes client.
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        with_snippet: false,
    }
}

/// Writes whole numbers as such: `1e3` and `5.0` are 1000 and 5 to Kubernetes, whose JSON has no other form for them.
fn whole_numbers(value: &mut Value) {
    /// Up to here a 64-bit float holds every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() <= EXACT) {
                *value = Value::from(float as i64);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is wrong, without the place, which the error carries apart.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    // The reader's own words for its bounds name its counters, which tell nobody what to change. Its scanner has a bound
    // of nesting as well, which flow collections reach first.
    if text.contains("recursion limit exceeded") || text.contains("budget breached: Depth") {
        return format!("more than {DEEPEST} levels deep, which no object needs");
    }
    if text.contains("alias replay limit exceeded") {
        return format!(
            "the aliases stand for more than {MOST_REPLAYED} nodes: write out what they repeat, or leave it out"
        );
    }
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// The document that a line belongs to: a marker at the start of a line always begins a new one.
fn document_at(text: &str, line: u64) -> usize {
    let line = usize::try_from(line).unwrap_or(usize::MAX);
    let mut document = 1;
    let mut content = false;
    for text in text.lines().take(line) {
        if text.starts_with("---") {
            document += usize::from(content);
            content = true;
        } else if !text.trim().is_empty() && !text.starts_with(['#', '%']) {
            content = true;
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_read_and_empty_ones_skipped() {
        let text = "# first\n---\na: 1\n---\n---\n# nothing\n---\nb: [x, z]\n...\n";
        assert_eq!(yaml_documents(text), Ok(vec![json!({"a": 1}), json!({"b": ["x", "z"]})]));
        assert_eq!(yaml_documents(""), Ok(vec![]));
        assert_eq!(yaml_documents(r#"{"a": [1, null]}"#), Ok(vec![json!({"a": [1, null]})]));
    }

    #[test]
    fn scalars_are_read_as_kubernetes_reads_them() {
        let text = "mode: 0644\nflag: yes\nquoted: \"yes\"\nport: 80\nversion: \"1.20\"\nhalf: 0.5\nwhole: 1e3\ntime: 2026-01-02\n1: one\nempty:\n";
        let expect = json!({"mode": 420, "flag": true, "quoted": "yes", "port": 80, "version": "1.20", "half": 0.5, "whole": 1000,
            "time": "2026-01-02", "1": "one", "empty": null});
        assert_eq!(yaml_documents(text), Ok(vec![expect]));
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n";
        assert_eq!(yaml_documents(text).expect("reads")[0]["use"], json!({"x": 1, "y": 3}));
    }

    #[test]
    fn malformed_text_is_refused_with_its_place() {
        let error = yaml_documents("a: 1\n---\nkind: Pod\nspec: [1, 2\nmore: x\n").expect_err("malformed");
        assert_eq!(error.document, 2, "{error}");
        assert!(error.line >= 4 && error.column > 0, "{error}");
        assert!(!error.message.is_empty() && !error.message.contains("line"), "{error}");
        let error = yaml_documents("a: 1\nb: }\n").expect_err("a stray brace");
        assert_eq!((error.document, error.line), (1, 2), "{error}");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let error = yaml_documents("a: 1\nb: 2\na: 3\n").expect_err("duplicate");
        assert_eq!(error.line, 3, "{error}");
        assert!(error.message.contains("duplicate"), "{error}");
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let refs = vec![format!("*a{}", n - 1); 9].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{refs}]\n"));
        }
        let error = yaml_documents(&text).expect_err("a bomb");
        assert!(error.line > 0 && error.message.starts_with("the aliases stand for more than 100000 nodes"), "{error}");
    }

    #[test]
    fn depth_is_bounded_and_reasonable_sizes_pass() {
        for deep in ["[".repeat(10_000), format!("{}{}", "[".repeat(49), "]".repeat(49)), "- ".repeat(10_000)] {
            let error = yaml_documents(&deep).expect_err("too deep");
            assert!(error.line == 1 && error.message.starts_with("more than 48 levels deep"), "{error}");
        }
        assert!(yaml_documents(&format!("{}{}", "[".repeat(48), "]".repeat(48))).is_ok());
        let many: String = (0..2000).map(|n| format!("---\nname: d{n}\nlist: [1, 2, 3]\n")).collect();
        assert_eq!(yaml_documents(&many).map(|d| d.len()), Ok(2000));
    }

    #[test]
    fn lists_are_flattened() {
        let documents = vec![
            json!({"kind": "List", "items": [{"kind": "Pod"}, {"kind": "List", "items": [{"kind": "Service"}]}]}),
            json!({"kind": "ConfigMap", "items": "kept"}),
            json!({"kind": "PodList", "items": []}),
        ];
        let expect =
            vec![json!({"kind": "Pod"}), json!({"kind": "Service"}), json!({"kind": "ConfigMap", "items": "kept"})];
        assert_eq!(flatten_lists(documents), expect);
    }
}
