//! Reads paged lists.

use std::future::Future;

use clap::Args;
use tonic::Status;

use crate::{
    output::{Format, Output},
    progress::Progress,
};

/// The API's maximum page size.
const PAGE_MAX: usize = 1_000;

/// How many items of a list to show.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LimitArgs {
    /// Maximum number of items to show; fetches pages as needed
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = at_least_one)]
    pub(crate) limit: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "write a number of 1 or more".to_owned())
}

/// Fetches pages until there are `limit` items or no more. Returns the items and the token of the rest, which is empty at
/// the end. `fetch` takes the page size and the token.
pub(crate) async fn collect<T, F, P>(limit: usize, mut fetch: F) -> Result<(Vec<T>, String), Status>
where
    F: FnMut(i32, String) -> P,
    P: Future<Output = Result<(Vec<T>, String), Status>>,
{
    let mut items = Vec::new();
    let mut token = String::new();
    let mut progress: Option<Progress> = None;
    loop {
        let page_size = i32::try_from((limit - items.len()).min(PAGE_MAX)).unwrap_or(i32::MAX);
        let (page, next) = fetch(page_size, token).await?;
        items.extend(page);
        // A page may be empty before the end; only an empty token marks the end.
        if next.is_empty() || items.len() >= limit {
            return Ok((items, next));
        }
        token = next;
        // Only long lists show progress. The number of shown items is counted, not what they contain.
        let bar = progress.get_or_insert_with(|| Progress::endless(Output::new(Format::Table)));
        bar.say(format!("fetched {}", items.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_are_fetched_up_to_the_limit() {
        let mut sizes = Vec::new();
        let (items, rest) = collect(2_500, |size, token| {
            sizes.push(size);
            let next = if token.is_empty() { "2" } else { "3" };
            async move { Ok((vec![0; size as usize], next.to_owned())) }
        })
        .await
        .unwrap();
        assert_eq!((items.len(), rest.as_str()), (2_500, "3"));
        assert_eq!(sizes, [1_000, 1_000, 500]);
    }

    #[tokio::test]
    async fn an_empty_page_is_not_the_end() {
        let (items, rest) = collect(10, |_, token| async move {
            Ok(if token.is_empty() {
                (vec![], "2".to_owned())
            } else {
                (vec![7], String::new())
            })
        })
        .await
        .unwrap();
        assert_eq!((items, rest.as_str()), (vec![7], ""));
    }
}
