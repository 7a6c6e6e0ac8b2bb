//! Finding and cancelling deliveries.

use std::time::Duration;

use hookwright_proto::v1::{
    CancelDeliveryRequest, Delivery, DeliveryState, ErrorClass, ListDeliveriesRequest, RetryDeliveryRequest,
};
use hookwright_testkit::{Receiver, Response};
use tonic::{Code, Status};

use crate::support::{ACME, CLOCKING, Installation, On, on_both_stores};

async fn list(installation: &mut Installation, request: ListDeliveriesRequest) -> Result<Vec<Delivery>, Status> {
    let request = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        ..request
    };
    let page = installation.clients.deliveries.list_deliveries(request).await?;
    Ok(page.into_inner().deliveries)
}

fn names(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|one| one.name.as_str()).collect()
}

on_both_stores! {
    async fn deliveries_are_found_by_type_error_and_time(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["*"]).await;
        let first = installation.publish("checksheet", r#"{"action":"created","checksheet":{"id":"C"}}"#).await;
        receiver.wait_for(2).await;
        receiver.answer_in_turn([Response::new(500)]);
        // Times have a resolution of one millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let second = installation.publish("clocking", CLOCKING).await;
        let of = |event: &str| ListDeliveriesRequest { event: event.to_owned(), ..Default::default() };
        let first = list(&mut installation, of(&first.event)).await.unwrap().remove(0);
        let second = list(&mut installation, of(&second.event)).await.unwrap().remove(0);
        installation.delivered(&first.name).await;
        let failing = installation.delivery_until(&second.name, |one| one.state() == DeliveryState::Retrying).await;
        for (request, expected) in [
            (ListDeliveriesRequest { event_type: "checksheet".to_owned(), ..Default::default() }, vec![&first]),
            (ListDeliveriesRequest { event_type: "nothing".to_owned(), ..Default::default() }, vec![]),
            (ListDeliveriesRequest { error_classes: vec![ErrorClass::Status.into()], ..Default::default() }, vec![&second]),
            (ListDeliveriesRequest { error_classes: vec![ErrorClass::Timeout.into()], ..Default::default() }, vec![]),
            (ListDeliveriesRequest { start_time: second.create_time, ..Default::default() }, vec![&second]),
            (
                ListDeliveriesRequest {
                    start_time: first.create_time,
                    end_time: second.create_time,
                    ..Default::default()
                },
                vec![&first],
            ),
        ] {
            let found = list(&mut installation, request.clone()).await.unwrap();
            let expected: Vec<&str> = expected.into_iter().map(|one| one.name.as_str()).collect();
            assert_eq!(names(&found), expected, "{request:?}");
        }
        assert_eq!(failing.last_error_class(), ErrorClass::Status);
        let unknown = ListDeliveriesRequest { error_classes: vec![99], ..Default::default() };
        assert_eq!(list(&mut installation, unknown).await.unwrap_err().code(), Code::InvalidArgument);
    }

    async fn a_pending_delivery_can_be_cancelled_permanently(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        receiver.answer_in_turn([Response::new(500)]);
        let published = installation.publish("clocking", CLOCKING).await;
        let of_event = ListDeliveriesRequest { event: published.event, ..Default::default() };
        let name = list(&mut installation, of_event).await.unwrap().remove(0).name;
        installation.delivery_until(&name, |one| one.state() == DeliveryState::Retrying).await;
        let cancel = CancelDeliveryRequest { name: name.clone() };
        let cancelled = installation.clients.deliveries.cancel_delivery(cancel.clone()).await.unwrap();
        let cancelled = cancelled.into_inner().delivery.unwrap();
        assert_eq!((cancelled.state(), cancelled.cancel_reason.as_str()), (DeliveryState::Cancelled, "cancelled"));
        let again = installation.clients.deliveries.cancel_delivery(cancel).await.unwrap_err();
        assert_eq!(again.code(), Code::FailedPrecondition);
        let retry = RetryDeliveryRequest { name: name.clone() };
        let retried = installation.clients.deliveries.retry_delivery(retry).await.unwrap_err();
        assert_eq!(retried.code(), Code::FailedPrecondition);
        installation.restart().await;
        let delivery = installation.delivery_until(&name, |_| true).await;
        assert_eq!((delivery.state(), delivery.attempt_count), (DeliveryState::Cancelled, 1));
    }
}
