//! A webhook in the audit log: all of its owner's settings except possible credentials.

use std::time::Duration;

use serde_json::{Map, Value, json};
use url::Url;

use super::WebhookSpec;
use crate::app::audit;

impl WebhookSpec {
    /// Every field; of headers only the names, of the URL only the part before its query.
    pub(super) fn shown(&self) -> Map<String, Value> {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let delays = self.retry_delays.as_ref();
        let delays = delays.map(|delays| delays.iter().map(Duration::as_secs_f64).collect::<Vec<_>>());
        let shown = json!({
            "payload_url": without_credentials(&self.payload_url),
            "pull": self.pull,
            "events": self.events,
            "filter": self.filter,
            "active": self.active,
            "description": self.description,
            "headers": names,
            "timeout_seconds": self.timeout.as_secs_f64(),
            "retry_delays_seconds": delays,
            "rate_per_second": self.rate,
            "ordered": self.ordered,
            "pause_on_failure": self.pauses,
            "insecure_skip_verify": self.skip_verify,
            "ed25519": self.ed25519,
        });
        match shown {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// The fields that an update changed, each with its former and new value.
    pub(super) fn changed(before: &Self, after: &Self) -> Value {
        let (old, new) = (before.shown(), after.shown());
        let mut changed = audit::changed(&Value::Object(old.clone()), &Value::Object(new.clone()));
        // A change that shows in no name or URL is still recorded.
        let hidden = [
            ("payload_url", before.payload_url != after.payload_url),
            ("headers", before.headers != after.headers),
        ];
        for (field, is_changed) in hidden {
            if is_changed && changed[field].is_null() {
                changed[field] = json!({ "from": old[field], "to": new[field], "hidden_part_changed": true });
            }
        }
        changed
    }
}

/// A URL without user, password, query and fragment, each of which may be a credential.
fn without_credentials(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return String::new();
    };
    // They fail for URLs without a host, which contain none of these.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> WebhookSpec {
        WebhookSpec {
            payload_url: "https://user:password@host.example/hook?key=hidden#part".to_owned(),
            pull: false,
            events: vec!["clocking".to_owned()],
            filter: String::new(),
            active: true,
            description: String::new(),
            headers: vec![("Authorization".to_owned(), "Bearer hidden".to_owned())],
            timeout: Duration::from_millis(1_500),
            retry_delays: None,
            rate: None,
            ordered: false,
            pauses: false,
            skip_verify: false,
            ed25519: false,
        }
    }

    #[test]
    fn no_credential_is_shown() {
        let shown = Value::Object(spec().shown());
        assert_eq!(shown["payload_url"], "https://host.example/hook");
        assert_eq!(shown["headers"], json!(["Authorization"]));
        let text = shown.to_string();
        assert!(!text.contains("hidden") && !text.contains("password"), "{text}");
    }

    #[test]
    fn an_update_shows_what_it_changed() {
        assert_eq!(WebhookSpec::changed(&spec(), &spec()), json!({}));
        let after = WebhookSpec {
            payload_url: "https://host.example/hook?key=other".to_owned(),
            events: vec!["*".to_owned()],
            active: false,
            ..spec()
        };
        let url = "https://host.example/hook";
        assert_eq!(
            WebhookSpec::changed(&spec(), &after),
            json!({
                "payload_url": { "from": url, "to": url, "hidden_part_changed": true },
                "events": { "from": ["clocking"], "to": ["*"] },
                "active": { "from": true, "to": false },
            })
        );
    }
}
