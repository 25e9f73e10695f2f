//! Columns of text. Pure.

/// A table for people: the first column to the left, numbers to the right.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with the names of its columns.
    pub(super) fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|column| (*column).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text.
    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> = (0..columns)
            .map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0))
            .collect();
        let is_number =
            |cell: &String| cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let right: Vec<bool> =
            (0..columns).map(|column| cells(column).skip(1).all(is_number)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let gap = " ".repeat(widths[column] - cell.chars().count());
                let (before, after) = if right[column] { (&*gap, "") } else { ("", &*gap) };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_and_numbers_right() {
        let mut table = Table::new(&["TOPIC", "RECORDS"]);
        table.row(["payments".to_owned(), "12".to_owned()]);
        table.row(["a".to_owned(), "1234567".to_owned()]);
        let text = "TOPIC     RECORDS\npayments       12\na         1234567\n";
        assert_eq!(table.text(), text);
    }
}
