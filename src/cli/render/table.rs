//! Tables without lines.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::text::{Layout, plain};

/// From this width on there is room for two blanks between columns.
const ROOMY_WIDTH: usize = 100;

/// A table with these columns. Those in `whole` are never broken: names and times are to be copied.
pub(super) fn table(layout: Layout, columns: &[&str], whole: &[usize]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(layout.width).unwrap_or(u16::MAX))
        .set_header(columns.iter().copied());
    let gap = if layout.width < ROOMY_WIDTH { 1 } else { 2 };
    for column in table.column_iter_mut() {
        column.set_padding((0, gap));
    }
    for &index in whole {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// One row more; what comes from outside is made plain.
pub(super) fn row<const N: usize>(table: &mut Table, cells: [String; N]) {
    table.add_row(cells.map(|cell| plain(&cell)));
}

/// The table as text, without blanks at the ends of lines.
pub(super) fn finish(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
