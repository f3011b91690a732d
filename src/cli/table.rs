//! Tables for people: columns as wide as their content, the last one cut to the terminal.

use std::fmt::Write as _;

use crate::audit::escape::{harmless, printable};

/// Width when stdout is no terminal.
const WIDTH: usize = 100;

/// Longest cell of a table that is not cut: even 64 names, as many as one request may have, fit.
const WHOLE: usize = 64 * 300;

/// Narrowest last column.
const NARROW: usize = 20;

/// A table that is printed once it is complete. Cells may come from a server: they are made harmless.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Whether the last column is cut to the terminal.
    cut: bool,
    /// What stands below a row, by how many rows stand above.
    notes: Vec<(usize, String)>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|title| (*title).to_owned()).collect()],
            cut: true,
            notes: Vec::new(),
        }
    }

    /// A table without a head.
    pub(super) fn bare() -> Self {
        Self { rows: Vec::new(), cut: true, notes: Vec::new() }
    }

    /// The same with every cell whole, whatever the terminal makes of long lines: what is listed is copied from here.
    pub(super) fn uncut(self) -> Self {
        Self { cut: false, ..self }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// A line of its own below the last row, never cut: something to copy.
    pub(super) fn note(&mut self, text: &str) {
        self.notes.push((self.rows.len(), text.to_owned()));
    }

    pub(super) fn render(&self) -> String {
        self.render_to(width())
    }

    fn render_to(&self, width: usize) -> String {
        let longest = if self.cut { WIDTH * 4 } else { WHOLE };
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| printable(cell, longest)).collect()).collect();
        for row in &rows {
            for (most, cell) in widths.iter_mut().zip(row) {
                *most = (*most).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        for (number, row) in rows.iter().enumerate() {
            let mut line = String::from("  ");
            for (index, (cell, wide)) in row.iter().zip(&widths).enumerate() {
                if index + 1 == columns && self.cut {
                    let room = width.saturating_sub(line.chars().count()).max(NARROW);
                    line.push_str(&printable(cell, room));
                } else {
                    let _ = write!(line, "{cell:<wide$}  ");
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
            for (_, note) in self.notes.iter().filter(|(above, _)| *above == number + 1) {
                let _ = writeln!(out, "      {}", harmless(note));
            }
        }
        out
    }
}

/// A size for people.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Columns of the terminal that stdout is, or of a page.
pub(super) fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns < 40 { WIDTH } else { columns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_one_is_cut() {
        let mut table = Table::new(&["name", "what"]);
        table.row(vec!["a-long-name".into(), "short".into()]);
        table.row(vec!["b".into(), format!("{}\u{1b}[2J", "x".repeat(30))]);
        assert_eq!(
            table.render_to(40),
            "  name         what\n  a-long-name  short\n  b            xxxxxxxxxxxxxxxxxxxxxxxx…\n"
        );
    }

    #[test]
    fn what_is_not_cut_is_whole() {
        let long = "x".repeat(500);
        let mut table = Table::new(&["name", "what"]).uncut();
        table.row(vec![long.clone(), long.clone()]);
        table.note(&long);
        assert!(table.render_to(40).contains(&format!("  {long}  {long}\n      {long}\n")));
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
    }
}
