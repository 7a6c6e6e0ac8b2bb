//! Reloads settings of a running server: certificates, authorities, resolver, log filter, and allowed targets.
//!
//! SIGHUP reads flags, environment and file again. All new values are prepared first: an invalid setting or file changes
//! nothing. The log names each reloaded setting, and each changed one that needs a restart. Certificates of the listeners
//! and the extra authorities are also reloaded when their files change. Connections to receivers that were opened with the
//! former settings are not reused.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hookwright_delivery::sender::Sender;
use hookwright_domain::target::TargetPolicy;
use tokio::{sync::mpsc, time::interval};

use crate::{
    app::App,
    options::{Options, SettingInForce},
    parts::{connector_options, target_policy},
    telemetry::{self, Telemetry, trust::Trust},
    tls::{Certificates, Stamp},
};

/// Interval at which files are checked.
const LOOK: Duration = Duration::from_secs(5);

/// The reloaded settings, by their names in the settings file.
const RELOADED: &[&str] = &[
    "http-tls-certificate",
    "http-tls-private-key",
    "tls-certificate",
    "tls-private-key",
    "allow-targets",
    "deny-targets",
    "own-names",
    "require-https",
    "extra-ca-file",
    "egress-proxy",
    "dns-servers",
    "log-filter",
];

/// How to read the settings again.
pub struct Reload {
    /// Signals a reload.
    pub asked: mpsc::Receiver<()>,
    /// Reads them.
    pub load: Box<dyn Fn() -> anyhow::Result<Options> + Send>,
}

/// The reloaded state.
pub(crate) struct Reloader {
    /// The current settings.
    pub(crate) options: Options,
    pub(crate) own: [SocketAddr; 2],
    pub(crate) sender: Sender,
    pub(crate) targets: Arc<ArcSwap<TargetPolicy>>,
    /// The certificates of the gRPC listener and of the HTTP listener.
    pub(crate) certificates: [Option<Arc<Certificates>>; 2],
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) app: Arc<App>,
}

impl Reloader {
    /// Runs until the server stops.
    pub(crate) async fn run(mut self, reload: Option<Reload>) {
        let (_none, never) = mpsc::channel(1);
        let Reload { mut asked, load } = reload.unwrap_or_else(|| Reload {
            asked: never,
            load: Box::new(|| Err(anyhow::anyhow!("there is no source to reload from"))),
        });
        let mut look = interval(LOOK);
        let mut authorities = self.authorities();
        loop {
            tokio::select! {
                Some(()) = asked.recv() => {
                    let read = load().and_then(|options| self.apply(options));
                    if let Err(error) = read {
                        tracing::error!("reload failed, and nothing was changed: {error:#}");
                    }
                    authorities = self.authorities();
                }
                _ = look.tick() => {
                    for certificates in self.certificates.iter().flatten() {
                        certificates.refresh();
                    }
                    let now = self.authorities();
                    if now != authorities {
                        authorities = now;
                        self.read_authorities();
                    }
                }
            }
        }
    }

    fn authorities(&self) -> Option<Stamp> {
        self.options.extra_ca_file.as_deref().map(|file| Stamp::of(&[file]))
    }

    /// The extra authorities have changed.
    fn read_authorities(&self) {
        let prepared = connector_options(&self.options).and_then(|options| Ok(Sender::prepare(&options)?));
        match prepared {
            Ok(connector) => {
                self.sender.replace(connector, self.targets.load_full());
                self.telemetry.trust(Trust::of(&self.sender.authorities()));
                tracing::info!(setting = "extra-ca-file", "reloaded: the file has changed");
            }
            Err(error) => tracing::warn!("the former authorities stay in use: {error:#}"),
        }
    }

    /// Applies new settings, all of them or none.
    fn apply(&mut self, mut new: Options) -> anyhow::Result<()> {
        new.read_files()?;
        let targets = Arc::new(target_policy(&new, &self.own)?);
        let connector = Sender::prepare(&connector_options(&new)?)?;
        let filter = telemetry::filter(&new.log_filter)?;
        let files = [
            (new.tls_certificate.as_deref(), new.tls_private_key.as_deref()),
            (new.http_tls_certificate.as_deref(), new.http_tls_private_key.as_deref()),
        ];
        let mut keys = Vec::new();
        for (certificates, files) in self.certificates.iter().zip(files) {
            // A listener's TLS is turned on or off only at startup.
            if let (Some(certificates), (Some(certificate), Some(key))) = (certificates, files) {
                keys.push((certificates, certificates.prepare(certificate, key)?));
            }
        }
        for (certificates, prepared) in keys {
            certificates.replace(prepared);
        }
        self.targets.store(Arc::clone(&targets));
        self.sender.replace(connector, targets);
        self.telemetry.trust(Trust::of(&self.sender.authorities()));
        telemetry::set_filter(filter);
        self.tell(&new);
        self.keep(new);
        Ok(())
    }

    /// Logs each change.
    fn tell(&self, new: &Options) {
        let mut changed = 0;
        for (old, new) in self.options.about.settings.iter().zip(&new.about.settings) {
            if old.values == new.values {
                continue;
            }
            changed += 1;
            let (setting, value) = (new.name.as_str(), new.values.join(", "));
            if self.is_reloaded(setting) {
                tracing::info!(setting, value, "reloaded");
            } else {
                tracing::warn!(
                    setting,
                    value,
                    "changed, but needs a restart: the former value stays in use"
                );
            }
        }
        tracing::info!(changed, "reloaded: certificates, authorities and resolver");
    }

    fn is_reloaded(&self, setting: &str) -> bool {
        let of_listener = |certificates: &Option<Arc<Certificates>>| certificates.is_some();
        RELOADED.contains(&setting)
            && match setting {
                "tls-certificate" | "tls-private-key" => of_listener(&self.certificates[0]),
                "http-tls-certificate" | "http-tls-private-key" => of_listener(&self.certificates[1]),
                _ => true,
            }
    }

    /// Stores the current settings, for display and for the next reload.
    fn keep(&mut self, new: Options) {
        let in_force = |(old, new): (&SettingInForce, &SettingInForce)| {
            if self.is_reloaded(&new.name) { new } else { old }.clone()
        };
        let settings = self
            .options
            .about
            .settings
            .iter()
            .zip(&new.about.settings)
            .map(in_force);
        let mut about = self.options.about.clone();
        about.settings = settings.collect();
        self.app.describe(about.clone());
        self.options = Options {
            about,
            extra_ca_file: new.extra_ca_file,
            egress_proxy: new.egress_proxy,
            dns_servers: new.dns_servers,
            ..self.options.clone()
        };
    }
}
