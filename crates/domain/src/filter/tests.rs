use proptest::prelude::*;

use super::*;

const PAYLOAD: &str = r#"{"id":7,"total":12.5,"kind":"order","big":18446744073709551615,"tags":["a","b"],
    "items":[{"sku":"x","count":1},{"sku":"y","count":3}],"customer":{"country":"DE","vip":true},"none":null}"#;

fn attributes() -> BTreeMap<String, String> {
    [("region", "eu"), ("shard.1", "s")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn facts() -> EventFacts<'static> {
    EventFacts::new("order.placed", &attributes(), "k-1", Some(PAYLOAD.as_bytes())).unwrap()
}

fn run(text: &str) -> Result<bool, String> {
    WebhookFilter::compile(text).unwrap().matches(&facts())
}

#[test]
fn filters_that_owners_write_are_evaluated() {
    for (text, expected) in [
        ("attributes.region == 'eu'", true),
        ("attributes['shard.1'] == 's' && event_type == 'order.placed'", true),
        ("attributes.region in ['us', 'asia']", false),
        ("has(attributes.tenant)", false),
        ("has(attributes.tenant) && attributes.tenant == 'a'", false),
        ("payload.total > 10", true),
        ("payload.total > 10.5 && payload.id == 7.0", true),
        ("payload.big > 5", true),
        ("payload.none == null", true),
        ("payload.customer.country.startsWith('D') && payload.customer.vip", true),
        ("payload.items.exists(item, item.sku == 'y' && item.count > 2)", true),
        ("payload.items.all(item, item.count > 1)", false),
        ("payload.items.exists_one(item, item.count == 1)", true),
        ("payload.items.filter(item, item.count > 2).size() == 1", true),
        ("payload.items.map(item, item.sku) == ['x', 'y']", true),
        ("'b' in payload.tags", true),
        ("size(payload.tags) == 2 || payload.missing", true),
        ("ordering_key == 'k-1' ? true : false", true),
        ("event_type.contains('placed') && !event_type.endsWith('x')", true),
        ("int('5') == 5 && string(payload.id) == '7'", true),
    ] {
        assert_eq!(run(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_filter_that_cannot_be_evaluated_does_not_match_and_says_why() {
    for (text, why) in [
        ("payload.missing == 1", "No such key: missing"),
        ("payload.kind > 1", "no matching overload"),
        ("payload.id", "the result is a int"),
        ("payload.id / 0 == 1", "Division by zero"),
    ] {
        let error = run(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn an_invalid_filter_is_refused_when_it_is_made() {
    let long = "a".repeat(FILTER_CHARS_MAX + 1);
    let sums = format!("{} == ''", ["ordering_key"; 10].join(" + "));
    let mentions = ["payload.a == 1"; 33].join(" && ");
    let loops = ["payload.a.all(i, i)"; 5].join(" && ");
    for (text, rule) in [
        ("", "FILTER_SYNTAX"),
        ("payload.", "FILTER_SYNTAX"),
        ("payload.a = 1", "FILTER_SYNTAX"),
        (&long, "FILTER_TOO_LONG"),
        ("data.a == 1", "FILTER_UNKNOWN_VARIABLE"),
        ("payload.a == i", "FILTER_UNKNOWN_VARIABLE"),
        ("payload.a.all(i, i) && i", "FILTER_UNKNOWN_VARIABLE"),
        ("payload.a.matches('x')", "FILTER_UNKNOWN_FUNCTION"),
        ("now() > 1", "FILTER_UNKNOWN_FUNCTION"),
        ("Thing{a: 1}.a == 1", "FILTER_UNKNOWN_FUNCTION"),
        ("payload", "FILTER_NOT_BOOLEAN"),
        ("1 + 1", "FILTER_NOT_BOOLEAN"),
        ("'yes'", "FILTER_NOT_BOOLEAN"),
        ("size(payload.a)", "FILTER_NOT_BOOLEAN"),
        (&sums, "FILTER_TOO_COSTLY"),
        (&mentions, "FILTER_TOO_COSTLY"),
        (&loops, "FILTER_TOO_COSTLY"),
        ("payload.a.all(i, payload.b == i)", "FILTER_TOO_COSTLY"),
        ("payload.a.all(i, i.all(j, j))", "FILTER_TOO_COSTLY"),
    ] {
        let error = WebhookFilter::compile(text).expect_err(text);
        assert_eq!(error.rule(), rule, "{text}: {error}");
    }
}

#[test]
fn the_payload_is_parsed_only_where_a_filter_reads_it() {
    assert!(
        !WebhookFilter::compile("attributes.region == 'eu'")
            .unwrap()
            .reads_payload()
    );
    assert!(WebhookFilter::compile("has(payload.a)").unwrap().reads_payload());
}

#[test]
fn deep_nesting_is_refused_or_evaluated_but_never_more() {
    for text in [
        "(".repeat(2_000),
        "!".repeat(2_000) + "true",
        format!("{}true{}", "(".repeat(1_000), ")".repeat(1_000)),
        format!("{}1{} == 1", "[".repeat(1_000), "]".repeat(1_000)),
        format!("payload{}", ".a".repeat(1_000)),
        format!("payload{} == 1", ".a".repeat(22)),
        format!("payload{} == 1", "[0]".repeat(22)),
        format!("payload{}", "[0]".repeat(90)),
        format!("{}true{}", "(".repeat(100), ")".repeat(100)),
        "[1].all(i, ".repeat(50),
        format!("{}1", "1 + ".repeat(500)),
        format!("{}1", "1 == ".repeat(400)),
        format!("payload{}", ".size()".repeat(90)),
        ["true"; 250].join(" && "),
        "-".repeat(2_000) + "1 == 1",
    ] {
        if let Ok(filter) = WebhookFilter::compile(&text) {
            let _ = filter.matches(&facts());
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = WebhookFilter::compile(&text);
    }

    #[test]
    fn no_expression_like_text_makes_it_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "payload", ".", "a", "==", "1", "'x'", "(", ")", "[", "]", "&&", "||", "!", "has", "exists", ",", "i", "in",
            "attributes", "?", ":", "+", "-", "{", "}", "size", "null", "9223372036854775807", "1u", "\"", "\\", "%", "/", "0",
        ]), 0..20)
    ) {
        if let Ok(filter) = WebhookFilter::compile(&words.concat()) {
            let _ = filter.matches(&facts());
        }
    }
}
