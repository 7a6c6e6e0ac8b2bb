//! The operator's rules on webhook URLs: they apply to existing webhooks after a restart with other rules. The module
//! `reloading` tests rules that are reloaded while connections are kept.

use hookwright_proto::v1::{Delivery, DeliveryState, ErrorClass, ListDeliveriesRequest};
use hookwright_testkit::Receiver;

use crate::support::{CLOCKING, Clients, Installation, On, on_both_stores, wait_for_events};

on_both_stores! {
    async fn s47_a_webhook_that_the_rules_of_a_new_start_deny_is_not_connected_to(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        for _ in 0..2 {
            installation.publish("clocking", CLOCKING).await;
        }
        wait_for_events(&receiver, 2).await;
        let (requests, connections) = (receiver.request_count(), receiver.connections());
        installation.server.restart_with("--deny-target", "127.0.0.0/8").await.unwrap();
        let token = installation.server.token().unwrap();
        installation.clients = Clients::connect(installation.server.grpc_address(), &token).await;
        let published = installation.publish("clocking", CLOCKING).await;
        let of_event = ListDeliveriesRequest { event: published.event, ..ListDeliveriesRequest::default() };
        let delivery = installation.deliveries_until(of_event, 1).await.remove(0);
        let is_blocked = |delivery: &Delivery| {
            delivery.state() == DeliveryState::Retrying && delivery.last_error_class() == ErrorClass::BlockedAddress
        };
        installation.delivery_until(&delivery.name, is_blocked).await;
        assert_eq!(receiver.request_count(), requests);
        assert_eq!(receiver.connections(), connections);
    }
}
