//! Manifests: the documents of files, folders and standard input, in order.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes: many times what a server takes for one object.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A document and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// Such as `shop.yaml, document 2`.
    pub(crate) from: String,
    pub(crate) object: Value,
}

/// The documents of all sources. A folder gives its `.yaml`, `.yml` and `.json` files in order of name, the folders in
/// it too when `recursive`; `-` is standard input.
///
/// # Errors
/// A source that cannot be read, a malformed document (with line and column), or one that is no object.
pub(crate) fn read(sources: &[PathBuf], recursive: bool) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for source in sources {
        if source == Path::new("-") {
            let text = limited(std::io::stdin().lock()).context("cannot read standard input")?;
            documents.extend(parse("standard input", &text)?);
            continue;
        }
        for path in expand(source, recursive)? {
            let cannot = || format!("cannot read {}", path.display());
            let file = std::fs::File::open(&path).with_context(cannot)?;
            documents.extend(parse(&path.display().to_string(), &limited(file).with_context(cannot)?)?);
        }
    }
    if documents.is_empty() {
        bail!(
            "there is no object in {}",
            sources.iter().map(|s| s.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(documents)
}

fn limited(reader: impl std::io::Read) -> anyhow::Result<String> {
    let mut text = String::new();
    reader.take(LARGEST + 1).read_to_string(&mut text)?;
    anyhow::ensure!(text.len() as u64 <= LARGEST, "it is larger than {LARGEST} bytes");
    Ok(text)
}

fn expand(source: &Path, recursive: bool) -> anyhow::Result<Vec<PathBuf>> {
    let metadata = std::fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
    if !metadata.is_dir() {
        return Ok(vec![source.to_path_buf()]);
    }
    let entries = std::fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort_unstable();
    let mut files = Vec::new();
    for path in paths {
        // The type of the entry itself, not of what a link leads to: links could lead round in circles.
        let kind = std::fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() {
            if recursive {
                files.extend(expand(&path, true)?);
            }
        } else if matches!(path.extension().and_then(|end| end.to_str()), Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    Ok(files)
}

fn parse(from: &str, text: &str) -> anyhow::Result<Vec<Document>> {
    let values = steersman_kubernetes::yaml_documents(text).with_context(|| format!("{from} is malformed"))?;
    let mut documents = Vec::new();
    for (number, value) in values.into_iter().enumerate() {
        let from = if number == 0 { from.to_owned() } else { format!("{from}, document {}", number + 1) };
        flatten(from, value, &mut documents)?;
    }
    Ok(documents)
}

/// Adds an object, or each object of a list; what is empty is left out.
fn flatten(from: String, value: Value, into: &mut Vec<Document>) -> anyhow::Result<()> {
    match &value {
        Value::Null => return Ok(()),
        Value::Object(fields) if fields.is_empty() => return Ok(()),
        Value::Object(_) => {}
        _ => bail!("{from} is no object: it needs apiVersion, kind and metadata"),
    }
    let text = |field: &str| value[field].as_str().filter(|text| !text.is_empty());
    let Some(kind) = text("kind") else { bail!("{from} has no kind") };
    if text("apiVersion").is_none() {
        bail!("{from} ({kind}) has no apiVersion");
    }
    if kind.ends_with("List") && value["items"].is_array() {
        for (at, item) in crate::client::items(&value).into_iter().enumerate() {
            flatten(format!("{from}, item {}", at + 1), item, into)?;
        }
        return Ok(());
    }
    into.push(Document { from, object: value });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> anyhow::Result<Vec<String>> {
        let kind =
            |document: &Document| format!("{}: {}", document.from, document.object["kind"].as_str().unwrap_or(""));
        Ok(parse("f", text)?.iter().map(kind).collect())
    }

    #[test]
    fn documents_and_lists_are_read_in_order() {
        let text = "---\napiVersion: v1\nkind: A\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n\
                    - {apiVersion: v1, kind: B}\n- {apiVersion: v1, kind: C}\n";
        let read = kinds(text).expect("good");
        let read: Vec<_> = read.iter().map(|line| line.rsplit(' ').next().expect("a kind")).collect();
        assert_eq!(read, ["A", "B", "C"]);
        assert_eq!(kinds(r#"{"apiVersion": "v1", "kind": "J"}"#).expect("JSON is YAML"), ["f: J"]);
    }

    #[test]
    fn bad_documents_are_said_with_their_place() {
        let failed = |text: &str| format!("{:#}", kinds(text).expect_err("bad"));
        assert!(failed("kind: A\nspec: [1").contains("line 2"), "{}", failed("kind: A\nspec: [1"));
        assert!(failed("- 1").contains("f is no object"));
        assert!(failed("kind: A").contains("f (A) has no apiVersion"));
        assert!(failed("apiVersion: v1").contains("f has no kind"));
    }

    #[test]
    fn folders_are_read_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("sub")).expect("made");
        for (name, kind) in [("b.yaml", "B"), ("a.yml", "A"), ("c.txt", "C"), ("sub/d.json", "D")] {
            let text = format!("{{\"apiVersion\": \"v1\", \"kind\": \"{kind}\"}}");
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let kinds = |recursive: bool| {
            let documents = read(&[folder.path().to_path_buf()], recursive).expect("readable");
            documents.iter().map(|d| d.object["kind"].as_str().expect("a kind").to_owned()).collect::<String>()
        };
        assert_eq!((kinds(false).as_str(), kinds(true).as_str()), ("AB", "ABD"));
        assert!(read(&[folder.path().join("none")], false).is_err());
    }
}
