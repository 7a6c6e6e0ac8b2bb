//! Signatures checked by third-party libraries: existing receivers accept what these accept.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookwright_proto::v1::Webhook;
use hookwright_testkit::{Receiver, RecordedRequest, python::run_python_json};
use serde_json::{Value, json};

use crate::support::{CLOCKING, Installation, On, SECRET, wait_for_events, webhook};

/// A request in the form that a verifier takes.
fn as_json(request: &RecordedRequest, secret: &str, public_key: &str) -> Value {
    let headers: serde_json::Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), json!(value)))
        .collect();
    json!({
        "headers": headers,
        "body": STANDARD.encode(&request.body),
        "secret": secret,
        "public_key": public_key,
    })
}

/// Verifies a request as a receiver in Rust does, with the library of Standard Webhooks. docs/guides/verify.md quotes
/// it.
pub(crate) fn verify(
    secret: &str,
    headers: &http::HeaderMap,
    body: &[u8],
) -> Result<(), standardwebhooks::WebhookError> {
    standardwebhooks::Webhook::new(secret)?.verify(body, headers)
}

/// The request's headers in the form that libraries take.
pub(crate) fn header_map(request: &RecordedRequest) -> http::HeaderMap {
    let header = |(name, value): &(String, String)| {
        let name: http::HeaderName = name.parse().unwrap();
        (name, value.parse().unwrap())
    };
    request.headers.iter().map(header).collect()
}

#[tokio::test]
async fn standardwebhooks_gidgethub_and_cryptography_accept_what_is_sent() {
    let mut installation = Installation::start(On::Sqlite).await;
    for (secret, standard_form) in [
        (SECRET, SECRET.to_owned()),
        (
            "correct horse battery staple",
            format!("whsec_{}", STANDARD.encode("correct horse battery staple")),
        ),
    ] {
        let receiver = Receiver::start().await;
        let wanted = Webhook {
            signing_secret: secret.to_owned(),
            ed25519_signing: true,
            ..webhook(&receiver.url("/"), &["clocking"])
        };
        let created = installation.create_webhook(wanted).await.unwrap();
        receiver.wait_for(1).await;
        installation.publish("clocking", CLOCKING).await;
        let mut requests = receiver.requests();
        requests.extend(wait_for_events(&receiver, 1).await);
        for request in requests {
            let mut input = as_json(&request, secret, &created.ed25519_public_key);
            input["standard_form"] = json!(standard_form);
            let verdict = run_python_json("tests/python/verify.py", &input).await.unwrap();
            let expected = json!({
                "standardwebhooks": true, "gidgethub_sha1": true, "gidgethub_sha256": true, "ed25519": true,
                "standardwebhooks_altered": false, "gidgethub_altered": false, "ed25519_altered": false,
            });
            assert_eq!(verdict, expected, "{}", request.head);

            let headers = header_map(&request);
            verify(&standard_form, &headers, &request.body).unwrap();
            assert!(verify(&standard_form, &headers, b"{}").is_err());
        }
    }
}
