//! The address of the stream of a list's changes ([`super::live`]).

use hookwright_storage::DeliveryFilter;

use super::{Console, page::Place, session::Visitor};
use crate::app::error::{AppError, AppResult};

/// The address of the stream of a list's changes from now on. Create it before the list is read, so that no change is missed
/// until the browser connects.
pub(super) async fn live_address(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    query: &str,
) -> AppResult<String> {
    let nothing = DeliveryFilter::default();
    let watch = console
        .app
        .watch_deliveries(visitor.caller(), place.name(), nothing, "")
        .await;
    let after = match watch {
        Ok(watch) => watch.resume_token(),
        // Nobody else can watch now: the page is still shown, and tries again.
        Err(AppError::Exhausted { .. }) => String::new(),
        Err(error) => return Err(error),
    };
    Ok(format!("{}/deliveries/live?{query}&after={after}", place.base()))
}
