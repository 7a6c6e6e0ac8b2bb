//! Secrets at rest: encrypted with the master key, and bound to their row.

use hookwright_domain::{
    id::WebhookId,
    secret::SigningSecret,
    signing::{Ed25519Key, Signer, SigningKeys},
};
use hookwright_storage::{MasterKey, SecretRow, WebhookRow};

/// The kind of an encrypted value: another row's ciphertext cannot be decrypted in its place.
fn context(what: &str, id: i64) -> Vec<u8> {
    format!("{what}/{id}").into_bytes()
}

/// Encrypts a signing secret for the row `id`.
pub(super) fn seal_secret(key: &MasterKey, id: i64, secret: &SigningSecret) -> Vec<u8> {
    key.seal(secret.expose().as_bytes(), &context("signing_secrets", id))
}

/// Decrypts a signing secret.
pub(super) fn open_secret(key: &MasterKey, row: &SecretRow) -> anyhow::Result<SigningSecret> {
    let text = key.open(&row.sealed, &context("signing_secrets", row.id))?;
    Ok(SigningSecret::parse_stored(std::str::from_utf8(&text)?)?)
}

/// Encrypts an ed25519 key for a webhook.
pub(super) fn seal_ed25519(key: &MasterKey, webhook: WebhookId, ed25519: &Ed25519Key) -> Vec<u8> {
    key.seal(
        ed25519.to_base64().as_bytes(),
        &context("webhooks.ed25519", webhook.raw()),
    )
}

/// Decrypts a webhook's ed25519 key, if it has one.
pub(super) fn open_ed25519(key: &MasterKey, row: &WebhookRow) -> anyhow::Result<Option<Ed25519Key>> {
    let Some(sealed) = &row.ed25519 else { return Ok(None) };
    let text = key.open(sealed, &context("webhooks.ed25519", row.id))?;
    Ok(Some(Ed25519Key::from_base64(std::str::from_utf8(&text)?)?))
}

/// Encrypts a webhook's custom headers, whose values are often credentials.
pub(super) fn seal_headers(key: &MasterKey, webhook: WebhookId, headers: &[(String, String)]) -> Vec<u8> {
    if headers.is_empty() {
        return Vec::new();
    }
    let text = serde_json::to_vec(headers).expect("strings always serialise");
    key.seal(&text, &context("webhooks.headers", webhook.raw()))
}

/// Decrypts a webhook's custom headers.
pub(super) fn open_headers(key: &MasterKey, row: &WebhookRow) -> anyhow::Result<Vec<(String, String)>> {
    if row.headers.is_empty() {
        return Ok(Vec::new());
    }
    let text = key.open(&row.headers, &context("webhooks.headers", row.id))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The signing keys of a webhook. `secrets` are newest first; only the newest has no expiry.
pub(super) fn signing_keys(key: &MasterKey, row: &WebhookRow, secrets: &[SecretRow]) -> anyhow::Result<SigningKeys> {
    let newest = secrets
        .first()
        .ok_or_else(|| anyhow::anyhow!("the webhook has no signing secret"))?;
    let current = Signer::new(&open_secret(key, newest)?);
    let previous = match secrets.get(1) {
        Some(SecretRow {
            expires_at: Some(until),
            ..
        }) => Some((Signer::new(&open_secret(key, &secrets[1])?), *until)),
        _ => None,
    };
    Ok(SigningKeys {
        current,
        previous,
        ed25519: open_ed25519(key, row)?,
    })
}
