//! The rules of the tree: what lies at the top, how long a file is, where `unsafe` may stand, what the examples are.
//!
//! Source is read as text, with comments and literals blanked; no macro is expanded. That is enough for rules about
//! words, and it sees code that the configured target does not compile.

use std::path::{Path, PathBuf};

/// What may lie at the top of the tree, beside names that begin with a dot.
const TOP: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "adapters",
    "application",
    "clippy.toml",
    "deny.toml",
    "docs",
    "domain",
    "facade",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    // Not in the tree, but beside it on every machine that builds it.
    "target",
];

/// Lines that no file may pass, unless it is generated and says so.
const MAX_LINES: usize = 800;

/// The only folder where `unsafe` may stand: it talks to the kernel.
const UNSAFE_HOME: &str = "adapters/runtime";

/// One text file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path from the root, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Every source, manifest and document of the tree, sorted by path.
///
/// # Errors
/// When a folder or a file cannot be read; the error names it.
pub fn files(root: &Path) -> Result<Vec<File>, String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))? {
            let path = entry.map_err(|error| format!("{}: {error}", dir.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !path.is_symlink() {
                if name != "target" && name != ".git" {
                    open.push(path);
                }
            } else if matches!(path.extension().and_then(|end| end.to_str()), Some("rs" | "toml" | "md" | "yaml")) {
                let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Names at the top of the tree, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub fn top_names(root: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", root.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Names at the top that the design does not know.
#[must_use]
pub fn strangers(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str())).cloned().collect()
}

/// Files over 800 lines that no generator wrote, with their lengths.
#[must_use]
pub fn too_long(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| !file.text.lines().take(5).any(|line| line.contains("@generated")))
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| format!("{} has {lines} lines: split it by meaning", file.path))
        .collect()
}

/// Places where `unsafe`, or a permission for it, stands outside the runtime adapter.
#[must_use]
pub fn stray_unsafe(files: &[File]) -> Vec<String> {
    rust(files)
        .filter(|file| !Path::new(&file.path).starts_with(UNSAFE_HOME))
        .flat_map(|file| places(file, |word| matches!(word, "unsafe" | "unsafe_code")))
        .collect()
}

/// Tests left out for any other reason than that they need root, and documentation examples that nothing compiles.
#[must_use]
pub fn skipped_tests(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in rust(files) {
        let code = code_only(&file.text);
        for (number, (written, code)) in file.text.lines().zip(code.lines()).enumerate() {
            let left_out = code.contains("#[ignore") && !written.contains("#[ignore = \"needs root\"]");
            let comment = written.trim_start();
            let unread = (comment.starts_with("///") || comment.starts_with("//!"))
                && comment.trim_start_matches(['/', '!', ' ']).starts_with("```ignore");
            if left_out || unread {
                wrong.push(format!("{}:{}: a test that never runs: {}", file.path, number + 1, written.trim()));
            }
        }
    }
    wrong
}

/// Crates whose manifest does not take the workspace's lints.
#[must_use]
pub fn without_lints(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter(|file| {
            let mut lines = file.text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
            lines.next() != Some("workspace = true")
        })
        .map(|file| format!("{} does not take the lints: write `[lints]` and `workspace = true`", file.path))
        .collect()
}

/// What is wrong with the example manifests: one that is no YAML, a document that names no object, or none at all. A list of
/// nodes for a simulation is no manifest.
#[must_use]
pub fn wrong_examples(files: &[File]) -> Vec<String> {
    let examples: Vec<&File> =
        files.iter().filter(|file| file.path.starts_with("docs/examples/") && file.path.ends_with(".yaml")).collect();
    if examples.is_empty() {
        return vec!["docs/examples holds no manifest".to_owned()];
    }
    let mut wrong = Vec::new();
    for file in examples {
        match serde_saphyr::from_multiple::<serde_json::Value>(&file.text) {
            Err(error) => wrong.push(format!("{}: {error}", file.path)),
            Ok(documents) if documents.is_empty() => wrong.push(format!("{}: holds no document", file.path)),
            Ok(documents) => {
                let manifests = documents.iter().enumerate().filter(|(_, document)| !document["nodes"].is_array());
                for (number, document) in manifests {
                    for pointer in ["/apiVersion", "/kind", "/metadata/name"] {
                        if document.pointer(pointer).and_then(serde_json::Value::as_str).is_none() {
                            wrong.push(format!("{}: document {} has no {pointer}", file.path, number + 1));
                        }
                    }
                }
            }
        }
    }
    wrong
}

/// Paths in the first column of the code map that are not there, or all of them when the map is not found.
#[must_use]
pub fn untrue_map(map: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let paths: Vec<&str> =
        map.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(path, _)| path).collect();
    if paths.is_empty() {
        return vec!["the code map names no path".to_owned()];
    }
    paths.into_iter().filter(|path| !exists(path)).map(|path| format!("the code map names {path}")).collect()
}

/// The root of the workspace that this crate was built in.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

/// Lines where a word of the code satisfies `wanted`.
fn places(file: &File, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let code = code_only(&file.text);
    code.lines()
        .zip(file.text.lines())
        .enumerate()
        .filter(|(_, (code, _))| code.split(|sign: char| !sign.is_alphanumeric() && sign != '_').any(&wanted))
        .map(|(number, (_, written))| format!("{}:{}: {}", file.path, number + 1, written.trim()))
        .collect()
}

/// Rust source with comments and literals blanked, line by line as long as before.
fn code_only(text: &str) -> String {
    let signs: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < signs.len() {
        let end = blank_until(&signs, at);
        if end == at {
            code.push(signs[at]);
            at += 1;
        } else {
            code.extend(signs[at..end].iter().map(|sign| if *sign == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn blank_until(signs: &[char], at: usize) -> usize {
    let rest = &signs[at..];
    let word_before = at > 0 && (signs[at - 1].is_alphanumeric() || signs[at - 1] == '_');
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|sign| *sign == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + comment_length(rest),
        ['"', ..] => at + quoted_length(rest),
        ['r', ..] if !word_before || signs[at - 1] == 'b' => {
            let hashes = rest[1..].iter().take_while(|sign| **sign == '#').count();
            if rest.get(1 + hashes) != Some(&'"') {
                return at;
            }
            let mut close = vec!['"'];
            close.extend(std::iter::repeat_n('#', hashes));
            let body = 2 + hashes;
            let length = rest[body..].windows(close.len()).position(|window| window == close.as_slice());
            at + length.map_or(rest.len(), |length| body + length + close.len())
        }
        // A character, not a lifetime: 'x', '\n', '\u{1F600}'.
        ['\'', '\\', _, rest @ ..] => {
            at + 3 + rest.iter().position(|sign| *sign == '\'').map_or(rest.len(), |length| length + 1)
        }
        ['\'', _, '\'', ..] => at + 3,
        _ => at,
    }
    .min(signs.len())
}

/// Length of a block comment, which may hold others.
fn comment_length(signs: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < signs.len() {
        match &signs[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// Length of a string literal with its quotes.
fn quoted_length(signs: &[char]) -> usize {
    let mut at = 1;
    while at < signs.len() {
        match signs[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    signs.len()
}

#[cfg(test)]
mod tests;
