//! Pages that update by themselves: lists that change live, and pages that refresh. They show the current state, use no
//! more connections than a browser allows, and can be paused.

use hookwright_proto::v1::{
    Delivery, DeliveryState, ListDeliveriesRequest, RetryDeliveryRequest, WatchDeliveriesRequest,
};
use hookwright_testkit::{Browser, Receiver, Response};
use serde_json::{Value, json};

use super::{Reader, address, browser, delivery_of, enter, unescaped};
use crate::support::{ACME, Clients, Installation, On, id_of, on_both_stores, portal_link};

const DELIVERIES: &str = "/console/organizations/acme/deliveries";
const LIVE: &str = "● Live";
/// The ids of the list's rows, first to last.
const IDS: &str = "return [...document.querySelectorAll('tbody tr')].map((row) => row.id)";

/// An installation whose deliveries are retried only on request.
struct Watched {
    installation: Installation,
    receiver: Receiver,
    browser: Browser,
}

impl Watched {
    async fn start(on: On) -> Self {
        let mut installation = Installation::start_with(on, |builder| builder.arg("--retry-delay", "1h,1h,1h")).await;
        installation.register("order.paid").await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["order.paid"]).await;
        installation.deliveries_until(ListDeliveriesRequest::default(), 1).await;
        let browser = browser(&installation, &installation.server.token().unwrap()).await;
        Self {
            installation,
            receiver,
            browser,
        }
    }

    async fn open(&self, path: &str) {
        self.browser.open(&address(&self.installation, path)).await.unwrap();
    }

    /// Publishes an event, and waits until its delivery reaches a state.
    async fn publish(&mut self, state: DeliveryState) -> Delivery {
        let published = self.installation.publish("order.paid", r#"{"total":1}"#).await;
        let made = delivery_of(&mut self.installation, &published.event).await;
        let stands = |delivery: &Delivery| delivery.state() == state;
        self.installation.delivery_until(&made, stands).await
    }

    async fn retry(&mut self, delivery: &Delivery) {
        let request = RetryDeliveryRequest {
            name: delivery.name.clone(),
        };
        self.installation
            .clients
            .deliveries
            .retry_delivery(request)
            .await
            .unwrap();
    }

    async fn ids(&self) -> Vec<String> {
        ids(&self.browser.run(IDS, json!([])).await.unwrap())
    }

    async fn ids_until(&self, expected: impl Fn(&[String]) -> bool) -> Vec<String> {
        ids(&self.browser.wait_for_result(IDS, |value| expected(&ids(value))).await)
    }
}

fn ids(value: &Value) -> Vec<String> {
    let rows = value.as_array().into_iter().flatten();
    rows.filter_map(Value::as_str).map(str::to_owned).collect()
}

on_both_stores! {
    async fn a_row_shows_how_its_delivery_stands_and_keeps_its_place(on: On) {
        let mut watched = Watched::start(on).await;
        watched.receiver.answer(Response::new(503));
        let first = watched.publish(DeliveryState::Retrying).await;
        watched.receiver.answer(Response::new(200));
        let second = watched.publish(DeliveryState::Delivered).await;

        // A delivery that no longer matches the filter stays in the list, and is marked.
        watched.open(&format!("{DELIVERIES}?state=retrying")).await;
        watched.browser.wait_for(LIVE).await;
        assert_eq!(watched.ids().await, [id_of(&first.name)]);
        let before = watched.browser.open_tab().await.unwrap();
        watched.open(&format!("{DELIVERIES}?state=delivered&event_type=order.paid")).await;
        watched.browser.wait_for(LIVE).await;
        assert_eq!(watched.ids().await, [id_of(&second.name)]);

        watched.retry(&first).await;
        // Older deliveries are inserted below newer ones.
        let shown = watched.ids_until(|ids| ids.len() == 2).await;
        assert_eq!(shown, [id_of(&second.name), id_of(&first.name)]);
        watched.browser.show_tab(&before).await.unwrap();
        let state = "return document.querySelector('tbody tr [data-label=State]').innerText";
        watched.browser.wait_for_result(state, |state| state == "delivered").await;
        assert_eq!(watched.ids().await, [id_of(&first.name)], "no delivery appeared that does not match");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_delivery_is_lost_between_a_list_and_its_next_page() {
    let mut watched = Watched::start(On::Sqlite).await;
    for _ in 0..51 {
        watched.installation.publish("order.paid", r#"{"total":1}"#).await;
    }
    let all = ListDeliveriesRequest::default();
    watched.installation.deliveries_until(all.clone(), 52).await;
    watched.open(DELIVERIES).await;
    watched.browser.wait_for(LIVE).await;
    assert_eq!(watched.ids().await.len(), 50);
    for _ in 0..3 {
        watched.publish(DeliveryState::Delivered).await;
    }
    let newest = watched.installation.deliveries(all).await;
    let newest: Vec<String> = newest.iter().map(|delivery| id_of(&delivery.name).to_owned()).collect();
    watched.ids_until(|ids| ids == &newest[..50]).await;
    watched.browser.click_css("[data-older]").await.unwrap();
    watched.ids_until(|ids| ids == &newest[50..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_where_its_page_was_made() {
    let mut watched = Watched::start(On::Sqlite).await;
    let reader = Reader::sign_in(&watched.installation, &watched.installation.server.token().unwrap()).await;
    let page = reader.get(DELIVERIES).await.text();
    let (_, rest) = page.split_once("data-live=\"").expect("it is live");
    let stream = unescaped(rest.split('"').next().unwrap());
    // This delivery changes after the page was rendered and before its stream begins.
    let made = watched.publish(DeliveryState::Delivered).await;
    watched.open("/console/").await;
    let begin = async |stream: &str| {
        let script = format!(
            "const done = arguments[arguments.length - 1]; const source = new EventSource('{stream}'); let begun; \
             const end = (row) => {{ source.close(); done([begun, row]); }}; \
             source.addEventListener('begun', (event) => {{ begun = event.data; if (begun === \"anew\") end(''); }}); \
             source.addEventListener('delivery', (event) => end(event.data));"
        );
        watched.browser.run_async(&script).await.unwrap()
    };
    let told = begin(&stream).await;
    assert_eq!(told[0], "live");
    assert!(told[1].as_str().unwrap().contains(id_of(&made.name)), "{told}");
    // If a position is no longer known, the stream tells the page that changes are missing.
    let (address, _) = stream.split_once("after=").expect("its address has a position");
    assert_eq!(begin(&format!("{address}after=AAAA")).await[0], "anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_nobody_looks_at_hold_no_connection() {
    let mut watched = Watched::start(On::Sqlite).await;
    watched.open(DELIVERIES).await;
    watched.browser.wait_for(LIVE).await;
    let first = watched.browser.open_tab().await.unwrap();
    // Browsers open at most six connections to a server.
    for _ in 0..7 {
        watched.open(DELIVERIES).await;
        watched.browser.wait_for(LIVE).await;
        watched.browser.open_tab().await.unwrap();
    }
    let missed = watched.publish(DeliveryState::Delivered).await;
    watched.browser.show_tab(&first).await.unwrap();
    let shown = watched.ids_until(|ids| ids.len() == 2).await;
    assert_eq!(shown[0], id_of(&missed.name), "it catches up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_may_not_watch_now_tries_again() {
    let mut watched = Watched::start(On::Sqlite).await;
    let token = watched.installation.server.token().unwrap();
    let mut others = Vec::new();
    let full = loop {
        // A connection carries at most this many streams.
        if others.len() % 100 == 0 {
            let clients = Clients::connect(watched.installation.server.grpc_address(), &token).await;
            watched.installation.clients = clients;
        }
        let request = WatchDeliveriesRequest {
            parent: ACME.to_owned(),
            ..WatchDeliveriesRequest::default()
        };
        match watched.installation.clients.deliveries.watch_deliveries(request).await {
            Ok(stream) => others.push(stream),
            Err(full) => break full,
        }
    };
    assert_eq!(full.code(), tonic::Code::ResourceExhausted, "{full}");
    watched.open(DELIVERIES).await;
    watched.browser.wait_for("Disconnected, reconnecting").await;
    drop(others);
    watched.browser.wait_for(LIVE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_says_that_its_session_is_over() {
    for path in [DELIVERIES, "/console/"] {
        let watched = Watched::start(On::Sqlite).await;
        watched.open(path).await;
        watched.browser.wait_for(LIVE).await;
        let page = watched.browser.open_tab().await.unwrap();
        watched.open(path).await;
        watched.browser.click("Sign out").await.unwrap();
        watched.browser.wait_for("API token").await;
        watched.browser.show_tab(&page).await.unwrap();
        watched.browser.wait_for("Your session expired.").await;
        watched.browser.click("Sign in again").await.unwrap();
        watched.browser.wait_for("API token").await;
        enter(&watched.browser, &watched.installation.server.token().unwrap()).await;
        watched.browser.wait_for(LIVE).await;
        assert_eq!(
            watched.browser.url().await.unwrap(),
            address(&watched.installation, path)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customers_page_says_that_their_time_is_over() {
    let mut watched = Watched::start(On::Sqlite).await;
    let link = watched
        .installation
        .clients
        .create_portal_link(portal_link(ACME))
        .await
        .unwrap();
    watched.browser.open(&link.url).await.unwrap();
    watched.browser.click("Deliveries").await.unwrap();
    watched.browser.wait_for(LIVE).await;
    let address = watched.browser.url().await.unwrap();
    let page = watched.browser.open_tab().await.unwrap();
    watched.browser.open(&address).await.unwrap();
    watched.browser.click("Sign out").await.unwrap();
    watched.browser.show_tab(&page).await.unwrap();
    watched.browser.wait_for("Your session expired").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_updates_can_be_paused() {
    let mut watched = Watched::start(On::Sqlite).await;
    watched.open(DELIVERIES).await;
    watched.browser.wait_for(LIVE).await;
    watched.browser.click("Pause updates").await.unwrap();
    watched.browser.wait_for("Updates paused").await;
    // Another reader sees it appear.
    let token = watched.installation.server.token().unwrap();
    let witness = browser(&watched.installation, &token).await;
    witness.open(&address(&watched.installation, DELIVERIES)).await.unwrap();
    witness.wait_for(LIVE).await;
    let missed = watched.publish(DeliveryState::Delivered).await;
    witness.wait_for_result(IDS, |rows| ids(rows).len() == 2).await;
    assert_eq!(watched.ids().await.len(), 1);
    watched.browser.click("Resume").await.unwrap();
    watched.browser.wait_for(LIVE).await;
    let shown = watched.ids_until(|ids| ids.len() == 2).await;
    assert_eq!(shown[0], id_of(&missed.name));
    // The user can pause a page that polls, too.
    watched.open("/console/organizations/acme").await;
    watched.browser.wait_for(LIVE).await;
    watched.browser.click("Pause updates").await.unwrap();
    watched.browser.wait_for("Updates paused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_asks_by_itself_says_so() {
    let watched = Watched::start(On::Sqlite).await;
    watched.open("/console/organizations/acme").await;
    let listen = "const ask = window.fetch; window.fetch = (address, how) => { \
                  window.said = new Headers(how?.headers).get('hookwright-follows'); return ask(address, how); }";
    watched.browser.run(listen, json!([])).await.unwrap();
    let said = |said: &Value| *said == json!("1");
    watched.browser.wait_for_result("return window.said", said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_refreshed_does_not_disturb_its_reader() {
    let mut watched = Watched::start(On::Sqlite).await;
    watched.receiver.answer(Response::new(503));
    let delivery = watched.publish(DeliveryState::Retrying).await;
    watched.open(&format!("{DELIVERIES}/{}", id_of(&delivery.name))).await;
    watched.browser.wait_for("Attempt 1").await;
    let mark = "document.querySelector('#delivery [role=status]').mark = true; \
                getSelection().selectAllChildren(document.querySelector('#delivery h1')); \
                document.querySelector('a[href$=cancel]').focus(); return getSelection().toString()";
    let selected = watched.browser.run(mark, json!([])).await.unwrap();
    assert!(selected.as_str().unwrap().starts_with("order.paid"), "{selected}");
    watched.retry(&delivery).await;
    watched.browser.wait_for("Attempt 2").await;
    let kept = "return [document.querySelector('#delivery [role=status]').mark, getSelection().toString(), \
                document.activeElement.getAttribute('href')]";
    let kept = watched.browser.run(kept, json!([])).await.unwrap();
    assert_eq!((&kept[0], &kept[1]), (&json!(true), &selected));
    assert!(
        kept[2].as_str().is_some_and(|action| action.ends_with("/cancel")),
        "{kept}"
    );
    // A link that has focus never changes to another link. The page announces the final state.
    watched.receiver.answer(Response::new(200));
    watched.retry(&delivery).await;
    watched.browser.wait_for("Attempt 3").await;
    let focused = "return document.activeElement.tagName";
    assert_eq!(watched.browser.run(focused, json!([])).await.unwrap(), "BODY");
    let hidden = "return document.querySelector('[data-following]').hidden";
    watched.browser.wait_for_result(hidden, |hidden| hidden == true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patching_ends_at_what_the_server_sends() {
    let watched = Watched::start(On::Sqlite).await;
    watched.open("/console/").await;
    let script = "const done = arguments[arguments.length - 1]; let seed = 1; \
                  const below = (n) => { seed = (seed * 48271) % 2147483647; return seed % n; }; \
                  const tree = (depth) => { const node = document.createElement(['div', 'p', 'b'][below(3)]); \
                  if (below(3) === 0) node.className = 'x' + below(3); const ids = new Set(); \
                  for (let i = below(5); i > 0 && depth > 0; i--) { \
                  if (below(3) === 0) { node.append('text' + below(4)); continue; } \
                  const child = tree(depth - 1); const id = 'abcdef'[below(6)]; \
                  if (below(2) === 0 && !ids.has(id)) { ids.add(id); child.id = id; } node.append(child); } return node; }; \
                  import(document.querySelector('script[type=module]').src.replace('console.js', 'patch.js')).then(({ patch }) => { \
                  for (let i = 0; i < 2000; i++) { const [from, to] = [document.createElement('div'), document.createElement('div')]; \
                  from.append(tree(3), tree(2)); to.append(tree(3), tree(2)); const told = [from.outerHTML, to.outerHTML]; \
                  patch(from, to.cloneNode(true)); \
                  if (!from.isEqualNode(to)) return done([...told, from.outerHTML]); } done([]); }, (error) => done([String(error)]));";
    assert_eq!(watched.browser.run_async(script).await.unwrap(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overviews_keep_themselves_up_to_date() {
    let mut watched = Watched::start(On::Sqlite).await;
    for path in ["/console/", "/console/organizations/acme"] {
        watched.open(path).await;
        watched.browser.wait_for(LIVE).await;
        watched.browser.click("Show as table").await.unwrap();
        let delivered = "const open = document.querySelector('figure details').open; \
                         return open && [...document.querySelectorAll('figure tbody tr td:nth-child(2)')] \
                         .reduce((sum, cell) => sum + Number(cell.innerText), 0)";
        let before = watched.browser.run(delivered, json!([])).await.unwrap();
        let before = before.as_i64().expect("they are open");
        for _ in 0..2 {
            watched.publish(DeliveryState::Delivered).await;
        }
        let more = |now: &Value| now.as_i64().is_some_and(|now| now >= before + 2);
        watched.browser.wait_for_result(delivered, more).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_until_the_next_attempt_runs_down() {
    let mut watched = Watched::start(On::Sqlite).await;
    watched.receiver.answer(Response::new(503));
    watched.publish(DeliveryState::Retrying).await;
    watched.open(DELIVERIES).await;
    watched.browser.wait_for(LIVE).await;
    // The list gets no rows meanwhile: its script counts down alone. The due time is first set to a near one.
    let near = "const time = document.querySelector('tbody tr [data-label=Next] time'); \
                const hours = time.innerText; \
                time.dateTime = new Date(Date.now() + 3000).toISOString(); \
                return [hours, time.title]";
    let shown = watched.browser.run(near, json!([])).await.unwrap();
    let (hours, title) = (shown[0].as_str().unwrap(), shown[1].as_str().unwrap());
    assert!(hours.starts_with("in ") && hours.ends_with(" min"), "{hours}");
    assert!(title.ends_with('Z'), "the instant in UTC: {title}");
    let text = "return document.querySelector('tbody tr [data-label=Next] time').innerText";
    watched.browser.wait_for_result(text, |text| text == "due now").await;
}
