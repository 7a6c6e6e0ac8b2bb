//! Lists that come in pages.

use std::future::Future;

use clap::Args;
use tonic::Status;

use crate::{
    output::{Format, Output},
    progress::Progress,
};

/// The most that one page holds, by the API.
const PAGE_MAX: usize = 1_000;

/// How much of a list to show.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LimitArgs {
    /// Show at most this many; pages are fetched as needed
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = at_least_one)]
    pub(crate) limit: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "write a number of 1 or more".to_owned())
}

/// Fetches pages until `limit` items are there or none are left. Returns the items and the token of what was left out, empty
/// at the end. `fetch` takes page size and token.
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
        // A page may be empty while more follow: only an empty token is the end.
        if next.is_empty() || items.len() >= limit {
            return Ok((items, next));
        }
        token = next;
        // Long lists alone need one; what is shown goes by the length of the list, not by what it is of.
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
