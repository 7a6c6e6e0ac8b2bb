//! Labels of webhooks in lists and selections.

use std::collections::{BTreeMap, HashMap};

use hookwright_domain::id::WebhookId;

use super::show::beginning;
use crate::app::webhook_name::WebhookName;

/// Maximum length of the description in a label.
const NOTE_BYTES_MAX: usize = 80;

/// A webhook's label by itself: the payload URL; for a pull webhook the description, or the id.
pub(super) fn label(webhook: &WebhookName) -> String {
    if webhook.payload_url.is_empty() {
        format!("{} (pull)", note(webhook).unwrap_or_else(|| id(webhook)))
    } else {
        webhook.payload_url.clone()
    }
}

/// Labels of webhooks in one list, by id: equal labels are extended by their descriptions, or by their ids if those are
/// equal too.
pub(super) fn labels(webhooks: &[WebhookName]) -> BTreeMap<i64, String> {
    let plain: Vec<String> = webhooks.iter().map(label).collect();
    let with_note = |(webhook, plain): (&WebhookName, &String)| {
        // The label of a pull webhook already contains it.
        let note = note(webhook).filter(|_| !webhook.payload_url.is_empty());
        note.map(|note| format!("{plain} ({note})"))
    };
    let noted: Vec<Option<String>> = webhooks.iter().zip(&plain).map(with_note).collect();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for label in plain.iter().chain(noted.iter().flatten()) {
        *known.entry(label).or_default() += 1;
    }
    let is_alone = |label: &&String| known.get(label.as_str()) == Some(&1);
    let labels = webhooks
        .iter()
        .zip(&plain)
        .zip(&noted)
        .map(|((webhook, plain), noted)| {
            let label = Some(plain).filter(is_alone).or(noted.as_ref().filter(is_alone));
            let with_id = || format!("{plain} ({})", id(webhook));
            (webhook.id, label.cloned().unwrap_or_else(with_id))
        });
    labels.collect()
}

/// Whether a label contains the whole description.
pub(super) fn is_called_by(label: &str, note: &str) -> bool {
    label == format!("{note} (pull)") || label.ends_with(&format!(" ({note})"))
}

fn id(webhook: &WebhookName) -> String {
    WebhookId::from_raw(webhook.id).to_string()
}

fn note(webhook: &WebhookName) -> Option<String> {
    let (note, cut) = beginning(&webhook.description, NOTE_BYTES_MAX);
    let more = if cut { "…" } else { "" };
    (!note.is_empty()).then(|| format!("{note}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_webhooks_are_called_the_same() {
        let url = "https://example.com/";
        let webhooks = [
            (1, url, "the shop"),
            (2, url, "the shop"),
            (3, url, "reports"),
            (4, url, ""),
            (5, "https://example.com/own", "reports"),
            (6, "", "orders"),
            (7, "", ""),
            (8, "", "stock"),
            (9, "", "stock"),
        ];
        let webhooks = webhooks.map(|(id, payload_url, description)| WebhookName {
            id,
            payload_url: payload_url.to_owned(),
            description: description.to_owned(),
        });
        let id = |id| WebhookId::from_raw(id).to_string();
        let called: Vec<String> = labels(&webhooks).into_values().collect();
        assert_eq!(
            called,
            [
                format!("{url} ({})", id(1)),
                format!("{url} ({})", id(2)),
                format!("{url} (reports)"),
                format!("{url} ({})", id(4)),
                "https://example.com/own".to_owned(),
                "orders (pull)".to_owned(),
                format!("{} (pull)", id(7)),
                format!("stock (pull) ({})", id(8)),
                format!("stock (pull) ({})", id(9)),
            ]
        );
    }

    #[test]
    fn a_long_note_is_cut() {
        let webhook = WebhookName {
            id: 1,
            payload_url: String::new(),
            description: "x".repeat(1_000),
        };
        assert_eq!(label(&webhook), format!("{}… (pull)", "x".repeat(80)));
    }
}
