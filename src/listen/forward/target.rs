//! Posts forwarded deliveries with the server's own sender, so the bytes are the same.

use std::{borrow::Cow, net::IpAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use hookwright_delivery::{
    connector::ConnectorOptions,
    request::HeaderLine,
    sender::{AttemptReport, AttemptRequest, Connection, Sender},
};
use hookwright_domain::{target::TargetPolicy, url::PayloadUrl};
use hookwright_proto::v1::PulledDelivery;

use super::args::ForwardArgs;
use crate::{client::failure::UsageError, listen::http::Request};

/// Headers of the connection, which is a different one here.
const FRAMING: [&str; 5] = ["host", "content-length", "connection", "transfer-encoding", "expect"];

/// See the module.
pub(super) struct Target {
    url: PayloadUrl,
    sender: Sender,
    slot: Option<Connection>,
    timeout: Duration,
    skip_verify: bool,
}

impl Target {
    /// Checks the URL without connecting.
    pub(super) fn new(url: &str, args: &ForwardArgs, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let refused = |why: &dyn std::fmt::Display| UsageError::new(format!("--forward-to: the URL {why}"));
        let url = PayloadUrl::parse(&with_scheme(url)).map_err(|why| refused(&why))?;
        let policy = everywhere(&url);
        policy.check_url(&url).map_err(|why| refused(&why))?;
        let extra_ca = ca_file
            .map(|path| std::fs::read(path).with_context(|| format!("cannot read --ca-file {}", path.display())))
            .transpose()?;
        let options = ConnectorOptions {
            extra_ca,
            ..ConnectorOptions::default()
        };
        Ok(Self {
            sender: Sender::new(options, Arc::new(policy)).context("cannot set up the connection to --forward-to")?,
            url,
            slot: None,
            timeout: args.attempt_timeout,
            skip_verify: args.insecure_skip_tls_verify,
        })
    }

    /// The normalized URL.
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The request of a delivery.
    pub(super) fn request(&self, delivery: &PulledDelivery) -> Request {
        let headers = headers(delivery);
        let headers = headers.iter().map(|(name, value)| (*name, value.as_ref()));
        Request::post(self.url.path_and_query(), self.url.authority(), headers, &delivery.body)
    }

    /// Posts a delivery.
    pub(super) async fn post(&mut self, delivery: &PulledDelivery) -> AttemptReport {
        let request = AttemptRequest {
            url: &self.url,
            skip_verify: self.skip_verify,
            timeout: self.timeout,
            headers: &headers(delivery),
            body: delivery.body.clone(),
            is_current: &|| true,
            shared: None,
        };
        self.sender.attempt(&mut self.slot, &request).await
    }
}

fn headers(delivery: &PulledDelivery) -> Vec<HeaderLine<'_>> {
    let headers = delivery.headers.iter();
    let kept = headers.filter(|header| !FRAMING.iter().any(|name| header.name.eq_ignore_ascii_case(name)));
    kept.map(|header| (header.name.as_str(), Cow::Borrowed(header.value.as_str())))
        .collect()
}

/// Adds `http://` to this machine's names and addresses, because programs in development rarely use TLS. For other hosts the
/// scheme must be given, because it decides whether payloads cross the network unencrypted.
fn with_scheme(text: &str) -> Cow<'_, str> {
    let authority = text.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        // A scheme is followed by `//`; a port is not.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => host,
        Some(_) if !authority.starts_with('[') => return Cow::Borrowed(text),
        _ => authority,
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_loopback = match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
    };
    if is_loopback {
        Cow::Owned(format!("http://{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The user of this machine chooses the target, including this machine and its network.
fn everywhere(url: &PayloadUrl) -> TargetPolicy {
    let rules = ["0.0.0.0/0", "::/0", url.host()];
    TargetPolicy {
        allow: rules.iter().filter_map(|rule| rule.parse().ok()).collect(),
        ..TargetPolicy::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_its_network_are_allowed() {
        for url in [
            "http://localhost:3000/hook",
            "http://127.0.0.1:3000",
            "http://[::1]:8080/",
            "http://192.168.1.7:8080/",
            "https://app.internal/hook",
            "http://printer/",
        ] {
            let url = PayloadUrl::parse(url).unwrap();
            assert!(everywhere(&url).check_url(&url).is_ok(), "{}", url.as_str());
        }
    }

    #[test]
    fn b28_http_is_assumed_for_this_machine_alone() {
        for (text, url) in [
            ("localhost:4242/webhook", "http://localhost:4242/webhook"),
            ("LocalHost:4242", "http://localhost:4242/"),
            ("localhost", "http://localhost/"),
            ("app.localhost:3000/a:b?c", "http://app.localhost:3000/a:b?c"),
            ("127.0.0.1:4242/webhook", "http://127.0.0.1:4242/webhook"),
            ("127.1.2.3/x", "http://127.1.2.3/x"),
            ("[::1]:8080/x", "http://[::1]:8080/x"),
            ("[::1]", "http://[::1]/"),
            ("https://localhost:4242/", "https://localhost:4242/"),
        ] {
            let read = PayloadUrl::parse(&with_scheme(text));
            assert_eq!(read.as_ref().map(PayloadUrl::as_str), Ok(url), "{text}");
        }
        for text in [
            "example.com/x",
            "192.168.1.7:8080",
            "localhost.example.com:80",
            "ftp://localhost/",
            "localhost@example.com",
            "[2606:4700::1111]:80",
            "",
        ] {
            assert_eq!(with_scheme(text), text);
        }
    }

    #[test]
    fn the_framing_is_that_of_the_new_connection() {
        let header = |name: &str, value: &str| hookwright_proto::v1::Header {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let delivery = PulledDelivery {
            headers: vec![
                header("TT-Hook-Event", "clocking"),
                header("Content-Length", "7"),
                header("X-Key", "17"),
            ],
            ..PulledDelivery::default()
        };
        let names: Vec<&str> = headers(&delivery).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["TT-Hook-Event", "X-Key"]);
    }
}
