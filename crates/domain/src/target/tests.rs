//! The rows of addresses and names.

use super::*;
use crate::url::UrlError;

fn rules(texts: &[&str]) -> Vec<TargetRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The verdict of a default installation on a URL.
fn verdict(text: &str) -> Result<(), String> {
    let url = PayloadUrl::parse(text).map_err(|error: UrlError| error.rule().to_owned())?;
    TargetPolicy::default()
        .check_url(&url)
        .map_err(|blocked| blocked.rule().to_owned())
}

fn all_refused_by(rule: &str, urls: &[&str]) {
    for url in urls {
        assert_eq!(verdict(url), Err(rule.to_owned()), "{url}");
    }
}

fn all_refused(urls: &[&str]) {
    for url in urls {
        assert!(verdict(url).is_err(), "{url}");
    }
}

#[test]
fn s01_loopback() {
    all_refused_by(
        "LOOPBACK_ADDRESS",
        &["http://127.0.0.1/", "http://127.1/", "http://127.255.255.254/"],
    );
}

#[test]
fn s02_loopback_in_other_notations() {
    let urls = [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
    ];
    all_refused_by("LOOPBACK_ADDRESS", &urls);
}

#[test]
fn s03_unspecified() {
    all_refused_by("UNSPECIFIED_ADDRESS", &["http://0.0.0.0/", "http://0/"]);
}

#[test]
fn s04_ipv6_loopback_and_unspecified() {
    all_refused_by("LOOPBACK_ADDRESS", &["http://[::1]/"]);
    all_refused_by("UNSPECIFIED_ADDRESS", &["http://[::]/"]);
}

#[test]
fn s05_ipv4_mapped() {
    all_refused_by(
        "IPV4_MAPPED_ADDRESS",
        &["http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"],
    );
}

#[test]
fn s06_ipv4_compatible() {
    all_refused_by("IPV4_COMPATIBLE_ADDRESS", &["http://[::127.0.0.1]/"]);
}

#[test]
fn s07_nat64() {
    all_refused_by(
        "NAT64_ADDRESS",
        &["http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::a00:1]/"],
    );
}

#[test]
fn b21_nat64_is_as_public_as_the_address_that_it_embeds() {
    assert_eq!(verdict("http://[64:ff9b::5db8:d822]/"), Ok(()), "93.184.216.34");
    all_refused_by(
        "NAT64_ADDRESS",
        &[
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[64:ff9b::a00:1]/",
            "http://[64:ff9b::]/",
            // Not the well-known prefix, whatever the last 32 bits are.
            "http://[64:ff9b:1::5db8:d822]/",
            "http://[64:ff9b:0:0:0:1:5db8:d822]/",
        ],
    );
    let policy = TargetPolicy {
        deny: rules(&["93.184.0.0/16"]),
        own_addresses: vec!["11.0.0.1:8080".parse().unwrap()],
        ..TargetPolicy::default()
    };
    let check = |address: &str, port| policy.check_address(address.parse().unwrap(), port);
    assert_eq!(
        check("64:ff9b::5db8:d822", 80),
        Err(Blocked::Denied("93.184.0.0/16".to_owned())),
        "what is denied over IPv4 is denied over NAT64"
    );
    assert_eq!(check("64:ff9b::b00:1", 8_080), Err(Blocked::Own));
    assert_eq!(check("64:ff9b::b00:1", 8_081), Ok(()));
}

#[test]
fn s08_6to4() {
    all_refused_by(
        "6TO4_ADDRESS",
        &["http://[2002:7f00:1::]/", "http://[2002:a9fe:a9fe::]/"],
    );
}

#[test]
fn s09_teredo() {
    all_refused_by(
        "TEREDO_ADDRESS",
        &["http://[2001::1]/", "http://[2001:0:4136:e378:8000:63bf:f5ff:fffe]/"],
    );
}

#[test]
fn s10_ipv6_link_local() {
    all_refused_by("LINK_LOCAL_ADDRESS", &["http://[fe80::1]/"]);
    all_refused(&["http://[fe80::1%25eth0]/"]);
}

#[test]
fn s11_unique_local_and_ipv6_metadata() {
    all_refused_by("UNIQUE_LOCAL_ADDRESS", &["http://[fc00::1]/"]);
    all_refused_by("METADATA_ADDRESS", &["http://[fd00:ec2::254]/"]);
}

#[test]
fn s12_multicast_and_broadcast() {
    all_refused_by("MULTICAST_ADDRESS", &["http://[ff02::1]/", "http://224.0.0.1/"]);
    all_refused_by("BROADCAST_ADDRESS", &["http://255.255.255.255/"]);
}

#[test]
fn s13_documentation() {
    let urls = [
        "http://[2001:db8::1]/",
        "http://192.0.2.1/",
        "http://198.51.100.1/",
        "http://203.0.113.1/",
        "http://[3fff::1]/",
    ];
    all_refused_by("DOCUMENTATION_ADDRESS", &urls);
}

#[test]
fn s14_private() {
    let urls = [
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.1.1/",
    ];
    all_refused_by("PRIVATE_ADDRESS", &urls);
}

#[test]
fn s15_metadata() {
    all_refused_by(
        "METADATA_ADDRESS",
        &["http://169.254.169.254/latest/meta-data/", "http://169.254.170.2/"],
    );
    all_refused_by("LINK_LOCAL_ADDRESS", &["http://169.254.1.1/"]);
}

#[test]
fn s16_shared_address_space() {
    all_refused_by("SHARED_ADDRESS", &["http://100.64.0.1/"]);
    all_refused_by("METADATA_ADDRESS", &["http://100.100.100.200/"]);
}

#[test]
fn s17_other_special_ranges() {
    all_refused(&[
        "http://192.0.0.1/",
        "http://192.88.99.1/",
        "http://198.18.0.1/",
        "http://240.0.0.1/",
    ]);
}

#[test]
fn s18_the_edges_of_the_ranges_are_public() {
    for url in [
        "http://172.15.0.1/",
        "http://172.32.0.1/",
        "http://11.0.0.1/",
        "http://[2606:4700::1111]/",
        "http://100.128.0.1/",
    ] {
        assert_eq!(verdict(url), Ok(()), "{url}");
    }
}

#[test]
fn s19_names_of_this_machine() {
    let urls = [
        "http://localhost/",
        "http://foo.localhost/",
        "http://LOCALHOST./",
        "http://ip6-localhost/",
    ];
    all_refused_by("LOCAL_NAME", &urls);
}

#[test]
fn s20_names_of_this_network() {
    let urls = [
        "http://metadata.google.internal/",
        "http://x.internal/",
        "http://printer.local/",
        "http://nas.home.arpa/",
        "http://intranet/",
    ];
    all_refused_by("LOCAL_NAME", &urls);
    assert_eq!(verdict("https://internal.example.com/"), Ok(()));
}

#[test]
fn s29_ports() {
    let urls = [
        "http://host.example:22/",
        "http://host.example:25/",
        "http://host.example:6379/",
    ];
    all_refused_by("PORT_NOT_ALLOWED", &urls);
    all_refused_by("URL_PORT", &["http://host.example:0/", "http://host.example:65536/"]);
    for port in [80, 443, 1024, 8080, 65_535] {
        assert_eq!(verdict(&format!("http://host.example:{port}/")), Ok(()), "{port}");
    }
}

#[test]
fn s34_hosts_that_idna_maps_to_local_ones() {
    all_refused(&[
        "http://\u{24db}ocalhost/",
        "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
        "http://local\u{ad}host/",
        "http://127\u{3002}0\u{3002}0\u{3002}1/",
    ]);
}

#[test]
fn s40_the_more_specific_rule_wins_and_is_named() {
    let policy = TargetPolicy {
        allow: rules(&["10.1.0.0/16"]),
        deny: rules(&["10.1.2.0/24"]),
        ..TargetPolicy::default()
    };
    let explain = |text: &str| policy.explain_url(&PayloadUrl::parse(text).unwrap());
    assert_eq!(explain("http://10.1.1.1/"), Ok("allow 10.1.0.0/16".to_owned()));
    assert_eq!(explain("http://10.1.2.1/").unwrap_err().rule_text(), "deny 10.1.2.0/24");
    assert_eq!(explain("http://10.2.0.1/"), Err(Blocked::Address("PRIVATE_ADDRESS")));
    assert_eq!(explain("http://11.0.0.1/"), Ok("PUBLIC_ADDRESS".to_owned()));
    let within = TargetPolicy {
        allow: rules(&["10.1.2.3"]),
        ..policy.clone()
    };
    assert!(within.check_address([10, 1, 2, 3].into(), 80).is_ok());
    let alike = TargetPolicy {
        allow: rules(&["10.1.2.0/24"]),
        ..policy
    };
    assert!(
        alike.check_address([10, 1, 2, 3].into(), 80).is_err(),
        "of two alike the one that denies"
    );
}

#[test]
fn an_allowed_address_is_allowed_in_its_mapped_form_too() {
    let policy = TargetPolicy {
        allow: rules(&["127.0.0.0/8"]),
        ..TargetPolicy::default()
    };
    assert!(policy.check_address("::ffff:127.0.0.1".parse().unwrap(), 8080).is_ok());
    assert!(policy.check_address("::1".parse().unwrap(), 8080).is_err());
}

#[test]
fn an_allowed_way_to_ipv4_leads_only_to_allowed_addresses() {
    let check = |allow: &[&str], address: &str| {
        let policy = TargetPolicy {
            allow: rules(allow),
            ..TargetPolicy::default()
        };
        policy.check_address(address.parse().unwrap(), 80).is_ok()
    };
    assert!(check(&["64:ff9b::/96"], "64:ff9b::0b00:1"));
    assert!(!check(&["64:ff9b::/96"], "64:ff9b::a9fe:a9fe"));
    assert!(check(&["64:ff9b::/96", "10.0.0.0/8"], "64:ff9b::a00:1"));
    assert!(!check(&["::/0"], "2002:7f00:1::") && !check(&["::/0"], "::127.0.0.1"));
    assert!(
        !check(&["::/0"], "2001:0:b00:1:0:0:5601:5601"),
        "Teredo's client is turned over: 169.254.169.254"
    );
    assert!(check(&["::/0"], "::1") && check(&["::/0"], "fe80::1"));
}

#[test]
fn a_rule_of_mapped_addresses_is_one_of_ipv4() {
    let policy = TargetPolicy {
        deny: rules(&["::ffff:11.0.0.0/104", "::ffff:12.0.0.1"]),
        ..TargetPolicy::default()
    };
    assert!(policy.check_address([11, 2, 3, 4].into(), 80).is_err());
    assert!(policy.check_address([12, 0, 0, 1].into(), 80).is_err());
    assert!(policy.check_address([12, 0, 0, 2].into(), 80).is_ok());
}

#[test]
fn names_are_allowed_and_denied_by_name() {
    let policy = TargetPolicy {
        allow: rules(&["localhost", "*.internal"]),
        deny: rules(&["*.evil.example", "db.internal"]),
        ..TargetPolicy::default()
    };
    let check = |name: &str| policy.check_name(name).is_ok();
    assert!(check("localhost") && check("LOCALHOST.") && check("a.internal"));
    assert!(!check("db.internal") && !check("a.evil.example") && !check("foo.localhost"));
    assert!(
        "*.".parse::<TargetRule>().is_err()
            && "10.0.0".parse::<TargetRule>().is_err()
            && "a b".parse::<TargetRule>().is_err()
    );
}

#[test]
fn s42_this_installation_is_no_target_of_its_own() {
    let policy = TargetPolicy {
        allow: rules(&["127.0.0.0/8"]),
        own_addresses: vec!["127.0.0.1:50051".parse().unwrap(), "0.0.0.0:8080".parse().unwrap()],
        own_names: vec!["hooks.example.com".to_owned()],
        ..TargetPolicy::default()
    };
    let check = |text: &str| policy.check_url(&PayloadUrl::parse(text).unwrap());
    assert_eq!(check("http://127.0.0.1:50051/"), Err(Blocked::Own));
    assert_eq!(check("http://127.0.0.1:8080/"), Err(Blocked::Own));
    assert_eq!(check("https://hooks.example.com/"), Err(Blocked::Own));
    assert_eq!(check("http://127.0.0.1:8081/"), Ok(()));
    let all = TargetPolicy {
        allow: rules(&["0.0.0.0/0", "::/0"]),
        ..policy
    };
    let own = |policy: &TargetPolicy, address: &str, port| {
        policy.check_address(address.parse().unwrap(), port) == Err(Blocked::Own)
    };
    assert!(own(&all, "0.0.0.0", 50_051), "the unspecified address is this machine");
    assert!(own(&all, "::ffff:127.0.0.1", 50_051) && own(&all, "::", 8_080));
    let mapped = TargetPolicy {
        own_addresses: vec!["[::ffff:127.0.0.1]:50051".parse().unwrap()],
        ..all
    };
    assert!(own(&mapped, "127.0.0.1", 50_051));
}

#[test]
fn s43_odd_notations_of_loopback() {
    all_refused(&[
        "http://127%2e0%2e0%2e1/",
        "http://00000127.0.0.1/",
        "http://127.0.0.1../",
        "http://a..b/",
    ]);
}

#[test]
fn s44_metadata_services_in_other_ranges() {
    all_refused_by("METADATA_ADDRESS", &["http://168.63.129.16/", "http://[fd20:ce::254]/"]);
}

#[test]
fn https_can_be_required() {
    let policy = TargetPolicy {
        require_https: true,
        ..TargetPolicy::default()
    };
    assert_eq!(
        policy.check_url(&PayloadUrl::parse("http://host.example/").unwrap()),
        Err(Blocked::Plain)
    );
    assert_eq!(
        policy.check_url(&PayloadUrl::parse("https://host.example/").unwrap()),
        Ok(())
    );
}
