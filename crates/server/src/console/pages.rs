//! Paging of lists: the position in an address, and the links to the next and the first page.

use std::{fmt::Display, str::FromStr};

use super::{errors::Errors, fields::Fields};

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Newest first: below an id.
    NewestFirst,
    /// Ascending: after a name or an id.
    FirstOnes,
}

impl Order {
    /// The field of the address that contains the position.
    const fn field(self) -> &'static str {
        match self {
            Self::NewestFirst => "before",
            Self::FirstOnes => "after",
        }
    }
}

/// The position of a page.
pub(super) struct Cursor<T> {
    order: Order,
    /// The position; `None` for the first page.
    pub(super) at: Option<T>,
}

impl Cursor<i64> {
    /// The cursor of a list in the order newest first.
    pub(super) fn before(fields: &Fields, errors: &mut Errors) -> Self {
        Self::read(Order::NewestFirst, fields, errors)
    }

    /// The id below which the page begins.
    pub(super) fn below(&self) -> i64 {
        self.at.unwrap_or(i64::MAX)
    }
}

impl<T: FromStr> Cursor<T> {
    /// The cursor of an ascending list.
    pub(super) fn after(fields: &Fields, errors: &mut Errors) -> Self {
        Self::read(Order::FirstOnes, fields, errors)
    }

    /// Reports an invalid position: showing the first page instead would look like the requested one.
    fn read(order: Order, fields: &Fields, errors: &mut Errors) -> Self {
        let read = fields.some(order.field()).map(str::parse);
        if let Some(Err(_)) = read {
            let begin = match order {
                Order::NewestFirst => "the newest entries",
                Order::FirstOnes => "the first page",
            };
            errors.problem = Some(format!(
                "The address does not name a position in this list. Start from {begin}."
            ));
        }
        Self {
            order,
            at: read.and_then(Result::ok),
        }
    }
}

impl<T> Cursor<T> {
    /// The links of the list at an address, which keep its other fields.
    pub(super) fn pages(&self, address: &str, fields: &Fields, next: Option<impl Display>) -> Pages {
        let page = |query: String| match query.as_str() {
            "" => address.to_owned(),
            query => format!("{address}?{query}"),
        };
        let field = self.order.field();
        Pages {
            first: page(fields.query_without(&["before", "after", "done"])),
            next: next.map(|next| page(fields.query_with(field, &next.to_string()))),
            is_paged: fields.some(field).is_some(),
            words: match self.order {
                Order::NewestFirst => ("Back to newest", "Older →"),
                Order::FirstOnes => ("First page", "Next page"),
            },
        }
    }
}

/// The addresses of a list's other pages.
pub(super) struct Pages {
    /// The first page.
    pub(super) first: String,
    /// The next page, if there may be one.
    pub(super) next: Option<String>,
    /// Whether this is not the first page.
    pub(super) is_paged: bool,
    /// The link texts of the first and the next page.
    pub(super) words: (&'static str, &'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_means_nothing_is_said() {
        let mut errors = Errors::default();
        let read = |text: &str, errors: &mut Errors| Cursor::before(&Fields::parse(text.as_bytes()), errors).below();
        assert_eq!((read("before=7", &mut errors), read("", &mut errors)), (7, i64::MAX));
        assert!(errors.is_empty());
        read("before=seven", &mut errors);
        assert!(errors.problem.unwrap().contains("the newest"));
        let mut errors = Errors::default();
        let names = Cursor::<String>::after(&Fields::parse(b"after=acme"), &mut errors);
        assert_eq!((names.at.as_deref(), errors.is_empty()), (Some("acme"), true));
        Cursor::<i64>::after(&Fields::parse(b"after=acme"), &mut errors);
        assert!(errors.problem.unwrap().contains("the first page"));
    }

    #[test]
    fn pages_keep_what_was_asked_for() {
        let fields = Fields::parse(b"before=7&q=a%26b&done=saved");
        let pages = Cursor::before(&fields, &mut Errors::default()).pages("/list", &fields, Some(5));
        assert_eq!(pages.first, "/list?q=a%26b");
        assert_eq!(pages.next.as_deref(), Some("/list?q=a%26b&before=5"));
        assert!(pages.is_paged);
        let fields = Fields::default();
        let pages = Cursor::<String>::after(&fields, &mut Errors::default()).pages("/list", &fields, None::<i64>);
        assert_eq!(
            (pages.first.as_str(), pages.next, pages.is_paged),
            ("/list", None, false)
        );
    }
}
