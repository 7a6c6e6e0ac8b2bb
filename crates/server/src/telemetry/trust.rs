//! Certificate authorities: if receivers cannot be verified, the operator learns it from the log at startup, from `/readyz`
//! and from a metric.

use hookwright_delivery::tls::Authorities;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// The authorities that verify receivers.
pub(crate) struct Trust {
    count: i64,
    warning: Option<String>,
}

impl Trust {
    /// Logs a warning if the system's authorities are missing.
    pub(crate) fn of(authorities: &Authorities) -> Self {
        let Authorities { count, system_missing } = authorities;
        let warning = system_missing.as_deref().map(|places| {
            let effect = if *count == 0 {
                "deliveries to https receivers wait"
            } else {
                "receivers are verified only with extra-ca-file"
            };
            format!(
                "no certificate authority of the system was found in {places}: {effect}; install the system's CA certificates \
         (package ca-certificates) and send SIGHUP, or set SSL_CERT_FILE and restart the server"
            )
        });
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        Self {
            count: i64::try_from(*count).unwrap_or(i64::MAX),
            // Receivers with certificates of the operator's own authorities can be verified, which may be all receivers.
            warning: warning.filter(|_| *count == 0),
        }
    }

    /// The number of authorities.
    pub(super) fn count(&self) -> i64 {
        self.count
    }

    pub(super) fn register(&self, registry: &mut Registry) -> Gauge {
        let gauge: Gauge = Gauge::default();
        gauge.set(self.count);
        registry.register(
            "trusted_authorities",
            "Certificate authorities that verify receivers; with 0, deliveries to https receivers wait",
            gauge.clone(),
        );
        gauge
    }

    /// The note in `/readyz`.
    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}
