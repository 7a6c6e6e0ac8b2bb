//! Requests for hyper, with header names in the case and order of the contract.
//!
//! hyper writes names in lower case, unless the request carries an extension of a private type: the spelling of a message that hyper
//! read. A [`Form`] gets this extension by making hyper read a response with the same names from memory. Each request gets a clone of
//! the extension and of the headers, because replacing values costs less than inserting names.
//!
//! Each thread keeps its forms. A lane and its connections stay on one thread, so no other core counts the same references.

use std::{cell::RefCell, pin::pin};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONTENT_LENGTH, HOST, InvalidHeaderName, InvalidHeaderValue},
    uri::InvalidUri,
};
use http_body_util::Full;
use hyper::{Request, client::conn::http1::Builder};
use tokio::task::unconstrained;

use super::{super::AttemptRequest, client::Client, replay::Replay, tap::Observer};
use crate::request::HeaderLine;

/// Maximum number of forms per thread. Webhooks without custom headers share one or two.
const FORMS_MAX: usize = 32;

thread_local! {
    static FORMS: RefCell<Forms> = RefCell::default();
}

/// The forms of a thread.
#[derive(Default)]
struct Forms {
    /// The most recently used first.
    forms: Vec<Form>,
    /// The buffer for values.
    values: BytesMut,
}

/// The common parts of requests with the same header names.
struct Form {
    /// The names except `Host` and `Content-Length`, as they are sent.
    names: Vec<String>,
    /// The headers, with empty values.
    headers: HeaderMap,
    /// The position in a request of each header of the map. The two differ if a name is there twice.
    places: Vec<usize>,
    /// The spelling of names that are not in lower case.
    spelling: Extensions,
}

/// Why a request cannot be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Uri(#[from] InvalidUri),
    #[error(transparent)]
    Name(#[from] InvalidHeaderName),
    #[error(transparent)]
    Value(#[from] InvalidHeaderValue),
    #[error("the names of the headers cannot be read")]
    Names,
}

/// A request with `Host` first and `Content-Length` last. The observer counts the interim responses to it.
pub(super) fn build(attempt: &AttemptRequest<'_>, observer: &Observer) -> Result<Request<Full<Bytes>>, RequestError> {
    let mut request = Request::new(Full::new(attempt.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = attempt.url.path_and_query().parse()?;
    FORMS.with_borrow_mut(|forms| forms.fill_in(&mut request, attempt))?;
    observer.count_interim(&mut request);
    Ok(request)
}

impl Forms {
    fn fill_in(
        &mut self,
        request: &mut Request<Full<Bytes>>,
        attempt: &AttemptRequest<'_>,
    ) -> Result<(), RequestError> {
        match self.forms.iter().position(|form| form.fits(attempt.headers)) {
            Some(0) => {}
            Some(place) => self.forms[..=place].rotate_right(1),
            None => {
                self.forms.truncate(FORMS_MAX - 1);
                self.forms.insert(0, Form::new(attempt.headers)?);
            }
        }
        let form = &self.forms[0];
        *request.extensions_mut() = form.spelling.clone();
        *request.headers_mut() = form.headers.clone();
        let mut length = itoa::Buffer::new();
        let length = length.format(attempt.body.len());
        let texts = form.places.iter().map(|place| match place.checked_sub(1) {
            None => attempt.url.authority(),
            Some(index) => attempt.headers.get(index).map_or(length, |(_, text)| text),
        });
        // All values of a request share one allocation, usually that of the previous request.
        self.values.reserve(texts.clone().map(str::len).sum());
        for text in texts.clone() {
            self.values.extend_from_slice(text.as_bytes());
        }
        let mut values = self.values.split().freeze();
        for (text, value) in texts.zip(request.headers_mut().values_mut()) {
            *value = HeaderValue::from_maybe_shared(values.split_to(text.len()))?;
        }
        Ok(())
    }
}

impl Form {
    fn new(headers: &[HeaderLine<'_>]) -> Result<Self, RequestError> {
        let mut map = HeaderMap::with_capacity(headers.len() + 2);
        map.append(HOST, HeaderValue::from(0));
        for (place, (name, _)) in (1usize..).zip(headers) {
            map.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from(place));
        }
        map.append(CONTENT_LENGTH, HeaderValue::from(headers.len() + 1));
        let place_of = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
        let places = map.values().filter_map(place_of).collect();
        map.values_mut().for_each(|value| *value = HeaderValue::from_static(""));
        let names = headers.iter().map(|(name, _)| *name);
        Ok(Self {
            names: names.clone().map(str::to_owned).collect(),
            headers: map,
            places,
            spelling: spelling(["Host", "Content-Length"].into_iter().chain(names))?,
        })
    }

    fn fits(&self, headers: &[HeaderLine<'_>]) -> bool {
        self.names.len() == headers.len() && self.names.iter().zip(headers).all(|(own, (name, _))| own == name)
    }
}

/// The extension that makes hyper write names in this spelling.
fn spelling<'a>(names: impl Iterator<Item = &'a str>) -> Result<Extensions, RequestError> {
    let mut response = String::from("HTTP/1.1 204 No Content\r\n");
    for name in names.filter(|name| name.bytes().any(|byte| byte.is_ascii_uppercase())) {
        response.extend([name, ":\r\n"]);
    }
    response.push_str("\r\n");
    let mut builder = Builder::new();
    builder.preserve_header_case(true).max_headers(response.lines().count());
    let reading = unconstrained(async {
        let memory = Replay::new(response.into(), tokio::io::empty());
        let mut client = Client::start(&builder, memory).await.ok()?;
        let response = client.send(Request::default(), || true).await.ok()?;
        Some(response.into_parts().0.extensions)
    });
    // The stream is always ready. It wakes its reader once, between the request and the response.
    let mut reading = pin!(reading);
    let read = reading.as_mut().now_or_never().or_else(|| reading.now_or_never());
    read.flatten().ok_or(RequestError::Names)
}
