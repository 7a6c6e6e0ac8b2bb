//! Names and keys that separate installations that share a database, each in its own schema
//! (`options=-csearch_path=name`).
//!
//! Advisory locks, channels of notices and names of sessions belong to a database, not to a schema. Therefore each is
//! modified in SQL by the current schema, so that no session needs to know its schema. In `public` they are unmodified,
//! so that servers of an older version can take part.

/// Modifies a 64-bit key of an advisory lock: `key # KEY_64`.
pub(super) const KEY_64: &str =
    "(CASE current_schema() WHEN 'public' THEN 0 ELSE hashtextextended(current_schema()::text, 0) END)";

/// Modifies the first half of an advisory lock with two halves: `half # KEY_32`.
pub(super) const KEY_32: &str =
    "(CASE current_schema() WHEN 'public' THEN 0 ELSE hashtext(current_schema()::text) END)";

/// The suffix of names. PostgreSQL keeps 63 bytes of a name, so a long schema is replaced with its hash.
pub(super) const SUFFIX: &str = "(CASE WHEN current_schema() = 'public' THEN '' \
     WHEN octet_length(current_schema()::text) <= 32 THEN ' in ' || current_schema() \
     ELSE ' in ' || md5(current_schema()::text) END)";
