//! Every setting of the server, once.

use std::path::PathBuf;

use hookwright_domain::mask::mask_passwords;
use hookwright_server::options::Options;

use super::kinds::{self, Kind};

/// How a setting is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    One,
    /// A flag that may stand alone.
    Switch,
    /// Any number of values: a repeated flag, commas, or an array in the file.
    List,
}

/// One field of [`Options`] as people see it.
pub(super) struct Setting {
    /// The field; upper-cased after `HOOKWRIGHT_` the environment variable.
    pub(super) name: &'static str,
    /// The flag where it is not the name in kebab case: the singular of a list.
    singular: Option<&'static str>,
    pub(super) shape: Shape,
    pub(super) heading: &'static str,
    pub(super) value_name: &'static str,
    pub(super) help: &'static str,
    /// The default, where it is not the one of `Options`.
    pub(super) default: Option<&'static str>,
    mask: Mask,
    pub(super) write: fn(&mut Options, &[String]) -> Result<(), String>,
    read: fn(&Options) -> Vec<String>,
}

/// What of a value must not be shown.
#[derive(Clone, Copy)]
enum Mask {
    Nothing,
    Everything,
    /// The password of a URL.
    UrlPassword,
}

impl Setting {
    /// The key in the file, and the name wherever the setting is named.
    pub(super) fn key(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The flag's name, without the dashes.
    pub(super) fn flag(&self) -> String {
        self.singular.map_or_else(|| self.key(), str::to_owned)
    }

    /// Whether a key of the file means it: its name, with `-` or `_`, or the name of its flag.
    pub(super) fn is_called(&self, key: &str) -> bool {
        let key = key.replace('-', "_");
        let is_flag = |singular: &str| key == singular.replace('-', "_");
        key == self.name || self.singular.is_some_and(is_flag)
    }

    /// The environment variable.
    pub(super) fn variable(&self) -> String {
        format!("HOOKWRIGHT_{}", self.name.to_uppercase())
    }

    /// Whether it takes any number of values.
    pub(super) fn is_list(&self) -> bool {
        self.shape == Shape::List
    }

    /// An environment variable's values: a list is separated by commas.
    pub(super) fn split(&self, value: &str) -> Vec<String> {
        if self.is_list() {
            value
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect()
        } else {
            vec![value.to_owned()]
        }
    }

    /// The values in effect, with secrets masked.
    pub(super) fn shown(&self, options: &Options) -> Vec<String> {
        let values = (self.read)(options);
        match self.mask {
            Mask::Nothing => values,
            Mask::Everything => values.iter().map(|_| "(set, not shown)".to_owned()).collect(),
            Mask::UrlPassword => values.iter().map(|url| mask_passwords(url)).collect(),
        }
    }

    /// The values that it has when nobody sets it; none where the default depends on the machine.
    pub(super) fn defaults(&self) -> Vec<String> {
        match self.default {
            Some(_) => Vec::new(),
            None => (self.read)(&Options::new(PathBuf::new())),
        }
    }

    /// The text for `--help`: meaning, environment variable, default.
    pub(super) fn help_text(&self) -> String {
        let default = self.default.map_or_else(|| self.defaults().join(","), str::to_owned);
        let repeatable = if self.is_list() {
            "; repeatable, or separated by commas"
        } else {
            ""
        };
        let default = if default.is_empty() { "none" } else { &default };
        format!(
            "{}{repeatable} [env: {}] [default: {default}]",
            self.help,
            self.variable()
        )
    }
}

/// One row of the table. The trailing arguments override: a singular for the flag, reader and writer of the value.
macro_rules! setting {
    ($field:ident, $shape:ident, $heading:ident, $value_name:literal, $help:literal $(, $key:ident = $value:expr)*) => {
        Setting {
            $($key: $value,)*
            ..Setting {
                name: stringify!($field),
                singular: None,
                shape: Shape::$shape,
                heading: $heading,
                value_name: $value_name,
                help: $help,
                default: None,
                mask: Mask::Nothing,
                write: |options, values| {
                    options.$field = Kind::read(values)?;
                    Ok(())
                },
                read: |options| options.$field.show(),
            }
        }
    };
}

/// The writer and reader of a number of bytes.
macro_rules! size {
    ($field:ident, $heading:ident, $help:literal) => {
        setting!(
            $field,
            One,
            $heading,
            "SIZE",
            $help,
            write = |options, values| {
                options.$field = kinds::read_size(values)?;
                Ok(())
            },
            read = |options| kinds::show_size(&options.$field)
        )
    };
}

const STORAGE: &str = "Storage";
const LISTENERS: &str = "Listeners";
const TARGETS: &str = "Where webhooks may point";
const DELIVERY: &str = "Delivery";
const LIMITS: &str = "Limits";
const TELEMETRY: &str = "Telemetry";

/// The list, in the order of `--help` and `hookwright config`.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting] = &[
    setting!(data_dir, One, STORAGE, "DIR", "Directory of the embedded store, the master key and the first admin token",
        default = Some("$XDG_DATA_HOME/hookwright, else ~/.local/share/hookwright")),
    setting!(database_url, One, STORAGE, "URL", "PostgreSQL to use, for example postgres://user:password@host/database, with user and password percent-encoded",
        default = Some("the file hookwright.db in the data directory"), mask = Mask::UrlPassword),
    setting!(database_url_file, One, STORAGE, "FILE", "File that holds database-url, as orchestrators hand out secrets"),
    setting!(master_key, One, STORAGE, "BASE64", "Master key that seals secrets: base64 of 32 bytes; better set by environment than by flag",
        default = Some("the file master.key in the data directory, made on first start"), mask = Mask::Everything),
    setting!(master_key_file, One, STORAGE, "FILE", "File that holds master-key, as orchestrators hand out secrets"),
    setting!(retention, One, STORAGE, "DURATION", "How long events are kept, with their payloads and attempts, once their deliveries have ended; 0s keeps them for ever"),
    setting!(node_name, One, STORAGE, "NAME", "Name of this server among those that share a PostgreSQL database; under the same name it goes on with what it left",
        default = Some("the file node-name in the data directory, made on first start")),
    setting!(node_lease, One, STORAGE, "DURATION", "How long the other servers wait for one that is silent before they take over its deliveries, 1s to 5m"),
    setting!(allow_unsafe_durability, Switch, STORAGE, "true|false", "Run although the store may lose what it confirmed (PostgreSQL with fsync=off, for example)"),

    setting!(grpc_address, One, LISTENERS, "ADDRESS", "Address of the gRPC listener; port 0 takes a free port"),
    setting!(http_address, One, LISTENERS, "ADDRESS", "Address of the HTTP listener (console, /metrics, /healthz, /readyz); port 0 takes a free port"),
    setting!(http_tls_certificate, One, LISTENERS, "FILE", "PEM file of the certificate chain: the HTTP listener then speaks TLS"),
    setting!(http_tls_private_key, One, LISTENERS, "FILE", "PEM file of the private key of http-tls-certificate"),
    setting!(console_url, One, LISTENERS, "URL", "Where browsers find the console, for example https://hooks.example.com, where a proxy stands before the HTTP listener",
        default = Some("the address of the HTTP listener, with http:// or https://"), mask = Mask::UrlPassword),
    setting!(portal_parents, List, LISTENERS, "ORIGIN", "Origin of pages that may show the portal in a frame, for example https://app.example.com",
        singular = Some("portal-parent"), mask = Mask::UrlPassword),
    setting!(trusted_proxies, List, LISTENERS, "NETWORK", "Proxy before the HTTP listener, as an address or a network, that is believed in X-Forwarded-For where a request came from",
        singular = Some("trusted-proxy")),
    setting!(allow_plaintext, Switch, LISTENERS, "true|false", "Listen on an address other than loopback although no TLS is configured"),
    setting!(tls_certificate, One, LISTENERS, "FILE", "PEM file of the certificate chain: the gRPC listener then speaks TLS"),
    setting!(tls_private_key, One, LISTENERS, "FILE", "PEM file of the certificate's private key"),
    setting!(ready_file, One, LISTENERS, "FILE", "File that is written, as JSON, once the server is ready: addresses and place of the admin token"),

    setting!(allow_targets, List, TARGETS, "CIDR|HOST", "Where webhooks may point beside public addresses, for example 10.1.0.0/16",
        singular = Some("allow-target")),
    setting!(deny_targets, List, TARGETS, "CIDR|HOST", "Where webhooks may not point, for example 203.0.113.0/24",
        singular = Some("deny-target")),
    setting!(own_names, List, TARGETS, "HOST", "Public host names of this installation, which webhooks may not point at",
        singular = Some("own-name")),
    setting!(require_https, Switch, TARGETS, "true|false", "Refuse payload URLs that are not https"),
    setting!(allow_insecure_tls, Switch, TARGETS, "true|false", "Let webhooks switch TLS verification off"),
    setting!(extra_ca_file, One, TARGETS, "FILE", "PEM file of certificate authorities to trust beside the system's"),
    setting!(egress_proxy, One, TARGETS, "URL", "Proxy that every attempt goes through by CONNECT, for example http://proxy:3128 or http://user:password@proxy:3128, with user and password percent-encoded",
        mask = Mask::UrlPassword),
    setting!(dns_servers, List, TARGETS, "ADDRESS", "DNS server in place of the system's, for example 10.0.0.2 or 10.0.0.2:53",
        singular = Some("dns-server"), write = |options, values| {
            options.dns_servers = kinds::read_dns_servers(values)?;
            Ok(())
        }),

    setting!(retry_delays, List, DELIVERY, "DURATION", "Delay between one attempt of a delivery and the next, for example 30s",
        singular = Some("retry-delay")),
    setting!(disable_after, One, DELIVERY, "DURATION", "A webhook that only failed for this long, over at least 20 attempts, is disabled"),
    setting!(hold, Switch, DELIVERY, "true|false", "Accept events and serve the API, but send nothing and hand nothing out, for a copy of a production database"),
    setting!(sample_event_types, One, DELIVERY, "true|false", "Register the event types clocking and checksheet at the first start, as samples"),
    setting!(shutdown_timeout, One, DELIVERY, "DURATION", "How long a shutdown waits for attempts under way"),
    setting!(header_prefix, One, DELIVERY, "PREFIX", "Prefix of the webhook headers"),
    setting!(user_agent, One, DELIVERY, "TEXT", "User-Agent that is sent to receivers"),

    size!(payload_bytes_max, LIMITS, "Largest payload, for example 5MiB"),
    setting!(webhooks_per_organization_max, One, LIMITS, "COUNT", "How many webhooks an organization may have, 4095 at most"),
    setting!(concurrent_attempts_max, One, LIMITS, "COUNT", "How many attempts may be under way at once"),
    setting!(concurrent_attempts_per_webhook_max, One, LIMITS, "COUNT", "How many attempts may be under way at once for one webhook"),
    size!(memory_bytes_max, LIMITS, "How much payload may wait in memory, for example 64MiB; what exceeds it waits in the store alone"),

    setting!(grpc_connections_max, One, LIMITS, "COUNT", "Connections of the gRPC listener; when all are taken, an idle one is closed for a new one"),
    setting!(grpc_connections_per_address_max, One, LIMITS, "COUNT", "Connections of the gRPC listener for one address that is neither a trusted proxy nor this machine"),
    setting!(grpc_streams_per_connection_max, One, LIMITS, "COUNT", "Calls in flight on one gRPC connection"),
    size!(grpc_request_bytes_max, LIMITS, "Request messages in flight over all gRPC connections, 48MiB or more; further ones wait, then fail with RESOURCE_EXHAUSTED"),
    setting!(grpc_first_request_timeout, One, LIMITS, "DURATION", "Time for the handshakes of a gRPC connection, and until its first call"),
    setting!(grpc_idle_timeout, One, LIMITS, "DURATION", "Time after which a gRPC connection without a call is closed; 90s at most if no call on it had a valid token"),
    setting!(grpc_connection_age_max, One, LIMITS, "DURATION", "Age at which a gRPC connection gets GOAWAY, so that callers connect anew; calls in flight go on"),

    setting!(stalled_after, One, TELEMETRY, "DURATION", "For how long deliveries may be due without an attempt, or commits fail, before /readyz says so"),
    setting!(otlp_endpoint, One, TELEMETRY, "URL", "OTLP endpoint (gRPC) for traces, for example http://127.0.0.1:4317",
        mask = Mask::UrlPassword),
    setting!(long_transaction_after, One, TELEMETRY, "DURATION", "For how long a transaction of any session of PostgreSQL may be open before the log names it: it holds back the vacuum"),
    setting!(log_json, Switch, TELEMETRY, "true|false", "Write logs as JSON lines instead of text"),
    setting!(log_filter, One, TELEMETRY, "FILTER", "Which logs to write, for example info or hookwright=debug,warn"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_options_is_a_setting() {
        // Debug names every field; the pattern `name: ` at the start of a line of the pretty form is one of ours.
        let debug = format!("{:#?}", Options::new(PathBuf::from("/data")));
        let fields: Vec<&str> = debug
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .filter_map(|line| line.split_once(": ").map(|(name, _)| name))
            .collect();
        assert!(fields.len() > 20, "{fields:?}");
        for field in fields.into_iter().filter(|field| *field != "about") {
            assert!(
                SETTINGS.iter().any(|setting| setting.name == field),
                "`{field}` cannot be set"
            );
        }
    }
}
