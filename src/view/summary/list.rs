//! Writes lists and objects as JSON.

/// Appends the items in these brackets, with `,` between them.
pub(super) fn append_list<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl Iterator<Item = T>,
    append: impl Fn(T, &mut Vec<u8>),
) {
    out.push(open);
    let begin = out.len();
    for item in items {
        if out.len() > begin {
            out.push(b',');
        }
        append(item, out);
    }
    out.push(close);
}
