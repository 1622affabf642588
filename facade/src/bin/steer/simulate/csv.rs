//! Tables of nodes and jobs: a head that names the columns, in any order, then a row for each.

use crate::out;
use anyhow::Context as _;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// One row by column. Which columns were asked for is noted: the others say nothing here.
pub(super) struct Row<'a> {
    head: &'a csv::StringRecord,
    cells: csv::StringRecord,
    asked: &'a RefCell<BTreeSet<String>>,
}

impl Row<'_> {
    /// The text of a column; nothing where there is no such column, or no text in it.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        let at = self.head.iter().position(|name| name == column)?;
        if !self.asked.borrow().contains(column) {
            self.asked.borrow_mut().insert(column.to_owned());
        }
        self.cells.get(at).filter(|text| !text.is_empty())
    }

    /// The number of a column, not below zero.
    ///
    /// # Errors
    /// When there is something else.
    pub(super) fn number(&self, column: &str) -> anyhow::Result<Option<f64>> {
        let Some(text) = self.text(column) else { return Ok(None) };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite() && (0.0..=1e15).contains(number));
        number.map(Some).with_context(|| format!("{column} is {text:?}: it must be a number, and not below zero"))
    }

    /// The amounts of resources: `cpu_milli`, `memory_mib`, and every column with a `/` in its name.
    ///
    /// # Errors
    /// When one is no number.
    pub(super) fn amounts(&self) -> anyhow::Result<Map<String, Value>> {
        let mut amounts = Map::new();
        for (column, resource, unit) in [("cpu_milli", "cpu", "m"), ("memory_mib", "memory", "Mi")] {
            if let Some(amount) = self.number(column)? {
                amounts.insert(resource.into(), format!("{}{unit}", whole(amount)).into());
            }
        }
        for column in self.head.iter().filter(|column| column.contains('/')) {
            if let Some(amount) = self.number(column)?.filter(|amount| *amount > 0.0) {
                amounts.insert(column.into(), whole(amount).into());
            }
        }
        Ok(amounts)
    }
}

/// A number that [`Row::number`] answered, rounded up.
pub(super) fn whole(number: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1e15")]
    let whole = number.ceil() as u64;
    whole
}

/// What `make` makes of every row, and the columns that it asked for in none.
///
/// # Errors
/// With the line.
pub(super) fn read<T>(
    text: &str,
    make: impl Fn(&Row<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<(Vec<T>, Vec<String>)> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let head = reader.headers().context("line 1")?.clone();
    let asked = RefCell::default();
    let mut made = Vec::new();
    for record in reader.records() {
        let cells = record?;
        let line = cells.position().map_or(0, csv::Position::line);
        let row = Row { head: &head, cells, asked: &asked };
        made.push(make(&row).with_context(|| format!("line {line}"))?);
    }
    let asked = asked.into_inner();
    let unused = head.iter().filter(|column| !asked.contains(*column)).map(str::to_owned);
    Ok((made, unused.collect()))
}

/// Says which columns said nothing.
pub(super) fn tell_unused(columns: &[String]) {
    if !columns.is_empty() {
        out::note(format!("note: these columns are not used: {}", columns.join(", ")));
    }
}
