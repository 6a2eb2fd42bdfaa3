//! Zoom's shape.
use crate::snapshot::Snapshot;
use bytes::Bytes;
use std::io::{self, Write};
/// Stub.
pub fn write_page(
    snapshot: &Snapshot,
    plain: Option<&Bytes>,
    (offset, size): (usize, u16),
    token: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut participants = snapshot.participants(offset, size.into(), plain);
    let pages = snapshot.rows().div_ceil(size.into());
    write!(
        out,
        "{{\"page_count\":{pages},\"page_size\":{size},\"total_records\":{},\"next_page_token\":\"{token}\",\"participants\":[",
        snapshot.rows()
    )?;
    let mut first = true;
    while let Some(p) = participants.next()? {
        if !first {
            out.write_all(b",")?;
        }
        first = false;
        out.write_all(p)?;
    }
    out.write_all(b"]}")
}
/// Stub.
pub fn write_participant(
    snapshot: &Snapshot,
    plain: Option<&Bytes>,
    wanted: &str,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut participants = snapshot.participants(0, snapshot.rows(), plain);
    while let Some(p) = participants.next()? {
        if p.windows(wanted.len()).any(|w| w == wanted.as_bytes()) {
            out.write_all(p)?;
            return Ok(true);
        }
    }
    Ok(false)
}
