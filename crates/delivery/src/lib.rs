//! Placeholder.
// NOTE FROM THE LEAD to the developer of connector/sender (read now, then leave this note for me to remove):
// Header names must reach HTTP/1.1 receivers byte for byte as in contract.md (`TT-Hook-Event`, `Content-Type`, `webhook-id`), in the
// order given, and the webhook's own headers with the case that their owner typed. hyper lower-cases or title-cases names, so:
// HTTP/1.1 is written by ourselves on the stream (module sender/http1.rs): one buffer with head + body (body by vectored write, not copied,
// when it is larger than a few KiB), response head parsed with `httparse` (add to workspace deps), 1xx skipped within a bound (100; 101 = failure status),
// body by Content-Length / chunked / until close, capped; a Connection is just stream + read buffer, no spawned task; all bounds explicit:
// head <= 64 KiB and <= 128 headers. This also is cheaper than hyper (bench.md: 7.3-9.5 against 11.6-13.5 us). hyper stays for HTTP/2 (by ALPN).
// So AttemptRequest.headers is not an http::HeaderMap but an ordered list: `&'a [(&'a str, &'a str)]`-like or a prepared `HeaderList`
// (Vec<(Cow<'static, str>, HeaderValueBytes)>); your choice, cheap to build per attempt. `Host` first, then the others in the order given,
// `Content-Length` and `Host` are added by the sender. For HTTP/2 names are lower-cased into a HeaderMap.
