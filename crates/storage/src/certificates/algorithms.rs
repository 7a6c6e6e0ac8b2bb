//! Names of the algorithms in certificates, from their DER encoding (`AlgorithmIdentifier`, RFC 5280, section 4.1.1.2).

/// The tag of an object identifier in DER.
const OID_TAG: u8 = 0x06;
/// The object identifier of elliptic-curve keys, whose parameter is the curve.
const EC_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";

/// Object identifiers and their names.
const NAMES: [(&[u8], &str); 25] = [
    (b"\x2a\x86\x48\xce\x3d\x04\x01", "ECDSA with SHA-1"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", "ECDSA with SHA-224"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", "ECDSA with SHA-256"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", "ECDSA with SHA-384"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", "ECDSA with SHA-512"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "RSA"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "RSA with MD5"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "RSA with SHA-1"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA-PSS"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", "RSA with SHA-256"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", "RSA with SHA-384"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", "RSA with SHA-512"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", "RSA with SHA-224"),
    (b"\x2a\x86\x48\xce\x38\x04\x03", "DSA with SHA-1"),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03\x02", "DSA with SHA-256"),
    (b"\x2b\x65\x70", "Ed25519"),
    (b"\x2b\x65\x71", "Ed448"),
    (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", "P-256"),
    (b"\x2b\x81\x04\x00\x22", "P-384"),
    (b"\x2b\x81\x04\x00\x23", "P-521"),
    (b"\x2b\x81\x04\x00\x21", "P-224"),
    (b"\x2b\x81\x04\x00\x0a", "secp256k1"),
    (b"\x2b\x24\x03\x03\x02\x08\x01\x01\x07", "brainpoolP256r1"),
    (b"\x2b\x24\x03\x03\x02\x08\x01\x01\x0b", "brainpoolP384r1"),
    (b"\x2b\x24\x03\x03\x02\x08\x01\x01\x0d", "brainpoolP512r1"),
];

/// The name of a signature algorithm or a type of key, from the content of its identifier. For a key on an elliptic curve
/// it is the curve's name.
pub(super) fn name(identifier: &[u8]) -> String {
    let Some((oid, rest)) = read_oid(identifier) else {
        return "an unknown algorithm".to_owned();
    };
    let oid = match read_oid(rest) {
        Some((curve, _)) if oid == EC_KEY => curve,
        _ => oid,
    };
    let known = NAMES.iter().find(|(known, _)| *known == oid);
    known.map_or_else(
        || format!("the algorithm {}", dotted(oid)),
        |(_, name)| (*name).to_owned(),
    )
}

/// The content of an object identifier at the beginning of some bytes, and the bytes after it.
fn read_oid(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [OID_TAG, length, rest @ ..] = bytes else {
        return None;
    };
    // A length of 128 or more has another form, which no algorithm needs.
    rest.split_at_checked(usize::from(*length))
}

/// An object identifier as text, such as `1.2.840.10045.4.3.4`.
fn dotted(oid: &[u8]) -> String {
    let mut parts: Vec<u64> = Vec::new();
    let mut part = 0u64;
    for byte in oid {
        part = part << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if parts.is_empty() {
                let first = (part / 40).min(2);
                parts.push(first);
                part -= first * 40;
            }
            parts.push(std::mem::take(&mut part));
        }
    }
    let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b11_algorithms_have_names() {
        for (identifier, expected) in [
            (&b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"[..], "ECDSA with SHA-512"),
            (
                b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23",
                "P-521",
            ),
            (
                b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00",
                "RSA with SHA-1",
            ),
            (
                b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10",
                "the algorithm 1.2.840.113549.1.9.16",
            ),
            (b"\x06\x03\x88\x37\x03", "the algorithm 2.999.3"),
            (b"\x06\x09\x2a", "an unknown algorithm"),
            (b"", "an unknown algorithm"),
        ] {
            assert_eq!(name(identifier), expected);
        }
    }
}
