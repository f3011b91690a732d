//! What a section measured: one row of figures for each metric and contender.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line of a section's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// What was measured in one round.
    Sample {
        /// Which round: ratios are taken within one.
        round: usize,
        /// What was measured, a name of [`super::gates`].
        metric: String,
        /// Who was measured.
        contender: String,
        /// In the metric's unit.
        value: f64,
    },
    /// Something that a reader of the table has to know: a peer that is missing, a measurement that failed.
    Note(String),
}

impl Record {
    /// Hands the record to the suite.
    pub fn emit(&self) {
        if let Ok(line) = serde_json::to_string(self) {
            println!("{line}");
        }
    }
}

/// Hands one figure to the suite.
pub fn sample(round: usize, metric: &str, contender: &str, value: f64) {
    Record::Sample { round, metric: metric.to_owned(), contender: contender.to_owned(), value }.emit();
}

/// Hands a remark to the suite.
pub fn note(text: impl Into<String>) {
    Record::Note(text.into()).emit();
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Records {
    rows: BTreeMap<(String, String), BTreeMap<usize, f64>>,
    /// Remarks, each once.
    pub notes: Vec<String>,
}

impl Records {
    /// Adds one line of a section.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Sample { round, metric, contender, value } => {
                self.rows.entry((metric, contender)).or_default().insert(round, value);
            }
            Record::Note(note) if self.notes.contains(&note) => {}
            Record::Note(note) => self.notes.push(note),
        }
    }

    /// What one row comes to.
    pub fn summary(&self, metric: &str, contender: &str) -> Option<Summary> {
        Summary::of(self.row(metric, contender)?.values().copied())
    }

    /// Two rows, combined round by round.
    pub fn paired(&self, one: (&str, &str), other: (&str, &str), by: fn(f64, f64) -> f64) -> Option<Summary> {
        let (one, other) = (self.row(one.0, one.1)?, self.row(other.0, other.1)?);
        Summary::of(one.iter().filter_map(|(round, figure)| Some(by(*figure, *other.get(round)?))))
    }

    fn row(&self, metric: &str, contender: &str) -> Option<&BTreeMap<usize, f64>> {
        self.rows.get(&(metric.to_owned(), contender.to_owned()))
    }
}

/// A median and how far the rounds lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Half of the rounds lie below.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Summary {
    /// `None` without figures.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Some(Self { median, least, most })
    }
}
