//! The publisher's trace context: `traceparent` and `tracestate` from the call's metadata (W3C Trace Context).

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Maximum length of a forwarded `tracestate`; the standard asks for at least 512 characters.
const TRACESTATE_BYTES_MAX: usize = 512;

/// Trace id, span id and flags, if the caller sent a valid `traceparent`.
pub(super) fn parent(metadata: &MetadataMap) -> Option<[u8; 25]> {
    let text = metadata.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Later versions may append parts; version 00 has exactly four, and ff is never valid.
    if version.len() != 2 || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let mut context = [0; 25];
    decode(trace, &mut context[..16])?;
    decode(span, &mut context[16..24])?;
    decode(flags, &mut context[24..])?;
    let valid = context[..16] != [0; 16] && context[16..24] != [0; 8];
    valid.then_some(context)
}

/// Creates a span below the caller's, and returns its place in the trace. `None` if nothing is exported.
pub(super) fn of_span(span: &Span, parent: Option<[u8; 25]>) -> Option<[u8; 25]> {
    if span.is_disabled() {
        return None;
    }
    if let Some(parent) = parent {
        let (mut trace, mut id) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&parent[..16]);
        id.copy_from_slice(&parent[16..24]);
        let flags = TraceFlags::new(parent[24]);
        let remote = SpanContext::new(
            TraceId::from_bytes(trace),
            SpanId::from_bytes(id),
            flags,
            true,
            TraceState::default(),
        );
        // It fails only for a span that is not exported, which needs no parent.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
    }
    let context = span.context();
    let recorded = context.span().span_context().clone();
    if !recorded.is_valid() {
        return None;
    }
    let mut place = [0; 25];
    place[..16].copy_from_slice(&recorded.trace_id().to_bytes());
    place[16..24].copy_from_slice(&recorded.span_id().to_bytes());
    place[24] = recorded.trace_flags().to_u8();
    Some(place)
}

/// The `tracestate` to forward.
pub(super) fn state(metadata: &MetadataMap) -> Option<String> {
    let text = metadata.get("tracestate")?.to_str().ok()?;
    let fits = !text.is_empty() && text.len() <= TRACESTATE_BYTES_MAX;
    let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    (fits && printable).then(|| text.to_owned())
}

/// Lower-case hex of exactly the right length.
fn decode(text: &str, into: &mut [u8]) -> Option<()> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if lower {
        hex::decode_to_slice(text, into).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<[u8; 25]> {
        let mut metadata = MetadataMap::new();
        metadata.insert("traceparent", text.parse().unwrap());
        parent(&metadata)
    }

    #[test]
    fn takes_what_the_standard_calls_valid() {
        let context = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(
            hex::encode(context),
            "0af7651916cd43dd8448eb211c80319cb7ad6b716920333101"
        );
        for bad in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7-b7ad-01",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
