//! A server's first start: directory, master key, admin token, and the sample event types.

pub(crate) mod data_dir;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookwright_delivery::clock;
use hookwright_domain::{
    id::{IdGenerator, TokenId},
    outcome::SchemaMode,
    schema::SEEDED_EVENT_TYPES,
};
use hookwright_storage::{AuditRow, EventTypeRow, MasterKey, Store, StoreOptions, TokenRow, nodes::NodeOptions};

use self::data_dir::{rename_secret, write_secret};
use crate::{
    app::access::{self, Scope},
    options::Options,
};

/// Name of the first admin token's file in the data directory.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";
/// The first admin token before the store has its hash.
const UNSTORED_TOKEN_FILE: &str = "admin-token.new";
const MASTER_KEY_FILE: &str = "master.key";
const DATABASE_FILE: &str = "hookwright.db";
const NODE_NAME_FILE: &str = "node-name";
const NODE_NAME_CHARS_MAX: usize = 100;
const NODE_LEASE_MIN: Duration = Duration::from_secs(1);
const NODE_LEASE_MAX: Duration = Duration::from_secs(300);
/// The store's setting with a value encrypted by the master key, which detects a wrong key at startup.
const KEY_CHECK: &str = "master_key_check";
const KEY_CHECK_TEXT: &[u8] = b"hookwright";

/// This server's identity among those that share a store.
pub(crate) fn node(options: &Options, grpc_address: SocketAddr) -> anyhow::Result<NodeOptions> {
    anyhow::ensure!(
        (NODE_LEASE_MIN..=NODE_LEASE_MAX).contains(&options.node_lease),
        "node-lease must be 1s to 5m"
    );
    let name = match &options.node_name {
        Some(name) => name.clone(),
        None => node_name(&options.data_dir.join(NODE_NAME_FILE))?,
    };
    let is_printable = name.chars().all(|c| c.is_ascii_graphic());
    anyhow::ensure!(
        is_printable && (1..=NODE_NAME_CHARS_MAX).contains(&name.len()),
        "node-name must be 1 to {NODE_NAME_CHARS_MAX} printable ASCII characters without spaces"
    );
    Ok(NodeOptions {
        name,
        grpc_address: grpc_address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        lease: options.node_lease,
        hold: options.hold,
    })
}

/// The name of this server: the machine's and a random part, generated at the first start.
fn node_name(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let machine: String = machine.trim().chars().filter(char::is_ascii_graphic).take(48).collect();
            let random = hex::encode(&MasterKey::generate().expose()[..4]);
            let machine = if machine.is_empty() { "node" } else { &machine };
            let name = format!("{machine}-{random}");
            write_secret(path, &format!("{name}\n"))?;
            Ok(name)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// How to open the store of the options.
pub(crate) fn store_options(options: &Options) -> StoreOptions {
    let url = options
        .database_url
        .clone()
        .unwrap_or_else(|| format!("sqlite://{}", options.data_dir.join(DATABASE_FILE).display()));
    StoreOptions {
        allow_unsafe_durability: options.allow_unsafe_durability,
        ..StoreOptions::new(url)
    }
}

/// An existing master key and its origin.
struct GivenKey {
    key: MasterKey,
    origin: String,
}

impl GivenKey {
    /// The key of the options, else that of the data directory; `None` if there is neither.
    fn find(options: &Options) -> anyhow::Result<Option<Self>> {
        let (text, origin) = match &options.master_key {
            Some(text) => {
                let origin = options.master_key_file.as_ref();
                let origin = origin.map_or("the setting master-key".to_owned(), |file| file.display().to_string());
                (text.clone(), origin)
            }
            None => {
                let path = options.data_dir.join(MASTER_KEY_FILE);
                match fs::read_to_string(&path) {
                    Ok(text) => (text, path.display().to_string()),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
                }
            }
        };
        let key = read_master_key(&text, &origin)?;
        Ok(Some(Self { key, origin }))
    }

    /// Whether it decrypts a store's secrets.
    fn opens(&self, sealed: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.key.open(sealed, KEY_CHECK.as_bytes()).is_ok(),
            "the master key of {} is not the one that encrypted this store's secrets; restore {MASTER_KEY_FILE} or the setting master-key",
            self.origin
        );
        Ok(())
    }
}

/// Rejects an unreadable master key, before anything is written.
pub(crate) fn check_key_text(options: &Options) -> anyhow::Result<()> {
    GivenKey::find(options).map(drop)
}

/// Rejects a master key that cannot decrypt a store's secrets, and a new store for the data directory of another one,
/// before this server joins the others and writes files.
pub(crate) async fn check_key(options: &Options, store: &StoreOptions) -> anyhow::Result<()> {
    match (Store::peek_setting(store, KEY_CHECK).await?, GivenKey::find(options)?) {
        (Some(sealed), Some(given)) => given.opens(&sealed),
        (Some(_), None) => anyhow::bail!(missing_key(&options.data_dir.join(MASTER_KEY_FILE))),
        (None, _) => data_dir::check_unused(options, store),
    }
}

/// The master key: from the options, or from its file in the data directory, which the first start of an installation
/// creates. It must be the key that encrypted this store's secrets. Otherwise no file is written.
///
/// The caller holds the lock on the configuration: of servers that start at once, one generates the key.
pub(crate) async fn master_key(options: &Options, store: &Store) -> anyhow::Result<MasterKey> {
    let path = options.data_dir.join(MASTER_KEY_FILE);
    let sealed = store.setting(KEY_CHECK).await?;
    let found = GivenKey::find(options)?;
    let is_generated = found.is_none();
    let given = match found {
        Some(given) => given,
        None => {
            anyhow::ensure!(sealed.is_none(), "{}", missing_key(&path));
            let key = MasterKey::generate();
            write_secret(&path, &STANDARD.encode(key.expose()))?;
            if options.database_url.is_some() {
                tracing::warn!(
                    file = %path.display(),
                    "the master key was generated; it is only in this file, and secrets in PostgreSQL cannot be decrypted without it: \
                keep a copy, and keep the data directory (in a container, on a volume) or set master-key"
                );
            }
            let origin = path.display().to_string();
            GivenKey { key, origin }
        }
    };
    match sealed {
        None => {
            if !is_generated && options.master_key.is_none() {
                tracing::warn!(
                    file = given.origin,
                    "this database is new, and uses the master key that was already in this file: each installation should have its \
                     own data directory and key"
                );
            }
            let sealed = given.key.seal(KEY_CHECK_TEXT, KEY_CHECK.as_bytes());
            store.put_setting(KEY_CHECK, &sealed).await?;
        }
        Some(sealed) => given.opens(&sealed)?,
    }
    Ok(given.key)
}

fn read_master_key(text: &str, origin: &str) -> anyhow::Result<MasterKey> {
    let bytes = STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes = bytes.with_context(|| format!("{origin} must contain the base64 of 32 bytes"))?;
    Ok(MasterKey::new(bytes))
}

/// The fix if an installation's key is not in this data directory.
fn missing_key(path: &Path) -> String {
    format!(
        "there is no master key in {}, and this store's secrets are encrypted with an earlier one: restore that file from \
             the data directory of the first start, or set master-key (HOOKWRIGHT_MASTER_KEY). A container needs a volume for its data \
             directory. No new key was generated",
        path.display()
    )
}

/// Registers the sample event types at the first start, that is, before the store has a token or an event type.
pub(crate) async fn seed_event_types(options: &Options, store: &Store, ids: &IdGenerator) -> anyhow::Result<()> {
    let catalogue = store.load_catalogue().await?;
    if !options.sample_event_types || !catalogue.event_types.is_empty() || !catalogue.tokens.is_empty() {
        return Ok(());
    }
    for seed in &SEEDED_EVENT_TYPES {
        let now = clock::now_us();
        let row = EventTypeRow {
            id: ids.next(clock::reference_us() / 1_000),
            name: seed.name.to_owned(),
            description: seed.description.to_owned(),
            json_schema: Some(seed.json_schema.to_owned()),
            schema_mode: SchemaMode::Reject.as_str().to_owned(),
            schema_version: 1,
            example: Some(seed.example.to_owned()),
            archived: false,
            created_at: now,
            updated_at: now,
            visible_to: None,
        };
        let details = serde_json::json!({ "description": seed.description, "schema_version": 1 });
        let audit = audit(ids, "event_type.create", format!("eventTypes/{}", seed.name), &details);
        store.insert_event_type(&row, &audit).await?;
    }
    Ok(())
}

/// The first admin token, and its file.
#[derive(Clone, Debug)]
pub(crate) struct AdminToken {
    pub(crate) file: PathBuf,
    pub(crate) token: String,
}

/// The admin token of the data directory, if it exists. A store without tokens gets its first one.
///
/// The token is first written to another file, because an active token must be known to someone. That file gets the name
/// of the token's file once the store has the token's hash. After a crash in between, the next start renames it.
pub(crate) async fn admin_token(
    options: &Options,
    store: &Store,
    ids: &IdGenerator,
) -> anyhow::Result<Option<AdminToken>> {
    let file = options.data_dir.join(ADMIN_TOKEN_FILE);
    let unstored = options.data_dir.join(UNSTORED_TOKEN_FILE);
    let tokens = store.load_catalogue().await?.tokens;
    if tokens.is_empty() {
        data_dir::check_unused(options, &store_options(options))?;
        let token = access::generate()?;
        write_secret(&unstored, &format!("{token}\n"))?;
        insert_first_token(&token, store, ids).await?;
        rename_secret(&unstored, &file)?;
        return Ok(Some(AdminToken { file, token }));
    }
    let is_active = |token: &str| {
        let hash = access::hash(token);
        tokens.iter().any(|row| row.hash == hash && row.revoked_at.is_none())
    };
    if !file.exists() && read_token(&unstored).is_some_and(|token| is_active(&token)) {
        rename_secret(&unstored, &file)?;
    }
    let Some(token) = read_token(&file) else {
        return Ok(None);
    };
    if !is_active(&token) {
        tracing::warn!(
            file = %file.display(),
            "the admin token in this file is revoked, or belongs to another installation: delete the file"
        );
        return Ok(None);
    }
    Ok(Some(AdminToken { file, token }))
}

/// The token in a file; `None` if the file is missing or empty.
fn read_token(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

async fn insert_first_token(token: &str, store: &Store, ids: &IdGenerator) -> anyhow::Result<()> {
    let row = TokenRow {
        id: ids.next(clock::reference_us() / 1_000),
        hash: access::hash(token).to_vec(),
        name: "first admin token".to_owned(),
        scope: Scope::Admin.as_str().to_owned(),
        organization_id: None,
        created_at: clock::now_us(),
        expires_at: None,
        revoked_at: None,
    };
    let resource = format!("tokens/{}", TokenId::from_raw(row.id));
    let details = serde_json::json!({ "display_name": row.name, "scope": row.scope });
    store
        .insert_token(&row, &audit(ids, "token.create", resource, &details))
        .await?;
    Ok(())
}

fn audit(ids: &IdGenerator, action: &str, resource: String, details: &serde_json::Value) -> AuditRow {
    let now = clock::now_us();
    AuditRow {
        id: ids.next(clock::reference_us() / 1_000),
        at: now,
        actor: "hookwright".to_owned(),
        action: action.to_owned(),
        resource,
        details: details.to_string(),
        organization_id: None,
    }
}
