//! Addresses that are not public: the special-purpose registries of IANA (RFC 6890 and its updates), multicast, and the
//! metadata services of clouds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is in a special range.
pub(crate) fn is_special(address: IpAddr) -> bool {
    special_range(address).is_some()
}

/// The name of the special range of an address; `None` for a public address.
pub(super) fn special_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("UNSPECIFIED_ADDRESS"),
        [127, ..] => Some("LOOPBACK_ADDRESS"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("PRIVATE_ADDRESS"),
        [169, 254, 169, 254] | [169, 254, 170, 2] | [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => {
            Some("METADATA_ADDRESS")
        }
        [169, 254, ..] => Some("LINK_LOCAL_ADDRESS"),
        [100, 64..=127, ..] => Some("SHARED_ADDRESS"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("DOCUMENTATION_ADDRESS"),
        [192, 0, 0, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] => Some("PROTOCOL_ADDRESS"),
        [192, 88, 99, _] => Some("RELAY_ADDRESS"),
        [198, 18..=19, ..] => Some("BENCHMARK_ADDRESS"),
        [224..=239, ..] => Some("MULTICAST_ADDRESS"),
        [255, 255, 255, 255] => Some("BROADCAST_ADDRESS"),
        [240..=255, ..] => Some("RESERVED_ADDRESS"),
        _ => None,
    }
}

/// The IPv4 addresses of a transition address, where its packets may end.
pub(super) fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let segments = address.segments();
    let pair = |at: usize| {
        let ([a, b], [c, d]) = (segments[at].to_be_bytes(), segments[at + 1].to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0x2002, ..] => [Some(pair(1)), None],
        // Teredo: the server, and the client with inverted bits.
        [0x2001, 0, ..] => [Some(pair(2)), Some(Ipv4Addr::from_bits(!pair(6).to_bits()))],
        [0x64, 0xff9b, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => [Some(pair(6)), None],
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => [None, None],
        [0, 0, 0, 0, 0, 0, ..] => [Some(pair(6)), None],
        _ => [None, None],
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("UNSPECIFIED_ADDRESS"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("LOOPBACK_ADDRESS"),
        // The well-known prefix of NAT64 (RFC 6052): resolvers of networks without IPv4 map public IPv4 addresses to it. It
        // must not represent others (section 3.1).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            let embedded = embedded(address).into_iter().flatten();
            embedded.filter_map(special_v4).next().map(|_| "NAT64_ADDRESS")
        }
        // Other ways to write or reach an IPv4 address. None of them is for a public webhook, whatever address is embedded.
        // They include NAT64's local-use prefix (RFC 8215), whose embedding only the network knows.
        [0, 0, 0, 0, 0, 0xffff, ..] => Some("IPV4_MAPPED_ADDRESS"),
        [0, 0, 0, 0, 0xffff, 0, ..] => Some("IPV4_TRANSLATED_ADDRESS"),
        [0, 0, 0, 0, 0, 0, ..] => Some("IPV4_COMPATIBLE_ADDRESS"),
        [0x64, 0xff9b, ..] => Some("NAT64_ADDRESS"),
        [0x2002, ..] => Some("6TO4_ADDRESS"),
        [0x2001, 0, ..] => Some("TEREDO_ADDRESS"),
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Some("METADATA_ADDRESS"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("DOCUMENTATION_ADDRESS"),
        [0x2001, 0..=0x1ff, ..] => Some("PROTOCOL_ADDRESS"),
        [0x100, 0, 0, 0, ..] => Some("DISCARD_ADDRESS"),
        [0xfc00..=0xfdff, ..] => Some("UNIQUE_LOCAL_ADDRESS"),
        [0xfe80..=0xfebf, ..] => Some("LINK_LOCAL_ADDRESS"),
        [0xfec0..=0xfeff, ..] => Some("SITE_LOCAL_ADDRESS"),
        [0xff00..=0xffff, ..] => Some("MULTICAST_ADDRESS"),
        // Only 2000::/3 is allocated for the public internet.
        [0x2000..=0x3fff, ..] => None,
        _ => Some("RESERVED_ADDRESS"),
    }
}
