//! Text for people: tables, times, durations, names.

use std::{fmt::Display, time::Duration};

use comfy_table::{ContentArrangement, Table, presets};
use prost_types::Timestamp;
use time::{OffsetDateTime, macros::format_description};

/// A table without lines, whose columns are easy to read and to cut.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    // Lines are never wrapped: an id that spans two lines cannot be copied.
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// One resource: a line per field. Fields without a value are omitted; a value without a name is a note on the line above.
pub(crate) fn fields(rows: Vec<(&str, String)>) -> String {
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let rows = rows.map(|(name, value)| {
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("{name}:")
        };
        vec![name, value]
    });
    table(&[], rows.collect())
}

/// Text that cannot control a terminal: control characters except newlines and tabs become escapes.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A time to the second, in UTC; empty if absent.
pub(crate) fn time(time: Option<&Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(time.seconds)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| "(out of range)".to_owned())
}

/// A duration to the tenth of a millisecond; empty if absent.
pub(crate) fn milliseconds(duration: Option<&prost_types::Duration>) -> String {
    duration
        .and_then(|duration| Duration::try_from(*duration).ok())
        .map(|duration| format!("{:.1} ms", duration.as_secs_f64() * 1_000.0))
        .unwrap_or_default()
}

/// A count with its noun: `1 event`, `2 events`, `0 deliveries`.
pub(crate) fn counted<N: Copy + Display + TryInto<u64>>(count: N, noun: &str) -> String {
    if matches!(count.try_into(), Ok(1)) {
        return format!("{count} {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {noun}s"),
    }
}

/// The name of an enum's value without its prefix, in lower case: `DELIVERY_STATE_FAILED` as `failed`. Empty for the
/// unspecified one.
pub(crate) fn enum_name(name: &str, prefix: &str) -> String {
    let name = name.strip_prefix(prefix).unwrap_or(name);
    if name == "UNSPECIFIED" {
        String::new()
    } else {
        name.to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_their_columns() {
        let rows = vec![
            vec!["a".to_owned(), "b".to_owned()],
            vec!["longer".to_owned(), "c".to_owned()],
        ];
        assert_eq!(table(&["ID", "NAME"], rows), "ID      NAME\na       b\nlonger  c");
        assert_eq!(
            fields(vec![
                ("id", "1".to_owned()),
                ("note", String::new()),
                ("b", "x".to_owned())
            ]),
            "id:  1\nb:   x"
        );
    }

    #[test]
    fn a_terminal_cannot_be_steered_by_data() {
        assert_eq!(printable("a\u{1b}[31mb\r\n"), "a\\u{1b}[31mb\\r\n");
        assert!(!table(&["X"], vec![vec!["\u{1b}]0;x\u{7}".to_owned()]]).contains('\u{1b}'));
    }

    #[test]
    fn one_of_a_thing_is_no_plural() {
        assert_eq!(counted(1_u64, "event"), "1 event");
        assert_eq!(counted(0_usize, "event"), "0 events");
        assert_eq!(counted(1_i64, "delivery"), "1 delivery");
        assert_eq!(counted(-1_i64, "delivery"), "-1 deliveries");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(
            time(Some(&Timestamp {
                seconds: 1_735_689_600,
                nanos: 5
            })),
            "2025-01-01 00:00:00Z"
        );
        assert_eq!(time(None), "");
        assert_eq!(
            milliseconds(Some(&prost_types::Duration {
                seconds: 0,
                nanos: 1_250_000
            })),
            "1.2 ms"
        );
        assert_eq!(enum_name("DELIVERY_STATE_FAILED", "DELIVERY_STATE_"), "failed");
        assert_eq!(enum_name("ERROR_CLASS_UNSPECIFIED", "ERROR_CLASS_"), "");
    }
}
