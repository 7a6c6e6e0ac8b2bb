//! Output of the commands: tables for people, the API's messages as JSON or YAML for programs.

mod text;

use std::{
    io::{self, Write as _},
    sync::LazyLock,
};

use anyhow::Context as _;
use clap::ValueEnum;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde::Serialize;

pub(crate) use self::text::{counted, enum_name, fields, milliseconds, printable, table, time};

/// The output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables for people
    #[default]
    Table,
    /// JSON: the API's messages in protobuf's canonical form
    Json,
    /// YAML: the same as JSON
    Yaml,
}

impl Format {
    /// A value as a document for programs: YAML if that is the format, else JSON.
    pub(crate) fn document<T: Serialize>(self, value: &T) -> anyhow::Result<String> {
        if self != Self::Yaml {
            return Ok(serde_json::to_string_pretty(value)?);
        }
        let mut options = serde_saphyr::SerializerOptions::default();
        // A long line stays one line, so that it can be searched.
        options.folded_wrap_chars = usize::MAX;
        let yaml = serde_saphyr::to_string_with_options(value, options)?;
        Ok(yaml.trim_end_matches('\n').to_owned())
    }

    /// One document of a stream: a line of JSON, or a YAML document with its separator.
    pub(crate) fn record<T: Serialize>(self, value: &T) -> anyhow::Result<String> {
        if self == Self::Yaml {
            return Ok(format!("---\n{}", self.document(value)?));
        }
        Ok(serde_json::to_string(value)?)
    }
}

/// Where results go, and in which format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints one message of the API: `name` is its type, `human` its table.
    pub(crate) fn message<M: Message>(
        self,
        name: &str,
        message: &M,
        human: impl FnOnce(&M) -> String,
    ) -> anyhow::Result<()> {
        if self.for_people() {
            return print(&human(message));
        }
        self.document(&dynamic(name, message)?, String::new)
    }

    /// Prints a value that is not an API message; `human` is its table.
    pub(crate) fn document<T: Serialize>(self, value: &T, human: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.for_people() {
            return print(&human());
        }
        print(&self.format.document(value)?)
    }

    /// Prints one message of a stream, at once.
    pub(crate) fn record<M: Message>(
        self,
        name: &str,
        message: &M,
        human: impl FnOnce(&M) -> String,
    ) -> anyhow::Result<()> {
        if self.for_people() {
            return print(&human(message));
        }
        print(&self.format.record(&dynamic(name, message)?)?)
    }

    /// Prints a list: for programs its response message with the items of all pages; for people `human`, or `empty` if there
    /// are none, and a note if `rest` (the next page's token) shows that there are more.
    pub(crate) fn list<M: Message>(
        self,
        name: &str,
        message: &M,
        list: List<'_>,
        human: impl FnOnce(&M) -> String,
    ) -> anyhow::Result<()> {
        if !self.for_people() {
            return self.message(name, message, human);
        }
        if list.length == 0 {
            return print(list.empty);
        }
        print(&human(message))?;
        if !list.rest.is_empty() {
            note(&format!("(the first {}; more exist: raise --limit)", list.length));
        }
        Ok(())
    }

    /// Confirms a change, for people only; prints an empty object for programs.
    pub(crate) fn done(self, text: &str) -> anyhow::Result<()> {
        print(if self.for_people() { text } else { "{}" })
    }

    /// The format.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Whether results are for people.
    pub(crate) fn for_people(self) -> bool {
        self.format == Format::Table
    }
}

/// A list's data in addition to its items.
pub(crate) struct List<'a> {
    /// The number of fetched items.
    pub(crate) length: usize,
    /// The token of the next page; empty at the end.
    pub(crate) rest: &'a str,
    /// The text for an empty list: why it is empty, and what to do next.
    pub(crate) empty: &'a str,
}

/// Writes to standard output, with a newline. A closed output is an error, so that commands end.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes to standard error, with a newline: notes and errors. A closed output is not an error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(hookwright_proto::FILE_DESCRIPTOR_SET).expect("the API's own descriptor set is valid")
});

/// A message of the API, which serializes to protobuf's canonical JSON form; `name` is its type within `hookwright.v1`.
fn dynamic<M: Message>(name: &str, message: &M) -> anyhow::Result<DynamicMessage> {
    let descriptor = POOL
        .get_message_by_name(&format!("hookwright.v1.{name}"))
        .with_context(|| format!("hookwright.v1.{name} is not in the descriptor set"))?;
    Ok(DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?)
}

#[cfg(test)]
mod tests {
    use hookwright_proto::v1::{Event, ListWebhooksResponse, Webhook};
    use prost_types::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn list() -> ListWebhooksResponse {
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
        ListWebhooksResponse {
            webhooks: vec![webhook],
            next_page_token: String::new(),
        }
    }

    #[test]
    fn messages_are_shown_in_their_canonical_form() {
        let message = dynamic("ListWebhooksResponse", &list()).unwrap();
        let expected = json!({ "webhooks": [{
            "name": "organizations/acme/webhooks/wh_1",
            "payloadUrl": "http://127.0.0.1:4567/payload",
            "active": false,
            "createTime": "2025-01-01T00:00:00Z",
            "timeout": "1.500s",
        }]});
        let read: Value = serde_json::from_str(&Format::Json.document(&message).unwrap()).unwrap();
        assert_eq!(read, expected);
        let read: Value = serde_saphyr::from_str(&Format::Yaml.document(&message).unwrap()).unwrap();
        assert_eq!(read, expected);
        assert!(!Format::Json.record(&message).unwrap().contains('\n'));
        assert!(Format::Yaml.record(&message).unwrap().starts_with("---\nwebhooks:\n"));
    }

    #[test]
    fn yaml_keeps_what_looks_like_something_else() {
        let texts = [
            "no",
            "1.0",
            "0x10",
            "12:30",
            "2025-01-01",
            "~",
            "",
            " x ",
            "a: b",
            "- a",
            "{\"a\":1}",
            "line\nline\n",
            "\u{1b}[31m",
        ];
        let long = "word ".repeat(60);
        for text in texts.iter().copied().chain([long.trim()]) {
            let event = Event {
                json: text.to_owned(),
                payload_bytes: 7,
                ..Event::default()
            };
            let message = dynamic("Event", &event).unwrap();
            let yaml = Format::Yaml.document(&message).unwrap();
            let read: Value = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(read, serde_json::to_value(&message).unwrap(), "{yaml}");
            assert!(!yaml.contains('\u{1b}'), "{yaml}");
        }
    }
}
