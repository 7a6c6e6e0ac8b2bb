//! The system's DNS configuration: reads `/etc/resolv.conf`, and follows its changes while the server runs.
//!
//! The file's metadata is checked when a name is resolved, at most once in [`LOOK_INTERVAL`]. The file is read only if
//! its metadata changed. An unusable file never replaces a usable configuration.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::Instant;

use super::{Asked, ResolveError};

const PATH: &str = "/etc/resolv.conf";
/// The port of the servers in the file.
const PORT: u16 = 53;
/// How long a change of the file may stay undetected.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// The server that is queried if the file names none, as in resolv.conf(5).
const FALLBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The system's DNS configuration.
pub(super) struct System {
    path: PathBuf,
    port: u16,
    look_interval: Duration,
    started: Instant,
    /// When the file was last checked, in milliseconds after `started`.
    looked_ms: AtomicU64,
    current: ArcSwap<Current>,
}

/// A configuration in use.
pub(super) struct Current {
    /// A changed configuration begins without answers.
    pub(super) asked: Asked,
    /// Search domains would complete names with fewer dots, if they were applied.
    pub(super) dots_min: usize,
    servers: Vec<IpAddr>,
    stamp: Option<Stamp>,
}

/// The metadata that changes with the file: device, inode, size, and the time of the last change in seconds and
/// nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp([i64; 4], [u64; 3]);

/// The content of the file.
struct Contents {
    servers: Vec<IpAddr>,
    dots_min: usize,
}

impl System {
    /// Reads the system's configuration. A machine without a usable one can still deliver to addresses, so that is only
    /// a warning.
    pub(super) fn new() -> Result<Self, ResolveError> {
        Self::following(PATH.into(), PORT, LOOK_INTERVAL)
    }

    /// Follows a file.
    pub(super) fn following(path: PathBuf, port: u16, look_interval: Duration) -> Result<Self, ResolveError> {
        // Metadata is read first, so that a change between the two reads is detected at the next check.
        let stamp = stamp(&path).ok();
        let contents = read(&path).unwrap_or_else(|problem| {
            tracing::warn!(
                file = %path.display(),
                problem,
                "no DNS server is configured: the server asks one at {FALLBACK}; name one in this file or set dns-server"
            );
            Contents {
                servers: vec![FALLBACK],
                dots_min: 1,
            }
        });
        Ok(Self {
            current: ArcSwap::from_pointee(Current::new(contents, port, stamp)?),
            path,
            port,
            look_interval,
            started: Instant::now(),
            looked_ms: AtomicU64::new(0),
        })
    }

    /// The configuration in use, which is updated if the file changed.
    pub(super) fn current(&self) -> Arc<Current> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        let is_due = Duration::from_millis(now_ms - looked_ms.min(now_ms)) >= self.look_interval;
        // Of concurrent callers one checks, and the others use the known configuration.
        let order = Ordering::Relaxed;
        if is_due && self.looked_ms.compare_exchange(looked_ms, now_ms, order, order).is_ok() {
            self.look();
        }
        self.current.load_full()
    }

    /// Reading metadata takes microseconds, so it needs no separate thread.
    fn look(&self) {
        let known = self.current.load();
        let stamp = stamp(&self.path).ok();
        if stamp == known.stamp {
            return;
        }
        let contents = read(&self.path).unwrap_or_else(|problem| {
            tracing::warn!(
                file = %self.path.display(),
                problem,
                "the DNS configuration changed and cannot be used: the server keeps the previous one"
            );
            Contents {
                servers: known.servers.clone(),
                dots_min: known.dots_min,
            }
        });
        if contents.servers != known.servers {
            tracing::info!(servers = ?contents.servers, "the DNS configuration changed");
        }
        match Current::new(contents, self.port, stamp) {
            Ok(current) => self.current.store(Arc::new(current)),
            Err(error) => tracing::warn!(%error, "the changed DNS configuration cannot be used"),
        }
    }
}

impl Current {
    fn new(contents: Contents, port: u16, stamp: Option<Stamp>) -> Result<Self, ResolveError> {
        let Contents { servers, dots_min } = contents;
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| SocketAddr::new(*server, port)).collect();
        Ok(Self {
            asked: Asked::of(&addresses)?,
            dots_min,
            servers,
            stamp,
        })
    }
}

fn stamp(path: &std::path::Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok(Stamp(
        [
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ],
        [metadata.dev(), metadata.ino(), metadata.size()],
    ))
}

/// The content of a file, or why it cannot be used.
fn read(path: &std::path::Path) -> Result<Contents, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let (config, options) = parse_resolv_conf(text).map_err(|error| error.to_string())?;
    let servers = config.name_servers().iter().map(|server| server.ip).collect();
    let dots_min = if config.search().is_empty() {
        1
    } else {
        options.ndots.max(1)
    };
    Ok(Contents { servers, dots_min })
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write as _};

    use hookwright_testkit::dns::{DnsServer, Record, Reply};
    use tokio::time::Instant;

    use super::*;
    use crate::resolver::Resolver;

    /// A DNS server that resolves every name to this address. All of them use the same port, at different addresses.
    async fn server(address: Ipv4Addr) -> DnsServer {
        DnsServer::start(move |_, _| Reply::Records(vec![Record::A(address)])).await
    }

    async fn resolved(resolver: &Resolver) -> Result<Vec<IpAddr>, ResolveError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        resolver.resolve("hook.example", deadline).await
    }

    fn following(path: &std::path::Path, port: u16) -> Resolver {
        let system = System::following(path.to_owned(), port, Duration::ZERO).unwrap();
        Resolver::of_system(system)
    }

    #[tokio::test]
    async fn b23_a_changed_configuration_is_followed() {
        assert!(LOOK_INTERVAL <= Duration::from_secs(60));
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let dns = server(address).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        // No server listens at the first address on this port.
        fs::write(&path, "nameserver 127.0.0.99\n").unwrap();
        let resolver = following(&path, dns.address().port());
        assert!(resolved(&resolver).await.is_err());

        // The file is replaced, like resolvconf does.
        let new = directory.path().join("new");
        fs::write(&new, "nameserver 127.0.0.1\n").unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(resolved(&resolver).await.unwrap(), [IpAddr::V4(address)]);

        // The file is rewritten in place, like a container runtime does.
        let mut file = OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        file.write_all(b"# moved\nnameserver 127.0.0.99\n").unwrap();
        assert!(resolved(&resolver).await.is_err());
        fs::write(&path, "nameserver 127.0.0.99\nnameserver 127.0.0.1\n").unwrap();
        assert_eq!(resolved(&resolver).await.unwrap(), [IpAddr::V4(address)]);

        // An unusable configuration does not replace a usable one.
        fs::write(&path, "").unwrap();
        assert_eq!(resolved(&resolver).await.unwrap(), [IpAddr::V4(address)]);
        fs::remove_file(&path).unwrap();
        assert_eq!(resolved(&resolver).await.unwrap(), [IpAddr::V4(address)]);
    }

    #[tokio::test]
    async fn b23_a_configuration_that_is_empty_at_start_is_used_once_it_names_a_server() {
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let dns = server(address).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        fs::write(&path, "").unwrap();
        // The fallback is the server on this machine, as in resolv.conf(5).
        let resolver = following(&path, dns.address().port());
        assert_eq!(resolved(&resolver).await.unwrap(), [IpAddr::V4(address)]);
        fs::write(&path, "nameserver 127.0.0.99\n").unwrap();
        assert!(resolved(&resolver).await.is_err());
    }

    #[tokio::test]
    async fn b23_a_short_name_that_does_not_resolve_is_said_to_be_incomplete() {
        let dns = DnsServer::start(|_, _| Reply::NoSuchName).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let options = "search shop.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
        fs::write(&path, format!("nameserver 127.0.0.1\n{options}")).unwrap();
        let resolver = following(&path, dns.address().port());
        let deadline = Instant::now() + Duration::from_secs(10);
        for (name, incomplete) in [
            ("billing", true),
            ("billing.shop", true),
            ("billing.shop.svc.cluster.local.", false),
            ("a.b.c.d.e.example", false),
        ] {
            let error = resolver.resolve(name, deadline).await.unwrap_err();
            assert_eq!(error.is_name_incomplete(), incomplete, "{name}");
        }
        fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
        let error = resolver.resolve("hook.example", deadline).await.unwrap_err();
        assert!(!error.is_name_incomplete(), "there are no search domains");
    }
}
