//! A splitter of migrations into statements: PostgreSQL runs some statements only alone.

/// The statements of a text, without the semicolons between them. Comments are kept.
pub(super) fn statements(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(';') {
            found.push(&text[begin..at]);
            begin = at + 1;
        }
        at += token(rest);
    }
    found.push(&text[begin..]);
    found.retain(|statement| !is_blank(statement));
    found.into_iter().map(str::trim).collect()
}

/// The length in bytes of the first token of a text: a quoted string, a comment, or a character.
fn token(text: &str) -> usize {
    let until = |begin: usize, end: &str| text[begin..].find(end).map_or(text.len(), |at| begin + at + end.len());
    if text.starts_with("--") {
        until(2, "\n")
    } else if text.starts_with("/*") {
        until(2, "*/")
    } else if text.starts_with('\'') {
        // A doubled quote ends one string and begins the next.
        until(1, "'")
    } else if text.starts_with('"') {
        until(1, "\"")
    } else if let Some(tag) = dollar_tag(text) {
        until(tag.len(), tag)
    } else {
        text.chars().next().map_or(1, char::len_utf8)
    }
}

/// The `$tag$` at the beginning of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    let is_tag = |tag: &str| {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        tag.chars().all(is_letter) && !tag.starts_with(|first: char| first.is_ascii_digit())
    };
    is_tag(&inner[..end]).then(|| &text[..end + 2])
}

/// Whether a statement consists of comments only.
fn is_blank(statement: &str) -> bool {
    bare(statement).is_empty()
}

/// A statement without the comments before its first word.
pub(super) fn bare(statement: &str) -> &str {
    let mut rest = statement.trim_start();
    while rest.starts_with("--") || rest.starts_with("/*") {
        rest = rest[token(rest)..].trim_start();
    }
    rest.trim_end()
}

/// `CREATE INDEX CONCURRENTLY name ON table ...`, in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConcurrentIndex<'a> {
    pub(super) is_unique: bool,
    pub(super) name: &'a str,
    pub(super) table: &'a str,
    /// Everything from the columns on.
    pub(super) rest: &'a str,
}

impl<'a> ConcurrentIndex<'a> {
    /// Parses a statement; `None` for any other statement.
    pub(super) fn read(statement: &'a str) -> Option<Self> {
        let mut left = bare(statement);
        let mut word = || {
            let (word, rest) = left.split_once(|letter: char| letter.is_ascii_whitespace() || letter == '(')?;
            let end = word.len();
            left = if rest.is_empty() {
                rest
            } else {
                left[end..].trim_start()
            };
            Some(word)
        };
        let mut expect = |wanted: &str| word().filter(|word| word.eq_ignore_ascii_case(wanted)).map(drop);
        expect("CREATE")?;
        let next = word()?;
        let is_unique = next.eq_ignore_ascii_case("UNIQUE");
        if is_unique {
            word().filter(|word| word.eq_ignore_ascii_case("INDEX"))?;
        } else if !next.eq_ignore_ascii_case("INDEX") {
            return None;
        }
        word().filter(|word| word.eq_ignore_ascii_case("CONCURRENTLY"))?;
        let mut name = word()?;
        if name.eq_ignore_ascii_case("IF") {
            word()?;
            word()?;
            name = word()?;
        }
        word().filter(|word| word.eq_ignore_ascii_case("ON"))?;
        let table = word()?;
        Some(Self {
            is_unique,
            name,
            table,
            rest: left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_they_end() {
        let text = "-- first; not here\nCREATE TABLE a (b text DEFAULT 'x;''y;');\n\
            DO $$ BEGIN PERFORM 1; END $$; /* ; */ INSERT INTO \"a;b\" VALUES ($tag$ ; $$ ; $tag$);\n-- the end\n";
        let found = statements(text);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert_eq!(bare(found[0]), "CREATE TABLE a (b text DEFAULT 'x;''y;')");
        assert_eq!(bare(found[1]), "DO $$ BEGIN PERFORM 1; END $$");
        assert_eq!(bare(found[2]), "INSERT INTO \"a;b\" VALUES ($tag$ ; $$ ; $tag$)");
        assert_eq!(
            statements("SELECT $1; SELECT 'caf\u{e9}'"),
            ["SELECT $1", "SELECT 'caf\u{e9}'"]
        );
        assert_eq!(statements(" ;; -- nothing\n"), [""; 0]);
    }

    #[test]
    fn indexes_that_are_built_concurrently_are_read() {
        let read = |text| ConcurrentIndex::read(text);
        let plain = read("-- why\nCREATE INDEX CONCURRENTLY a_of_b ON a (b) WHERE c").unwrap();
        assert_eq!(
            (plain.is_unique, plain.name, plain.table, plain.rest),
            (false, "a_of_b", "a", "(b) WHERE c")
        );
        let unique = read("create unique index concurrently if not exists x on y(z)").unwrap();
        assert_eq!(
            (unique.is_unique, unique.name, unique.table, unique.rest),
            (true, "x", "y", "(z)")
        );
        for other in [
            "CREATE INDEX a ON b (c)",
            "CREATE TABLE a (b int)",
            "ALTER TABLE a ADD b int",
            "SELECT 1",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
