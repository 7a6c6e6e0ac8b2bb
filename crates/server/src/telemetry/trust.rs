//! Certificate authorities: the operator learns at the start, from `/readyz` and from a metric that receivers cannot be verified.

use hookwright_delivery::tls::Authorities;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// What receivers are verified with.
pub(crate) struct Trust {
    count: i64,
    warning: Option<String>,
}

impl Trust {
    /// Writes a warning to the log where the system's authorities are missing.
    pub(crate) fn of(authorities: &Authorities) -> Self {
        let Authorities { count, system_missing } = authorities;
        let warning = system_missing.as_deref().map(|places| {
            let effect = if *count == 0 {
                "deliveries to https receivers wait"
            } else {
                "receivers are verified with extra-ca-file alone"
            };
            format!(
                "no certificate authority of the system was found in {places}: {effect}; install the system's CA certificates \
                 (package ca-certificates) and send SIGHUP, or set SSL_CERT_FILE and start the server again"
            )
        });
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        Self {
            count: i64::try_from(*count).unwrap_or(i64::MAX),
            // Receivers with certificates of the operator's own authorities can be verified: that may be all there are.
            warning: warning.filter(|_| *count == 0),
        }
    }

    /// How many authorities there are.
    pub(super) fn count(&self) -> i64 {
        self.count
    }

    pub(super) fn register(&self, registry: &mut Registry) -> Gauge {
        let gauge: Gauge = Gauge::default();
        gauge.set(self.count);
        registry.register(
            "trusted_authorities",
            "Certificate authorities that receivers are verified with; with 0, deliveries to https receivers wait",
            gauge.clone(),
        );
        gauge
    }

    /// What `/readyz` adds.
    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}
