//! A server's first start: directory, master key, admin token, and the sample event types.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
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

use crate::{
    app::access::{self, Scope},
    options::Options,
};

/// Name of the first admin token's file in the data directory.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";
const MASTER_KEY_FILE: &str = "master.key";
const DATABASE_FILE: &str = "hookwright.db";
const NODE_NAME_FILE: &str = "node-name";
const NODE_NAME_CHARS_MAX: usize = 100;
const NODE_LEASE_MIN: Duration = Duration::from_secs(1);
const NODE_LEASE_MAX: Duration = Duration::from_secs(300);
/// The store's setting with a value encrypted by the master key, which detects a wrong key at startup.
const KEY_CHECK: &str = "master_key_check";
const KEY_CHECK_TEXT: &[u8] = b"hookwright";

/// Creates the data directory, readable only by its owner.
pub(crate) fn make_data_dir(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| {
            format!(
                "cannot create the data directory {}; choose another with --data-dir",
                dir.display()
            )
        })
}

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

/// Rejects a master key that cannot decrypt a store's secrets, before this server joins the others and writes files.
pub(crate) async fn check_key(options: &Options, store: &StoreOptions) -> anyhow::Result<()> {
    if let Some(sealed) = Store::peek_setting(store, KEY_CHECK).await? {
        match GivenKey::find(options)? {
            Some(given) => given.opens(&sealed)?,
            None => anyhow::bail!(missing_key(&options.data_dir.join(MASTER_KEY_FILE))),
        }
    }
    Ok(())
}

/// The master key: from the options, or from its file in the data directory, which the first start of an installation
/// creates. It must be the key that encrypted this store's secrets. Otherwise no file is written.
///
/// The caller holds the lock on the configuration: of servers that start at once, one generates the key.
pub(crate) async fn master_key(options: &Options, store: &Store) -> anyhow::Result<MasterKey> {
    let path = options.data_dir.join(MASTER_KEY_FILE);
    let sealed = store.setting(KEY_CHECK).await?;
    let given = match GivenKey::find(options)? {
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
pub(crate) async fn admin_token(
    options: &Options,
    store: &Store,
    ids: &IdGenerator,
) -> anyhow::Result<Option<AdminToken>> {
    let path = options.data_dir.join(ADMIN_TOKEN_FILE);
    let tokens = store.load_catalogue().await?.tokens;
    if !tokens.is_empty() {
        let text = fs::read_to_string(&path).map(|text| text.trim().to_owned());
        let Some(token) = text.ok().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let hash = access::hash(&token);
        if !tokens.iter().any(|row| row.hash == hash && row.revoked_at.is_none()) {
            tracing::warn!(
                file = %path.display(),
                "the admin token in this file is revoked, or belongs to another installation: delete the file"
            );
            return Ok(None);
        }
        return Ok(Some(AdminToken { file: path, token }));
    }
    let token = access::generate()?;
    // The file first: an active token must be known to someone.
    write_secret(&path, &format!("{token}\n"))?;
    let now = clock::now_us();
    let row = TokenRow {
        id: ids.next(clock::reference_us() / 1_000),
        hash: access::hash(&token).to_vec(),
        name: "first admin token".to_owned(),
        scope: Scope::Admin.as_str().to_owned(),
        organization_id: None,
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    let resource = format!("tokens/{}", TokenId::from_raw(row.id));
    let details = serde_json::json!({ "display_name": row.name, "scope": row.scope });
    store
        .insert_token(&row, &audit(ids, "token.create", resource, &details))
        .await?;
    Ok(Some(AdminToken { file: path, token }))
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

/// Writes a file that only its owner can read, durable before it is used.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // Otherwise an existing file keeps its mode, and the umask may have removed bits of a new one.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
