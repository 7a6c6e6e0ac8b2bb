//! What the commands write: tables for people, the API's messages as JSON for programs.

use std::{
    io::{self, Write as _},
    sync::LazyLock,
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::Timestamp;
use time::{OffsetDateTime, macros::format_description};

/// The format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables for people.
    #[default]
    Table,
    /// JSON: the API's messages in protobuf's canonical form.
    Json,
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Shows one message of the API: `name` is its type, `human` its table.
    pub(crate) fn message<M: Message>(
        self,
        name: &str,
        message: &M,
        human: impl FnOnce(&M) -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Table => print(&human(message)),
            Format::Json => print(&json(name, message)?),
        }
    }

    /// Shows a list: as JSON its response message with the items of all pages; for people `human`, or `empty` when there is
    /// nothing, and a note when `rest` (the next page's token) tells that more exists.
    pub(crate) fn list<M: Message>(
        self,
        name: &str,
        message: &M,
        list: List<'_>,
        human: impl FnOnce(&M) -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => print(&json(name, message)?),
            Format::Table if list.length == 0 => print(list.empty),
            Format::Table => {
                print(&human(message))?;
                if !list.rest.is_empty() {
                    note(&format!("(the first {}; more exist: raise --limit)", list.length));
                }
                Ok(())
            }
        }
    }

    /// Says that something was done, for people only; as JSON, an empty object.
    pub(crate) fn done(self, text: &str) -> anyhow::Result<()> {
        print(if self.format == Format::Json { "{}" } else { text })
    }

    /// Whether results are for people.
    pub(crate) fn for_people(self) -> bool {
        self.format == Format::Table
    }
}

/// What to know about a list beside its items.
pub(crate) struct List<'a> {
    /// How many items were fetched.
    pub(crate) length: usize,
    /// The token of the next page; empty at the end.
    pub(crate) rest: &'a str,
    /// What to say when there is nothing: why, and what to do next.
    pub(crate) empty: &'a str,
}

/// Writes to standard output, with a newline. That nobody reads is an error, so that commands end.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes to standard error, with a newline: remarks and failures. That nobody reads them is no failure.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(hookwright_proto::FILE_DESCRIPTOR_SET).expect("the API's own descriptor set is valid")
});

/// A message of the API as canonical JSON; `name` is its type within `hookwright.v1`.
pub(crate) fn json<M: Message>(name: &str, message: &M) -> anyhow::Result<String> {
    let descriptor = POOL
        .get_message_by_name(&format!("hookwright.v1.{name}"))
        .with_context(|| format!("hookwright.v1.{name} is not in the descriptor set"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    Ok(serde_json::to_string_pretty(&dynamic)?)
}

/// A table without lines: plain columns, easy to read and to cut.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    // Lines are never folded: an id that spans two lines cannot be copied.
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

/// One resource: a line per field. Fields without a value are left out; a value without a name is a remark on the one above.
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

/// Text that cannot steer a terminal: control characters, except for newlines and tabs, are shown as escapes.
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

/// A time to the second, in UTC; empty when absent.
pub(crate) fn time(time: Option<&Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(time.seconds)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| "(out of range)".to_owned())
}

/// A duration to the tenth of a millisecond; empty when absent.
pub(crate) fn milliseconds(duration: Option<&prost_types::Duration>) -> String {
    duration
        .and_then(|duration| Duration::try_from(*duration).ok())
        .map(|duration| format!("{:.1} ms", duration.as_secs_f64() * 1_000.0))
        .unwrap_or_default()
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
    use hookwright_proto::v1::{ListWebhooksResponse, Webhook};

    use super::*;

    #[test]
    fn messages_are_shown_as_canonical_json() {
        let webhook = Webhook {
            name: "organizations/acme/webhooks/wh_1".to_owned(),
            payload_url: "http://127.0.0.1:4567/payload".to_owned(),
            active: Some(false),
            create_time: Some(Timestamp {
                seconds: 1_735_689_600,
                nanos: 0,
            }),
            timeout: Some(prost_types::Duration {
                seconds: 1,
                nanos: 500_000_000,
            }),
            ..Webhook::default()
        };
        let list = ListWebhooksResponse {
            webhooks: vec![webhook],
            next_page_token: String::new(),
        };
        let value: serde_json::Value = serde_json::from_str(&json("ListWebhooksResponse", &list).unwrap()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({ "webhooks": [{
                "name": "organizations/acme/webhooks/wh_1",
                "payloadUrl": "http://127.0.0.1:4567/payload",
                "active": false,
                "createTime": "2025-01-01T00:00:00Z",
                "timeout": "1.500s",
            }]})
        );
    }

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
