//! Filters: a CEL expression (Common Expression Language, <https://cel.dev>) over an event's type, attributes, ordering key
//! and payload selects the events that a webhook receives.
//!
//! The server evaluates an owner's expression for every event of the organization. Compilation therefore bounds its cost:
//! few loops, none nested, few additions. An event for which the expression cannot be evaluated, for example because a field
//! is missing, does not match.

mod cost;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};

use cel::{Context, Env, Program, Value};

/// The maximum length of an expression.
pub const FILTER_CHARS_MAX: usize = 2_048;

/// The stack for the maximum number of brackets, in an unoptimized build.
const PARSER_STACK: usize = 64 << 20;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Too long.
    #[error("must be at most {FILTER_CHARS_MAX} characters; it has {0}")]
    TooLong(usize),
    /// Not CEL.
    #[error("is not a CEL expression: line {line}, column {column}: {message}")]
    Syntax {
        /// The line of the error, from 1.
        line: isize,
        /// The column of the error, from 1.
        column: isize,
        /// The error.
        message: String,
    },
    /// An unknown name.
    #[error("names `{0}`; a filter can use `event_type`, `attributes`, `ordering_key` and `payload`")]
    UnknownVariable(String),
    /// An unknown function.
    #[error("calls `{0}`; a filter can call {known}", known = cost::FUNCTIONS.map(|name| format!("`{name}`")).join(", "))]
    UnknownFunction(String),
    /// The result can never be true or false.
    #[error("must be true or false, for example `attributes.region == 'eu'`")]
    NotBoolean,
    /// Evaluation could take too long.
    #[error("could take too long: {0}")]
    Cost(&'static str),
}

impl FilterError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "FILTER_TOO_LONG",
            Self::Syntax { .. } => "FILTER_SYNTAX",
            Self::UnknownVariable(_) => "FILTER_UNKNOWN_VARIABLE",
            Self::UnknownFunction(_) => "FILTER_UNKNOWN_FUNCTION",
            Self::NotBoolean => "FILTER_NOT_BOOLEAN",
            Self::Cost(_) => "FILTER_TOO_COSTLY",
        }
    }
}

/// A filter, compiled once.
#[derive(Debug)]
pub struct WebhookFilter {
    text: String,
    program: Program,
    reads_payload: bool,
}

impl WebhookFilter {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When it is invalid, or breaks a rule of filters.
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        let chars = text.chars().count();
        if chars > FILTER_CHARS_MAX {
            return Err(FilterError::TooLong(chars));
        }
        cost::check_text(text)?;
        // The parser uses much stack for each bracket, and may panic on some texts, which are then invalid.
        std::thread::scope(|scope| {
            let parser = std::thread::Builder::new().stack_size(PARSER_STACK);
            let parsed = parser
                .spawn_scoped(scope, || Self::parse(text))
                .map(std::thread::ScopedJoinHandle::join);
            match parsed {
                Ok(Ok(filter)) => filter,
                _ => Err(FilterError::Cost("it needs too much memory to parse")),
            }
        })
    }

    fn parse(text: &str) -> Result<Self, FilterError> {
        let program = Program::compile(text).map_err(|errors| syntax(&errors))?;
        let reads_payload = cost::check(program.expression())?;
        Ok(Self {
            text: text.to_owned(),
            program,
            reads_payload,
        })
    }

    /// The expression as given. Two filters with the same text match the same events.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the filter reads the payload, which must then be parsed.
    pub fn reads_payload(&self) -> bool {
        self.reads_payload
    }

    /// Whether an event matches.
    ///
    /// # Errors
    /// As text, when the expression cannot be evaluated for this event, which then does not match.
    pub fn matches(&self, facts: &EventFacts<'_>) -> Result<bool, String> {
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.program.execute(&facts.context)));
        match evaluated {
            Ok(Ok(Value::Bool(matches))) => Ok(matches),
            Ok(Ok(other)) => Err(format!("the result is a {}, not true or false", other.type_of())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the expression cannot be evaluated".to_owned()),
        }
    }
}

fn syntax(errors: &cel::ParseErrors) -> FilterError {
    let first = errors.errors.first();
    FilterError::Syntax {
        line: first.map_or(1, |error| error.pos.0),
        column: first.map_or(1, |error| error.pos.1),
        message: first.map_or_else(
            || "cannot be read".to_owned(),
            |error| error.msg.lines().next().unwrap_or_default().to_owned(),
        ),
    }
}

/// An event in the form that filters read: built once, used by any number of filters.
pub struct EventFacts<'a> {
    context: Context<'a, 'a>,
}

impl EventFacts<'_> {
    /// From the parts of an event; without a payload if no filter reads it.
    ///
    /// # Errors
    /// When the payload is not JSON.
    pub fn new(
        event_type: &str,
        attributes: &BTreeMap<String, String>,
        ordering_key: &str,
        payload: Option<&[u8]>,
    ) -> Result<Self, serde_json::Error> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_from_value("event_type", event_type);
        context.add_variable_from_value("ordering_key", ordering_key);
        context.add_variable_from_value("attributes", value::of_attributes(attributes));
        if let Some(payload) = payload {
            context.add_variable_from_value("payload", value::of_json(payload)?);
        }
        Ok(Self { context })
    }
}
