//! Tables as the server sends them: which columns are shown, what stands before them, and how they become text.

use crate::out;
use serde_json::Value;

/// What of a table is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Style {
    /// Columns of low priority too.
    pub(crate) wide: bool,
    /// A first column with the namespace.
    pub(crate) namespace: bool,
    /// A last column with the labels.
    pub(crate) labels: bool,
    /// A column for each of these labels.
    pub(crate) label_columns: Vec<String>,
    /// What stands before each name, such as `deployment.apps/`.
    pub(crate) prefix: String,
}

/// The rows that chunks or single answers of one kind have in common.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<(String, u64)>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    metadata: Value,
}

impl Table {
    /// Adds what the server answered: a table, or a plain object or list, of which names and ages are shown.
    pub(crate) fn add(&mut self, answer: &Value, now: i64) {
        if answer["kind"] == "Table" {
            if let Some(columns) = answer["columnDefinitions"].as_array().filter(|columns| !columns.is_empty()) {
                let column = |column: &Value| {
                    (
                        column["name"].as_str().unwrap_or_default().to_uppercase(),
                        column["priority"].as_u64().unwrap_or(0),
                    )
                };
                self.columns = columns.iter().map(column).collect();
            }
            for row in answer["rows"].as_array().into_iter().flatten() {
                let cells = row["cells"].as_array().into_iter().flatten().map(cell).collect();
                self.rows.push(Row { cells, metadata: row["object"]["metadata"].clone() });
            }
            return;
        }
        self.columns = vec![("NAME".to_owned(), 0), ("AGE".to_owned(), 0)];
        let list = answer["items"].as_array();
        for object in list.map_or_else(|| std::slice::from_ref(answer), Vec::as_slice) {
            let metadata = object["metadata"].clone();
            let cells = vec![cell(&metadata["name"]), out::age(&metadata["creationTimestamp"], now)];
            self.rows.push(Row { cells, metadata });
        }
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The titles of the columns.
    pub(crate) fn head(&self, style: &Style) -> Vec<String> {
        let mut head = Vec::new();
        if style.namespace {
            head.push("NAMESPACE".to_owned());
        }
        head.extend(self.shown(style).map(|at| self.columns[at].0.clone()));
        let last = |label: &String| label.rsplit('/').next().unwrap_or_default().to_uppercase();
        head.extend(style.label_columns.iter().map(last));
        if style.labels {
            head.push("LABELS".to_owned());
        }
        head
    }

    /// The rows as lines of cells.
    pub(crate) fn lines(&self, style: &Style) -> Vec<Vec<String>> {
        self.rows.iter().map(|row| self.line(row, style)).collect()
    }

    fn line(&self, row: &Row, style: &Style) -> Vec<String> {
        let mut line = Vec::new();
        if style.namespace {
            line.push(row.metadata["namespace"].as_str().unwrap_or_default().to_owned());
        }
        for at in self.shown(style) {
            let text = row.cells.get(at).map_or("", String::as_str);
            let prefix = if self.columns[at].0 == "NAME" { style.prefix.as_str() } else { "" };
            line.push(format!("{prefix}{text}"));
        }
        let labels = &row.metadata["labels"];
        line.extend(style.label_columns.iter().map(|label| labels[label].as_str().unwrap_or_default().to_owned()));
        if style.labels {
            line.push(all_labels(labels));
        }
        line
    }

    fn shown(&self, style: &Style) -> impl Iterator<Item = usize> {
        let wide = style.wide;
        let shown: Vec<_> = (0..self.columns.len()).filter(|at| wide || self.columns[*at].1 == 0).collect();
        shown.into_iter()
    }
}

/// `a=b,c=d`, or `<none>`.
pub(crate) fn all_labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

/// A cell on one line: what would break the line or steer the terminal is shown, not done.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.find(['\n', '\r']) {
        Some(at) => format!("{}...", &text[..at]),
        None => text.chars().filter(|c| !c.is_control()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods() -> Table {
        let mut table = Table::default();
        let row = |name: &str, ip: Value| {
            json!({"cells": [name, "1/1", ip], "object": {"metadata": {
                "namespace": "shop", "labels": {"app": "web", "x/tier": "api"}}}})
        };
        let answer = json!({"kind": "Table", "columnDefinitions": [
            {"name": "Name", "priority": 0}, {"name": "Ready"}, {"name": "IP", "priority": 1}],
            "rows": [row("web-1", json!("127.72.0.1")), row("web-2\nevil\u{1b}[2J", Value::Null)]});
        table.add(&answer, 0);
        table
    }

    fn text(style: &Style) -> Vec<String> {
        let table = pods();
        let mut lines = vec![table.head(style)];
        lines.extend(table.lines(style));
        lines.iter().map(|line| line.join("|")).collect()
    }

    #[test]
    fn columns_are_chosen_by_priority() {
        assert_eq!(text(&Style::default()), ["NAME|READY", "web-1|1/1", "web-2...|1/1"]);
        let wide = Style { wide: true, ..Style::default() };
        assert_eq!(text(&wide), ["NAME|READY|IP", "web-1|1/1|127.72.0.1", "web-2...|1/1|"]);
    }

    #[test]
    fn namespaces_labels_and_prefixes_are_added() {
        let style = Style {
            namespace: true,
            labels: true,
            label_columns: vec!["x/tier".to_owned(), "none".to_owned()],
            prefix: "pod/".to_owned(),
            ..Style::default()
        };
        assert_eq!(text(&style)[0], "NAMESPACE|NAME|READY|TIER|NONE|LABELS");
        assert_eq!(text(&style)[1], "shop|pod/web-1|1/1|api||app=web,x/tier=api");
    }

    #[test]
    fn plain_objects_and_later_chunks_are_rows_too() {
        let mut table = pods();
        table.add(&json!({"kind": "Table", "columnDefinitions": [], "rows": [{"cells": ["web-3"]}]}), 0);
        assert_eq!(table.lines(&Style::default())[2], ["web-3", ""]);
        let mut plain = Table::default();
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"}});
        plain.add(&json!({"kind": "List", "items": [object]}), 7);
        assert_eq!(plain.lines(&Style::default()), [["a", "7s"]]);
        assert!(Table::default().is_empty());
    }
}
