//! The settings of each part of a server, from the server's settings.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use hookwright_delivery::{connector::ConnectorOptions, engine::EngineOptions, request::RequestFormat};
use hookwright_domain::{mask::mask_passwords, retry::RetrySchedule, target::TargetPolicy};

use crate::{app::Limits, console::ConsoleOptions, options::Options, proxies::Proxies};

pub(crate) fn target_policy(options: &Options, own: &[SocketAddr]) -> anyhow::Result<TargetPolicy> {
    let rules = |setting: &str, texts: &[String]| {
        texts
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|error| anyhow::anyhow!("{setting} `{text}`: {error}"))
            })
            .collect::<anyhow::Result<Vec<_>>>()
    };
    Ok(TargetPolicy {
        allow: rules("allow-target", &options.allow_targets)?,
        deny: rules("deny-target", &options.deny_targets)?,
        require_https: options.require_https,
        own_addresses: own.to_vec(),
        own_names: options.own_names.iter().map(|name| name.to_ascii_lowercase()).collect(),
    })
}

pub(crate) fn limits(options: &Options, console: &ConsoleOptions) -> anyhow::Result<Limits> {
    let schedule = RetrySchedule::new(options.retry_delays.clone()).context("retry-delay")?;
    Ok(Limits {
        payload_bytes_max: options.payload_bytes_max,
        webhooks_per_organization_max: options.webhooks_per_organization_max,
        allow_insecure_tls: options.allow_insecure_tls,
        header_prefix: options.header_prefix.clone(),
        schedule: Arc::new(schedule),
        retention: options.retention,
        console_url: console.origin.clone(),
    })
}

/// The URL of the web console, without a trailing slash.
fn console_url(options: &Options, http_address: SocketAddr) -> anyhow::Result<String> {
    let scheme = if options.http_tls_certificate.is_some() {
        "https"
    } else {
        "http"
    };
    match &options.console_url {
        Some(text) => origin("console-url", text),
        None => Ok(format!("{scheme}://{http_address}")),
    }
}

pub(crate) fn console_options(options: &Options, http_address: SocketAddr) -> anyhow::Result<ConsoleOptions> {
    let parents = options.portal_parents.iter().map(|text| origin("portal-parent", text));
    Ok(ConsoleOptions {
        origin: console_url(options, http_address)?,
        portal_parents: parents.collect::<anyhow::Result<_>>()?,
        proxies: Proxies::parse(&options.trusted_proxies)?,
    })
}

/// The scheme, host and port of a setting that may contain nothing else.
fn origin(setting: &str, text: &str) -> anyhow::Result<String> {
    let url = url::Url::parse(text).ok().filter(|url| {
        let is_plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain && url.path() == "/"
    });
    let url = url.with_context(|| {
        let text = mask_passwords(text);
        format!("{setting} `{text}` must be only a scheme and a host, for example https://hooks.example.com")
    })?;
    Ok(url.origin().ascii_serialization())
}

pub(crate) fn connector_options(options: &Options) -> anyhow::Result<ConnectorOptions> {
    let extra_ca = options
        .extra_ca_file
        .as_ref()
        .map(std::fs::read)
        .transpose()
        .context("extra-ca-file")?;
    Ok(ConnectorOptions {
        dns_servers: options.dns_servers.clone(),
        egress_proxy: options.egress_proxy.clone(),
        extra_ca,
    })
}

/// `attempts_max` is the maximum of attempts in flight that the file descriptors allow.
pub(crate) fn engine_options(options: &Options, attempts_max: usize, configuration: i64) -> EngineOptions {
    EngineOptions {
        concurrent_attempts_max: attempts_max,
        concurrent_attempts_per_webhook_max: options.concurrent_attempts_per_webhook_max,
        memory_bytes_max: options.memory_bytes_max,
        disable_after: options.disable_after,
        hold: options.hold,
        format: RequestFormat::new(&options.header_prefix, &options.user_agent),
        configuration,
    }
}
