//! Prints webhooks and their secrets for people.

use hookwright_domain::secret::SigningSecret;
use hookwright_proto::v1::{
    CheckWebhookUrlResponse, DeliveryMode, OrderedFailure, Ordering, ResumeWebhookResponse,
    RevealSigningSecretResponse, RotateSigningSecretResponse, Webhook,
};

use crate::{client::names, output, units::show_duration};

/// Whether it is active; if the service disabled it, why.
pub(super) fn state(webhook: &Webhook) -> String {
    let reason = output::enum_name(webhook.disabled_reason().as_str_name(), "DISABLED_REASON_");
    let state = match (webhook.active.unwrap_or(true), reason.as_str()) {
        (true, _) => "active".to_owned(),
        (false, "") => "paused".to_owned(),
        (false, reason) => format!("disabled ({reason})"),
    };
    match webhook.blocked_key_count {
        0 => state,
        1 => format!("{state}, 1 key blocked"),
        ..=BLOCKED_COUNTED => format!("{state}, {} keys blocked", webhook.blocked_key_count),
        _ => format!("{state}, more than {BLOCKED_COUNTED} keys blocked"),
    }
}

/// Up to how many blocked keys the server counts.
const BLOCKED_COUNTED: i32 = 1_000;

/// The command that lists the deliveries that block keys.
fn blocked_keys(webhook: &Webhook) -> String {
    let (organization, id) = (names::owner(&webhook.name), names::id(&webhook.name));
    match webhook.blocked_key_count {
        0 => String::new(),
        _ => format!(
            "list the deliveries that block them: hookwright deliveries list --organization {organization} --webhook {id} --state paused"
        ),
    }
}

/// The URL for display.
pub(super) fn url(webhook: &Webhook) -> String {
    if webhook.delivery_mode() == DeliveryMode::Pull {
        return "(pull)".to_owned();
    }
    if webhook.payload_url_unicode.is_empty() {
        &webhook.payload_url
    } else {
        &webhook.payload_url_unicode
    }
    .clone()
}

/// The delivery mode, if it is not push.
fn delivery_mode(webhook: &Webhook) -> &'static str {
    match webhook.delivery_mode() {
        DeliveryMode::Pull => "pull: the receiver pulls its deliveries, see `hookwright deliveries pull`",
        DeliveryMode::Push | DeliveryMode::Unspecified => "",
    }
}

/// One webhook.
pub(super) fn webhook(webhook: &Webhook) -> String {
    let duration = |duration: &prost_types::Duration| std::time::Duration::try_from(*duration).map(show_duration);
    let mut headers: Vec<String> = webhook
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    let delays = webhook.retry_schedule.iter().flat_map(|schedule| &schedule.delays);
    let delays: Vec<String> = delays.filter_map(|delay| duration(delay).ok()).collect();
    let unicode = if webhook.payload_url_unicode == webhook.payload_url {
        ""
    } else {
        &webhook.payload_url_unicode
    };
    let flag = |on: bool, text: &str| if on { text.to_owned() } else { String::new() };
    let mut rows = vec![
        ("webhook", names::id(&webhook.name).to_owned()),
        ("name", webhook.name.clone()),
        ("state", state(webhook)),
        ("blocked keys", blocked_keys(webhook)),
        ("disabled at", output::time(webhook.disable_time.as_ref())),
        ("payload url", webhook.payload_url.clone()),
        ("in unicode", unicode.to_owned()),
        ("delivery mode", delivery_mode(webhook).to_owned()),
        ("events", webhook.events.join(", ")),
        ("filter", webhook.filter.clone()),
        ("description", webhook.description.clone()),
        ("headers", headers.join("\n")),
        (
            "attempt timeout",
            webhook
                .timeout
                .as_ref()
                .and_then(|one| duration(one).ok())
                .unwrap_or_default(),
        ),
        ("retry delays", delays.join(", ")),
        (
            "requests/s",
            webhook
                .requests_per_second
                .map(|rate| rate.to_string())
                .unwrap_or_default(),
        ),
        ("ordering", ordering(webhook)),
        ("tls", flag(webhook.insecure_skip_tls_verify, "NOT verified")),
        ("rotation", rotation(webhook)),
        ("ed25519 key", webhook.ed25519_public_key.clone()),
        ("created", output::time(webhook.create_time.as_ref())),
        ("updated", output::time(webhook.update_time.as_ref())),
        ("etag", webhook.etag.clone()),
    ];
    if !webhook.signing_secret.is_empty() {
        rows.push(("signing secret", webhook.signing_secret.clone()));
        rows.push(("standard form", standard_form(&webhook.signing_secret)));
        rows.push((
            "",
            "(the receiver verifies with it; reveal-secret shows it again)".to_owned(),
        ));
    }
    output::fields(rows)
}

/// The form of a secret that libraries expect; empty if the secret has it.
fn standard_form(secret: &str) -> String {
    let standard = SigningSecret::parse_stored(secret).map(|secret| secret.standard_form());
    standard.ok().filter(|standard| standard != secret).unwrap_or_default()
}

/// A webhook that was paused, and what happens to events meanwhile.
pub(super) fn paused(paused: &Webhook) -> String {
    let (organization, id) = (names::owner(&paused.name), names::id(&paused.name));
    format!(
        "{}\n\nEvents that are published from now on are not queued for it. To send them later, resume the webhook, and run\n  \
         hookwright replays create --organization {organization} --webhook {id} --missed --since TIME",
        webhook(paused)
    )
}

/// When the rotation ends, and how to end it earlier.
fn rotation(webhook: &Webhook) -> String {
    let until = webhook
        .rotation
        .as_ref()
        .map(|rotation| output::time(rotation.expire_time.as_ref()));
    let end = complete_rotation(&webhook.name);
    let text = |until| format!("the older secret also signs until {until}; end it earlier with `{end}`");
    until.map(text).unwrap_or_default()
}

/// The command that ends a webhook's rotation.
fn complete_rotation(name: &str) -> String {
    let (organization, id) = (names::owner(name), names::id(name));
    format!("hookwright webhooks complete-rotation {id} --organization {organization}")
}

/// The resumed webhook, and what happens to its backlog.
pub(super) fn resumed(response: &ResumeWebhookResponse) -> String {
    let shown = response.webhook.as_ref().map(webhook).unwrap_or_default();
    match response.discarded_count {
        0 => shown,
        count => format!("{shown}\n\nCancelled {count} pending deliveries."),
    }
}

/// The new secret, and the rules until the old one ends.
pub(super) fn rotated(name: &str, response: &RotateSigningSecretResponse) -> String {
    let mut text = secret(&response.signing_secret, &response.standard_form);
    match &response.old_secret_expire_time {
        Some(time) => text.push_str(&format!(
            "\n\nThe old secret stays valid until {}. Until then webhook-signature carries a signature of each secret;\n\
             TT-Hook-Signature and TT-Hook-Signature-256 use the OLD secret.\n\
             To end the rotation earlier, run\n  {}",
            output::time(Some(time)),
            complete_rotation(name)
        )),
        None => text.push_str("\n\nThe old secret has ended: only the new one signs."),
    }
    text
}

/// The current secret.
pub(super) fn revealed(response: &RevealSigningSecretResponse) -> String {
    secret(&response.signing_secret, &response.standard_form)
}

fn secret(secret: &str, standard_form: &str) -> String {
    let standard_form = if secret == standard_form { "" } else { standard_form };
    output::fields(vec![
        ("signing secret", secret.to_owned()),
        ("standard form", standard_form.to_owned()),
    ])
}

/// The verdict on a URL.
pub(super) fn check(response: &CheckWebhookUrlResponse) -> String {
    output::fields(vec![
        ("allowed", if response.allowed { "yes" } else { "no" }.to_owned()),
        ("rule", response.rule.clone()),
        ("message", response.message.clone()),
        ("stored as", response.normalized_url.clone()),
    ])
}

fn ordering(webhook: &Webhook) -> String {
    match (webhook.ordering(), webhook.ordered_failure()) {
        (Ordering::Ordered, OrderedFailure::Pause) => "ordered; a permanent failure blocks its key",
        (Ordering::Ordered, _) => "ordered; a permanent failure is skipped",
        _ => "",
    }
    .to_owned()
}
