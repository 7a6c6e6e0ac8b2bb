//! Every setting of the server, once.

use std::path::PathBuf;

use hookwright_domain::mask::mask_passwords;
use hookwright_server::options::Options;

use super::kinds::{self, Kind};

/// The form of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    One,
    /// A switch, whose flag needs no value.
    Switch,
    /// Several values: a repeated flag, a comma-separated list, or an array in the file.
    List,
}

/// A field of [`Options`], with its name, help and default.
pub(super) struct Setting {
    /// The field's name. In upper case after `HOOKWRIGHT_` it is the environment variable.
    pub(super) name: &'static str,
    /// The flag's name if it differs from the setting's: the singular of a list.
    singular: Option<&'static str>,
    pub(super) shape: Shape,
    pub(super) heading: &'static str,
    pub(super) value_name: &'static str,
    pub(super) help: &'static str,
    /// The default, if it is not that of `Options`.
    pub(super) default: Option<&'static str>,
    mask: Mask,
    pub(super) write: fn(&mut Options, &[String]) -> Result<(), String>,
    read: fn(&Options) -> Vec<String>,
}

/// The secret part of a value, which is not shown.
#[derive(Clone, Copy)]
enum Mask {
    Nothing,
    Everything,
    /// The password of a URL.
    UrlPassword,
}

impl Setting {
    /// The key in the settings file, which is also its name in messages.
    pub(super) fn key(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The flag's name, without the dashes.
    pub(super) fn flag(&self) -> String {
        self.singular.map_or_else(|| self.key(), str::to_owned)
    }

    /// Whether a key of the file names this setting: by its name, with `-` or `_`, or by its flag.
    pub(super) fn is_called(&self, key: &str) -> bool {
        let key = key.replace('-', "_");
        let is_flag = |singular: &str| key == singular.replace('-', "_");
        key == self.name || self.singular.is_some_and(is_flag)
    }

    /// The environment variable.
    pub(super) fn variable(&self) -> String {
        format!("HOOKWRIGHT_{}", self.name.to_uppercase())
    }

    /// The environment variables that set it: by its name and, if that is another one, by its flag.
    pub(super) fn variables(&self) -> Vec<String> {
        let of_flag = |singular: &str| format!("HOOKWRIGHT_{}", singular.replace('-', "_").to_uppercase());
        let of_flag = self.singular.map(of_flag);
        [self.variable()].into_iter().chain(of_flag).collect()
    }

    /// Whether it accepts several values.
    pub(super) fn is_list(&self) -> bool {
        self.shape == Shape::List
    }

    /// The values of an environment variable. Commas separate the values of a list.
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

    /// The current values, with secrets masked.
    pub(super) fn shown(&self, options: &Options) -> Vec<String> {
        let values = (self.read)(options);
        match self.mask {
            Mask::Nothing => values,
            Mask::Everything => values.iter().map(|_| "(set, not shown)".to_owned()).collect(),
            Mask::UrlPassword => values.iter().map(|url| mask_passwords(url)).collect(),
        }
    }

    /// The default values; none if the default depends on the machine.
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
            "; repeatable or comma-separated"
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

/// One row of the table. Trailing arguments override fields, such as the flag's singular or the value's reader and writer.
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

/// A row for a number of bytes.
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
const TARGETS: &str = "Webhook targets";
const DELIVERY: &str = "Delivery";
const LIMITS: &str = "Limits";
const TELEMETRY: &str = "Telemetry";

/// All settings, in the order of `--help` and `hookwright config`.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting] = &[
    setting!(data_dir, One, STORAGE, "DIR", "Directory of the embedded store, the master key and the first admin token",
        default = Some("$XDG_DATA_HOME/hookwright, else ~/.local/share/hookwright")),
    setting!(database_url, One, STORAGE, "URL", "URL of the PostgreSQL database, for example postgres://user:password@host/database, with percent-encoded user and password",
        default = Some("the file hookwright.db in the data directory"), mask = Mask::UrlPassword),
    setting!(database_url_file, One, STORAGE, "FILE", "File that contains database-url, as orchestrators provide secrets"),
    setting!(master_key, One, STORAGE, "BASE64", "Master key that encrypts secrets: base64 of 32 bytes; prefer the environment variable to the flag",
        default = Some("the file master.key in the data directory, created at the first start"), mask = Mask::Everything),
    setting!(master_key_file, One, STORAGE, "FILE", "File that contains master-key, as orchestrators provide secrets"),
    setting!(retention, One, STORAGE, "DURATION", "Retention of events, with their payloads and attempts, after their deliveries are final; 0s keeps them without a limit"),
    setting!(node_name, One, STORAGE, "NAME", "Name of this server among those that share a PostgreSQL database; a server restarted under the same name resumes its own deliveries",
        default = Some("the file node-name in the data directory, created at the first start")),
    setting!(node_lease, One, STORAGE, "DURATION", "Lease of a server: when it has been silent for this long, the other servers take over its deliveries; 1s to 5m"),
    setting!(allow_unsafe_durability, Switch, STORAGE, "true|false", "Run even if the store may lose confirmed commits, for example PostgreSQL with fsync=off"),

    setting!(grpc_address, One, LISTENERS, "ADDRESS", "Address of the gRPC listener; port 0 selects a free port"),
    setting!(http_address, One, LISTENERS, "ADDRESS", "Address of the HTTP listener (console, /metrics, /healthz, /readyz); port 0 selects a free port"),
    setting!(http_tls_certificate, One, LISTENERS, "FILE", "PEM file of the certificate chain; enables TLS on the HTTP listener"),
    setting!(http_tls_private_key, One, LISTENERS, "FILE", "PEM file of the private key of http-tls-certificate"),
    setting!(console_url, One, LISTENERS, "URL", "Public URL of the console behind a proxy, for example https://hooks.example.com",
        default = Some("the address of the HTTP listener, with http:// or https://"), mask = Mask::UrlPassword),
    setting!(portal_parents, List, LISTENERS, "ORIGIN", "Origin of pages that may show the portal in a frame, for example https://app.example.com",
        singular = Some("portal-parent"), mask = Mask::UrlPassword),
    setting!(trusted_proxies, List, LISTENERS, "NETWORK", "Address or network of a proxy in front of the HTTP listener whose X-Forwarded-For is trusted",
        singular = Some("trusted-proxy")),
    setting!(allow_plaintext, Switch, LISTENERS, "true|false", "Allow a listener without TLS on an address other than loopback"),
    setting!(tls_certificate, One, LISTENERS, "FILE", "PEM file of the certificate chain; enables TLS on the gRPC listener"),
    setting!(tls_private_key, One, LISTENERS, "FILE", "PEM file of the certificate's private key"),
    setting!(ready_file, One, LISTENERS, "FILE", "File that the server writes when it is ready: JSON with its addresses and the path of the admin token"),

    setting!(allow_targets, List, TARGETS, "CIDR|HOST", "Target that webhooks may use in addition to public addresses, for example 10.1.0.0/16",
        singular = Some("allow-target")),
    setting!(deny_targets, List, TARGETS, "CIDR|HOST", "Target that webhooks may not use, for example 203.0.113.0/24",
        singular = Some("deny-target")),
    setting!(own_names, List, TARGETS, "HOST", "Public host name of this installation, which webhooks may not use",
        singular = Some("own-name")),
    setting!(require_https, Switch, TARGETS, "true|false", "Reject payload URLs that are not https"),
    setting!(allow_insecure_tls, Switch, TARGETS, "true|false", "Allow webhooks to disable TLS verification"),
    setting!(extra_ca_file, One, TARGETS, "FILE", "PEM file of certificate authorities to trust in addition to the system's"),
    setting!(egress_proxy, One, TARGETS, "URL", "CONNECT proxy for all attempts, for example http://proxy:3128 or http://user:password@proxy:3128, with percent-encoded user and password",
        mask = Mask::UrlPassword),
    setting!(dns_servers, List, TARGETS, "ADDRESS", "DNS server to use instead of the system's, for example 10.0.0.2 or 10.0.0.2:53",
        singular = Some("dns-server"), write = |options, values| {
            options.dns_servers = kinds::read_dns_servers(values)?;
            Ok(())
        }),

    setting!(retry_delays, List, DELIVERY, "DURATION", "Delay before a retry, one for each retry, for example 30s",
        singular = Some("retry-delay")),
    setting!(disable_after, One, DELIVERY, "DURATION", "Disable a webhook after only failures for this long, over at least 20 attempts"),
    setting!(hold, Switch, DELIVERY, "true|false", "Accept events and serve the API, but send nothing and give out no pull deliveries; for a copy of a production database"),
    setting!(sample_event_types, One, DELIVERY, "true|false", "Register the sample event types clocking and checksheet at the first start"),
    setting!(shutdown_timeout, One, DELIVERY, "DURATION", "Time that a shutdown waits for attempts in flight"),
    setting!(header_prefix, One, DELIVERY, "PREFIX", "Prefix of Hookwright's own request headers"),
    setting!(user_agent, One, DELIVERY, "TEXT", "User-Agent of requests to receivers"),

    size!(payload_bytes_max, LIMITS, "Maximum size of a payload, for example 5MiB"),
    setting!(webhooks_per_organization_max, One, LIMITS, "COUNT", "Maximum number of webhooks per organization, 4095 at most"),
    setting!(concurrent_attempts_max, One, LIMITS, "COUNT", "Maximum number of attempts in flight"),
    setting!(concurrent_attempts_per_webhook_max, One, LIMITS, "COUNT", "Maximum number of attempts in flight per webhook"),
    size!(memory_bytes_max, LIMITS, "Maximum bytes of payloads queued in memory, for example 64MiB; the store keeps the rest"),

    setting!(grpc_connections_max, One, LIMITS, "COUNT", "Maximum number of gRPC connections; when all are taken, a new connection replaces an idle one"),
    setting!(grpc_connections_per_address_max, One, LIMITS, "COUNT", "Maximum number of gRPC connections per address; trusted proxies and this machine are exempt"),
    setting!(grpc_streams_per_connection_max, One, LIMITS, "COUNT", "Maximum number of calls in flight per gRPC connection"),
    size!(grpc_request_bytes_max, LIMITS, "Maximum bytes of request messages in flight over all gRPC connections, at least 48MiB; further messages wait, then fail with RESOURCE_EXHAUSTED"),
    setting!(grpc_first_request_timeout, One, LIMITS, "DURATION", "Timeout for the handshakes of a gRPC connection and until its first call"),
    setting!(grpc_idle_timeout, One, LIMITS, "DURATION", "Idle timeout of a gRPC connection without a call; at most 90s if no call on it had a valid token"),
    setting!(grpc_connection_age_max, One, LIMITS, "DURATION", "Age at which the server sends GOAWAY on a gRPC connection, so that callers reconnect; calls in flight continue"),

    setting!(stalled_after, One, TELEMETRY, "DURATION", "Time after which /readyz reports deliveries that are due without an attempt, or failing commits"),
    setting!(otlp_endpoint, One, TELEMETRY, "URL", "OTLP endpoint (gRPC) for traces, for example http://127.0.0.1:4317",
        mask = Mask::UrlPassword),
    setting!(long_transaction_after, One, TELEMETRY, "DURATION", "Age at which the log names an open transaction of any PostgreSQL session, because it holds back the vacuum"),
    setting!(log_json, Switch, TELEMETRY, "true|false", "Write logs as JSON lines instead of text"),
    setting!(log_filter, One, TELEMETRY, "FILTER", "Filter of log messages, for example info or hookwright=debug,warn"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_options_is_a_setting() {
        // Debug output names every field: in the pretty form, `name: ` at the start of a line is a field of `Options`.
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
