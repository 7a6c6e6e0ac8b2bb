//! The outbox table: its name, and the SQL that creates it.

use std::fmt;

/// The channel that the trigger notifies.
pub(super) const CHANNEL: &str = "hookwright_outbox";
/// PostgreSQL truncates longer names.
const NAME_BYTES_MAX: usize = 63;

/// A table's name, optionally with its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    schema: Option<String>,
    name: String,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            schema: None,
            name: "hookwright_outbox".to_owned(),
        }
    }
}

impl Table {
    /// Parses `name` or `schema.name`, without quotes and case-sensitive.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        let good = |part: &str| {
            let bytes = 1..=NAME_BYTES_MAX;
            bytes.contains(&part.len()) && !part.contains(['"', '.', '\0'])
        };
        if !good(name) || !schema.is_none_or(good) {
            return Err(format!(
                "`{text}` is not a table: write NAME or SCHEMA.NAME without quotes, each at most {NAME_BYTES_MAX} bytes"
            ));
        }
        Ok(Self {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// The name of an index or function in the table's schema.
    fn beside(&self, suffix: &str) -> String {
        let mut name = self.name.clone();
        while name.len() + suffix.len() > NAME_BYTES_MAX {
            name.pop();
        }
        name.push_str(suffix);
        name
    }

    fn qualified(&self, name: &str) -> String {
        match &self.schema {
            Some(schema) => format!("\"{schema}\".\"{name}\""),
            None => format!("\"{name}\""),
        }
    }

    /// The query whether a table of this name exists.
    pub(super) fn exists(&self) -> String {
        format!(
            "SELECT to_regclass('{}') IS NOT NULL",
            self.to_string().replace('\'', "''")
        )
    }

    /// The SQL that creates the table, index and trigger if they do not exist. `notify` includes the trigger.
    pub(super) fn create(&self, notify: bool) -> String {
        let index = self.beside("_pending");
        let table = format!(
            "\
-- The outbox of `hookwright relay`. PostgreSQL 13 or later.
CREATE TABLE IF NOT EXISTS {self} (
    -- Rows of one ordering key are published in the order of their ids.
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What to publish; the columns are the fields of PublishEventRequest.
    organization  text NOT NULL,
    event_type    text NOT NULL,
    payload       text NOT NULL CHECK (json_typeof(payload::json) = 'object'),
    attributes    jsonb CHECK (jsonb_typeof(attributes) = 'object'),
    ordering_key  text,
    event_time    timestamptz NOT NULL DEFAULT now() CHECK (isfinite(event_time)),
    -- Makes a repeated publish harmless. Leave it to the default, or give one of your own.
    request_id    text NOT NULL DEFAULT gen_random_uuid()::text,
    -- The rest is the relay's.
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at  timestamptz,
    event         text,
    failed_at     timestamptz,
    error         text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX IF NOT EXISTS \"{index}\" ON {self} (id) WHERE published_at IS NULL AND failed_at IS NULL;
"
        );
        if notify {
            format!("{table}{}", self.trigger())
        } else {
            table
        }
    }

    fn trigger(&self) -> String {
        let function = self.qualified(&self.beside("_notify"));
        let trigger = self.beside("_notify");
        format!(
            "
-- Tells the relay of new rows, once for each transaction that inserts any.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('{CHANNEL}', '');
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS \"{trigger}\" ON {self};
CREATE TRIGGER \"{trigger}\" AFTER INSERT ON {self} FOR EACH STATEMENT EXECUTE FUNCTION {function}();
"
        )
    }
}

/// Quoted for SQL.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.qualified(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(Table::default().to_string(), "\"hookwright_outbox\"");
        assert_eq!(
            Table::parse("shop.Out box").unwrap().to_string(),
            "\"shop\".\"Out box\""
        );
        for bad in ["", ".", "a.", ".b", "a.b.c", "a\"b", &"x".repeat(64)] {
            assert!(Table::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_beside_the_table_are_not_cut_off() {
        let table = Table::parse(&"é".repeat(31)).unwrap();
        let name = table.beside("_pending");
        assert!(name.ends_with("é_pending") && name.len() <= NAME_BYTES_MAX, "{name}");
        assert!(!table.create(false).contains("TRIGGER"));
    }
}
