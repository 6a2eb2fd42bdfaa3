//! A row as a line of JSON: an object with the keys that the row has, and values as in the snapshot.

use super::{columns::Columns, json_text, row::TableRow};

pub(super) fn append(row: &TableRow<'_>, columns: &Columns, out: &mut Vec<u8>) {
    let mut before = b'{';
    for cell in &row.cells {
        out.push(std::mem::replace(&mut before, b','));
        json_text::append_on_one_line(&columns.name(cell.place).json, out);
        out.push(b':');
        json_text::append_on_one_line(cell.value, out);
    }
    out.extend_from_slice(b"}\n");
}
