//! A clock that is wrong all the time, and how the server finds out.

use hookwright_testkit::{Receiver, Response, until};
use time::format_description::well_known::Rfc2822;

use super::{PlantedClock, now};
use crate::{
    access::get,
    support::{CLOCKING, Installation, On, on_both_stores, webhook},
};

/// A `Date` header with the right time.
fn date() -> String {
    now().format(&Rfc2822).unwrap().replace("+0000", "GMT")
}

on_both_stores! {
    async fn b31_a_clock_that_is_ten_minutes_off_is_told(on: On) {
        let clock = PlantedClock::of_machine();
        clock.set(600);
        let mut installation = Installation::start_with(on, |server| clock.in_place(server)).await;
        let mut receivers = Vec::new();
        for address in ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"] {
            let receiver = Receiver::start_at(address.parse().unwrap()).await;
            receiver.answer_with(|_| Response::new(200).header("Date", date()));
            let url = receiver.url_as(&receiver.address().ip().to_string(), "/");
            installation.create_webhook(webhook(&url, &["clocking"])).await.unwrap();
            receivers.push(receiver);
        }
        let whose = if on == On::Sqlite { "the clocks of most receivers" } else { "the database's" };
        let address = installation.server.http_address().to_owned();
        let said = until("the clock fault to be reported", async || {
            installation.publish("clocking", CLOCKING).await;
            let said = get(&address, "/readyz").await;
            if said.contains("ahead of") { Ok(said) } else { Err(said) }
        })
        .await;
        assert!(said.contains("200 OK") && said.contains(whose) && said.contains("webhook-timestamp"), "{said}");
        let offset = installation.reading("hookwright_clock_offset_seconds").await;
        assert!((595.0..605.0).contains(&offset), "{offset}");
        installation.says("/metrics", "hookwright_clock_offset_seconds").await;
        assert!(installation.server.stderr().contains("may refuse the signatures"));
        clock.set(0);
        until("the clock to be right again", async || {
            installation.publish("clocking", CLOCKING).await;
            let said = get(&address, "/readyz").await;
            if said.contains("ahead of") { Err(said) } else { Ok(()) }
        })
        .await;
    }
}
