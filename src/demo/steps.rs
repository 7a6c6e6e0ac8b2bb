//! The steps of the demo and their output.

use std::net::SocketAddr;

use anyhow::{anyhow, bail};
use hookwright_proto::v1::{
    CreateOrganizationRequest, CreateWebhookRequest, Organization, PublishEventRequest, Webhook,
    publish_event_request::Payload,
};
use hookwright_server::Running;

use crate::{
    client::{Client, ClientArgs},
    listen::{
        receiver::{Received, Receiver},
        verify::Verifier,
    },
    output::{print, printable},
};

const PAYLOAD: &str = r#"{"action":"created","clocking":{"id":"CLOCKING-ID-123","driverId":"DRIVER-ID-123","clockingTimeStamp":"2018-01-01T09:01:53","isClockIn":true}}"#;

/// The demo's receiver, with the secret that verifies its requests.
pub(super) struct DemoReceiver {
    receiver: Receiver,
    verifier: Verifier,
}

impl DemoReceiver {
    /// Waits for a request with this event, and prints it. Fails if its signatures do not verify.
    async fn expect(&mut self, event: &str) -> anyhow::Result<()> {
        loop {
            let received = self
                .receiver
                .next()
                .await
                .ok_or_else(|| anyhow!("the receiver ended"))?;
            let verified = self.show(&received)?;
            if !verified {
                bail!("the signatures of the request do not verify");
            }
            if received.request.header("TT-Hook-Event") == Some(event) {
                return Ok(());
            }
        }
    }

    fn show(&self, received: &Received) -> anyhow::Result<bool> {
        let verdict = self.verifier.check(&received.request);
        // Printed as text: header lines end as on the wire, and our requests contain nothing else that needs escaping.
        let raw = String::from_utf8_lossy(&received.request.raw).replace("\r\n", "\n");
        print(&format!("\n{}\n\n{verdict}\n", printable(&raw)))?;
        Ok(verdict.complete())
    }

    /// Prints further requests.
    pub(super) async fn show_until_interrupted(mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                received = self.receiver.next() => match received {
                    Some(received) => self.show(&received).map(drop)?,
                    None => return Ok(()),
                },
                interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            }
        }
    }
}

/// Runs the demo against the running server.
pub(super) async fn play(server: &Running) -> anyhow::Result<DemoReceiver> {
    let address = server.grpc_address();
    let arguments = ClientArgs {
        address: Some(format!("http://{address}")),
        token: Some(server.admin_token()),
        ..ClientArgs::default()
    };
    // The environment must not redirect the demo to another server.
    let client = Client::connect(arguments, &|_| None)?;
    print(&format!("   ADDRESS={address}; TOKEN={}\n", server.admin_token()))?;

    print("2. Create an organization.\n")?;
    call("OrganizationService/CreateOrganization", r#"{"organizationId":"acme"}"#)?;
    let request = CreateOrganizationRequest {
        organization_id: "acme".to_owned(),
        organization: Some(Organization::default()),
    };
    let organization = client
        .organizations()
        .create_organization(request)
        .await?
        .into_inner()
        .name;
    print(&format!("   -> {organization}\n"))?;

    let receiver = Receiver::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 200).await?;
    let mut receiver = install(&client, &organization, receiver).await?;
    print("4. The webhook received a ping at once:")?;
    receiver.expect("ping").await?;

    print("5. Publish an event.\n")?;
    let quoted = serde_json::to_string(PAYLOAD)?;
    let body = format!(r#"{{"organization":"{organization}","eventType":"clocking","json":{quoted}}}"#);
    call("EventService/PublishEvent", &body)?;
    let request = PublishEventRequest {
        organization,
        event_type: "clocking".to_owned(),
        payload: Some(Payload::Json(PAYLOAD.into())),
        ..PublishEventRequest::default()
    };
    let published = client.events().publish_event(request).await?.into_inner();
    print(&format!("   -> {}\n", published.event))?;
    print("6. The event was delivered:")?;
    receiver.expect("clocking").await?;
    print("Done: both requests arrived, and all signatures verified.")?;
    Ok(receiver)
}

/// Creates the webhook whose payload URL is the demo's receiver.
async fn install(client: &Client, organization: &str, receiver: Receiver) -> anyhow::Result<DemoReceiver> {
    let payload_url = format!("http://{}/payload", receiver.address);
    print(&format!(
        "3. Create a webhook. The demo's own receiver listens on {}.\n",
        receiver.address
    ))?;
    let body =
        format!(r#"{{"parent":"{organization}","webhook":{{"payloadUrl":"{payload_url}","events":["clocking"]}}}}"#);
    call("WebhookService/CreateWebhook", &body)?;
    let webhook = Webhook {
        payload_url,
        events: vec!["clocking".to_owned()],
        ..Webhook::default()
    };
    let request = CreateWebhookRequest {
        parent: organization.to_owned(),
        webhook: Some(webhook),
    };
    let webhook = client.webhooks().create_webhook(request).await?.into_inner();
    print(&format!(
        "   -> {}\n      signing secret {}\n",
        webhook.name, webhook.signing_secret
    ))?;
    let verifier = Verifier::new(&[webhook.signing_secret], "TT-Hook-")?
        .ok_or_else(|| anyhow!("the server returned no signing secret"))?;
    Ok(DemoReceiver { receiver, verifier })
}

/// Prints a call as a command that the reader can run.
fn call(method: &str, json: &str) -> anyhow::Result<()> {
    print(&format!(
        "   grpcurl -plaintext -H \"authorization: Bearer $TOKEN\" -d '{json}' \\\n     \"$ADDRESS\" hookwright.v1.{method}\n"
    ))
}
