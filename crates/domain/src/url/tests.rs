//! Texts that are payload URLs, and texts that are not.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_stored_url_reads_back_unchanged(
        host in "[a-z0-9\u{e9}_.\u{ad}\u{24d0}\u{ff11}\u{3002}-]{1,12}|[ -~]{1,12}",
        port in "(:[0-9]{0,5})?",
        rest in "([/?][ -~\u{e9}\u{200b}]{0,20})?",
    ) {
        if let Ok(url) = parse(&format!("http://{host}{port}{rest}")) {
            prop_assert_eq!(parse(url.as_str()), Ok(url.clone()));
            let sent = [url.authority(), url.path_and_query()];
            prop_assert!(sent.iter().all(|text| text.bytes().all(|byte| byte.is_ascii_graphic())), "{:?}", sent);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(https?:/{0,3})?\\PC{0,40}") {
        let _ = parse(&text).map(|url| url.unicode());
    }
}

fn parse(text: &str) -> Result<PayloadUrl, UrlError> {
    PayloadUrl::parse(text)
}

#[test]
fn s28_user_info_is_refused() {
    for text in [
        "http://user:pass@host.example/",
        "http://public@127.0.0.1/",
        "http://:secret@host.example/",
        "http://@host.example/",
        "http://@\u{e9}.example/",
        "http://:@[2606:4700::1111]/",
    ] {
        assert_eq!(parse(text), Err(UrlError::UserInfo), "{text}");
    }
}

#[test]
fn s29_ports_that_are_none() {
    assert_eq!(parse("http://host.example:65536/"), Err(UrlError::Port));
    assert_eq!(parse("http://host.example:0/"), Err(UrlError::Port));
    assert!(parse("http://host.example:x/").is_err());
}

#[test]
fn s30_other_schemes() {
    for text in [
        "ftp://host.example/",
        "file:///etc/passwd",
        "gopher://host.example/",
        "unix:/run/x",
        "javascript:alert(1)",
        "//host.example/",
        "",
        "host.example",
        "http://",
    ] {
        assert_eq!(parse(text), Err(UrlError::Scheme), "{text}");
    }
}

#[test]
fn s31_white_space_controls_and_backslashes() {
    for text in [
        "http://exa mple.com/",
        "http://example.com/\tx",
        "http://example.com/\r\nX: y",
        "http://example.com/\0",
        "http://example.com\\@evil.example/",
        " http://example.com/",
    ] {
        assert!(
            matches!(parse(text), Err(UrlError::Characters | UrlError::Scheme)),
            "{text:?}"
        );
    }
    assert_eq!(parse("http:\\\\host.example"), Err(UrlError::Scheme));
}

#[test]
fn s32_encoded_line_breaks_stay_encoded() {
    let url = parse("http://host.example/a%0d%0aX-Evil:%201?b=%0d%0aX-Evil:%201").unwrap();
    assert_eq!(url.path_and_query(), "/a%0d%0aX-Evil:%201?b=%0d%0aX-Evil:%201");
}

#[test]
fn s33_a_fragment_is_refused() {
    assert_eq!(parse("http://host.example/#top"), Err(UrlError::Fragment));
}

#[test]
fn s34_internationalised_names() {
    let url = parse("http://b\u{fc}cher.example/").unwrap();
    assert_eq!(url.as_str(), "http://xn--bcher-kva.example/");
    assert_eq!(url.unicode(), "http://b\u{fc}cher.example/");
    assert_eq!(parse("http://\u{e9}.example/").unwrap().host(), "xn--9ca.example");
    // A text that maps to a loopback name or address is then rejected as that.
    assert_eq!(parse("http://\u{24db}ocalhost/").unwrap().host(), "localhost");
    assert_eq!(
        parse("http://\u{ff11}\u{ff12}\u{ff17}\u{3002}0.0.1/")
            .unwrap()
            .address(),
        Some([127, 0, 0, 1].into())
    );
    assert_eq!(parse("http://local\u{ad}host/").unwrap().host(), "localhost");
}

#[test]
fn s35_one_normal_form() {
    let normal = parse("http://host.example/").unwrap();
    for text in [
        "http://HOST.example/",
        "http://host.example./",
        "http://host.example:80/",
        "HTTP://Host.Example.:80",
        "http://host.example",
    ] {
        assert_eq!(parse(text).unwrap(), normal, "{text}");
    }
    assert_eq!(
        parse("https://host.example:443/x?y").unwrap().authority(),
        "host.example"
    );
    assert_eq!(
        parse("https://host.example:8443/").unwrap().authority(),
        "host.example:8443"
    );
    assert_eq!(
        parse("http://[2606:4700:0:0::1111]:81/").unwrap().authority(),
        "[2606:4700::1111]:81"
    );
}

#[test]
fn s36_urls_that_are_too_long() {
    let path = "x".repeat(2_049 - "http://host.example/".len());
    assert_eq!(
        parse(&format!("http://host.example/{path}")),
        Err(UrlError::TooLong(2_049))
    );
    assert!(parse(&format!("http://host.example/{}", &path[1..])).is_ok());
    let encoded = format!("http://host.example/{}", "\u{e9}".repeat(400));
    assert_eq!(
        parse(&encoded),
        Err(UrlError::TooLong(20 + 400 * 6)),
        "what counts is what is stored"
    );
    assert!(parse(&format!("http://{}.example/", "a".repeat(64))).is_err());
    assert!(parse(&format!("http://{}example/", "abc.".repeat(75))).is_err());
}

#[test]
fn s37_malformed_hosts() {
    for text in [
        "http://[::1",
        "http://]/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://1.2.3.08/",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn b25_labels_with_a_hyphen_at_an_end() {
    for (text, label) in [
        ("https://foo-.example.com/", "foo-"),
        ("https://-foo.example.com/", "-foo"),
        ("http://FOO-.example.com:8080/x", "foo-"),
        ("https://hook.example-/", "example-"),
        ("https://-/", "-"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error, UrlError::HostLabel(label.to_owned()), "{text}");
        assert_eq!(error.rule(), "URL_HOST_LABEL");
        assert!(PayloadUrl::parse_stored(text).is_ok(), "what is stored is read: {text}");
    }
    for text in [
        "https://a--b.example.com/",
        "https://xn--bcher-kva.example/",
        "https://_hooks.my_host.example/",
        "https://1-2.example/-x-/?-",
    ] {
        assert!(parse(text).is_ok(), "{text}");
    }
}

#[test]
fn s43_hosts_that_read_as_one_and_are_another() {
    for text in [
        "http://93%2e184%2e216%2e34/",
        "http://0135.0270.0330.042/",
        "http://00000093.184.216.34/",
        "http://93.184.216.34../",
        "http://a..b/",
        "http://ex%61mple.com/",
        "http://\u{e9}.good.example%2eevil.example/",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn s45_slashes_that_parsers_would_correct() {
    for text in [
        "http:127.0.0.1",
        "http:/127.0.0.1/",
        "http:///127.0.0.1/",
        "https:host.example",
    ] {
        assert_eq!(parse(text), Err(UrlError::Scheme), "{text}");
    }
}
