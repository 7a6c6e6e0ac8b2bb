//! The lists of the API.

mod deliveries;
mod details;
mod events;
mod others;

use prost_types::Timestamp;

use super::{Answer, Stopwatch, filling::Stored};
use crate::suite::world::World;

/// The largest page.
const LARGE: i32 = 1_000;

/// The name of a case, and how its request differs from the request for everything.
type Case<Request> = (&'static str, fn(&mut Request, &Stored));

pub(super) async fn ask(world: &World, stored: &Stored, watch: &mut Stopwatch) -> anyhow::Result<()> {
    deliveries::ask(world, stored, watch).await?;
    events::ask(world, stored, watch).await?;
    details::ask(world, stored, watch).await?;
    others::ask(world, stored, watch).await
}

/// The request of a case.
fn request<Request: Clone>(all: &Request, change: fn(&mut Request, &Stored), stored: &Stored) -> Request {
    let mut request = all.clone();
    change(&mut request, stored);
    request
}

/// A time in whole seconds.
fn time(us: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: us / 1_000_000,
        nanos: 0,
    })
}

/// An hour before a time.
fn hour_before(us: i64) -> Option<Timestamp> {
    time(us - 3_600_000_000)
}
