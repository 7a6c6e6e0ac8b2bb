//! Checks of the settings before anything is opened.

use std::{net::SocketAddr, time::Duration};

use hookwright_domain::id::FANOUT_MAX;

use crate::{grpc::in_flight::BUDGET_BYTES_MIN, options::Options};

/// Limits that would admit no connection or message are errors.
pub(crate) fn check_limits(options: &Options) -> anyhow::Result<()> {
    let bytes = options.grpc_request_bytes_max;
    anyhow::ensure!(
        (BUDGET_BYTES_MIN..=u32::MAX as usize).contains(&bytes),
        "grpc-request-bytes-max is {bytes} bytes; set {} MiB to 4095 MiB: less cannot hold one message of the maximum size",
        BUDGET_BYTES_MIN >> 20
    );
    let webhooks = options.webhooks_per_organization_max;
    anyhow::ensure!(
        webhooks <= FANOUT_MAX,
        "webhooks-per-organization-max is {webhooks}; set {FANOUT_MAX} or less: one event can have deliveries to at most that many webhooks"
    );
    for (setting, value) in [
        ("grpc-connections-max", options.grpc_connections_max),
        (
            "grpc-connections-per-address-max",
            options.grpc_connections_per_address_max,
        ),
        (
            "grpc-streams-per-connection-max",
            options.grpc_streams_per_connection_max as usize,
        ),
    ] {
        anyhow::ensure!(
            value > 0,
            "{setting} is 0, which would admit no connection; set 1 or more"
        );
    }
    for (setting, value) in [
        ("grpc-first-request-timeout", options.grpc_first_request_timeout),
        ("grpc-idle-timeout", options.grpc_idle_timeout),
        ("grpc-connection-age-max", options.grpc_connection_age_max),
    ] {
        anyhow::ensure!(
            value >= Duration::from_secs(1),
            "{setting} is {value:?}; set 1s or more"
        );
    }
    Ok(())
}

/// A listener on a public address needs TLS, unless `allow-plaintext` is set.
pub(crate) fn check_exposure(options: &Options) -> anyhow::Result<()> {
    let is_open = |address: SocketAddr| !address.ip().is_loopback() && !options.allow_plaintext;
    anyhow::ensure!(
        options.tls_certificate.is_some() || !is_open(options.grpc_address),
        "grpc-address {} is not a loopback address: configure tls-certificate and tls-private-key, or set allow-plaintext to serve tokens and payloads unencrypted",
        options.grpc_address
    );
    anyhow::ensure!(
        options.http_tls_certificate.is_some() || !is_open(options.http_address),
        "http-address {} is not a loopback address: configure http-tls-certificate and http-tls-private-key, put a proxy in front of it, or set allow-plaintext to serve the console and its sign-in unencrypted",
        options.http_address
    );
    Ok(())
}
