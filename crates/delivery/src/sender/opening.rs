//! Finds a connection for an attempt: a stream of a shared one, or a new one, which needs a permit ([`crate::descriptors`]).
//!
//! If the system refuses a descriptor in spite of the permit, the attempt evicts idle connections and tries again. Neither
//! these pauses nor the wait for the permit are part of the attempt ([`super::course`]).

use std::{sync::Arc, time::Duration};

use hookwright_domain::outcome::OperatorPart;
use tokio::time::Instant;

use super::{
    AttemptReport, AttemptRequest, Connection, Failure, Origin, Phases, Sender, SharedConnections, Way, Wire,
    course::Course,
    http1::Http1,
    http2::Http2,
    sharing::{self, Found, OpeningTurn},
    superseded,
};
use crate::{connector::Connected, descriptors::Permit};

/// The pauses after which a connection is opened again that the system refused a descriptor.
const REFUSAL_PAUSES: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
];

/// An open socket, its permit, and the way in which it was opened.
struct Opened {
    way: Arc<Way>,
    connected: Connected,
    permit: Permit,
}

impl Sender {
    /// A stream of a shared connection, or a new connection. The flag is true if it is new.
    pub(super) async fn find(
        &self,
        request: &AttemptRequest<'_>,
        course: &mut Course,
        report: &mut AttemptReport,
    ) -> Result<(Connection, bool), Failure> {
        // Only TLS negotiates HTTP/2.
        let shared = request.shared.filter(|_| request.url.is_https());
        let found = match shared {
            Some(shared) => sharing::find(shared, |connection| self.is_usable(connection, request), course).await,
            None => Found::OpenAlone,
        };
        let (turn, shared) = match found {
            Found::Shared(connection) => {
                report.remote = connection.remote;
                return Ok((connection, false));
            }
            Found::Open(turn) => (turn, shared),
            Found::OpenAlone => (None, None),
        };
        let opened = self.open(request, course, turn.as_ref(), report).await?;
        report.remote = opened.connected.remote;
        let connection = self.begin(opened, request, course.deadline(), shared, turn).await?;
        Ok((connection, true))
    }

    /// Opens a socket with a permit. If the system refuses a descriptor in spite of the permit, it tries again.
    async fn open(
        &self,
        request: &AttemptRequest<'_>,
        course: &mut Course,
        turn: Option<&OpeningTurn>,
        report: &mut AttemptReport,
    ) -> Result<Opened, Failure> {
        let mut pauses = REFUSAL_PAUSES.into_iter();
        loop {
            let way = self.inner.way.load_full();
            let mut permit = self.permit(&way, request, course, turn, report).await?;
            let tried = Instant::now();
            let connecting = way.connector.connect(
                &way.policy,
                request.url,
                request.skip_verify,
                course.deadline(),
                &mut permit,
                &mut report.phases,
            );
            let failure = match connecting.await {
                Ok(connected) => return Ok(Opened { way, connected, permit }),
                Err(failure) => failure,
            };
            let Some(pause) = pauses.next().filter(|_| lacks_descriptors(&failure)) else {
                return Err(failure);
            };
            drop(permit);
            report.phases = Phases::default();
            let _others_wait = turn.map(|turn| turn.wait_since(tried));
            let descriptors = &self.inner.descriptors;
            course.wait(tried, descriptors.recover_from_refusal(pause)).await;
        }
    }

    /// A permit for what a new connection needs at first.
    async fn permit(
        &self,
        way: &Way,
        request: &AttemptRequest<'_>,
        course: &mut Course,
        turn: Option<&OpeningTurn>,
        report: &mut AttemptReport,
    ) -> Result<Permit, Failure> {
        let descriptors = &self.inner.descriptors;
        let mut count = way.connector.descriptors(request.url);
        loop {
            if let Some(permit) = descriptors.try_acquire(count) {
                return Ok(permit);
            }
            let now = Instant::now();
            let permit = {
                let _others_wait = turn.map(|turn| turn.wait_since(now));
                course.wait(now, descriptors.acquire(count)).await
            };
            if !(request.is_current)() {
                return Err(superseded(report));
            }
            // An answer of DNS servers may have expired meanwhile.
            let needed = way.connector.descriptors(request.url);
            if needed <= count {
                return Ok(permit);
            }
            count = needed;
        }
    }

    /// Begins HTTP on an open socket, and shares the connection if it can be. The turn passes when others can use it.
    async fn begin(
        &self,
        opened: Opened,
        request: &AttemptRequest<'_>,
        deadline: Instant,
        shared: Option<&dyn SharedConnections>,
        mut turn: Option<OpeningTurn>,
    ) -> Result<Connection, Failure> {
        let Opened { way, connected, permit } = opened;
        let wire = if connected.http2 {
            let descriptors = self.inner.descriptors.clone();
            Wire::Http2(Http2::start(connected.stream, deadline, turn.take(), permit, descriptors).await?)
        } else {
            Wire::Http1(Box::new(Http1::new(connected.stream, permit)))
        };
        let now = Instant::now();
        let connection = Connection {
            origin: Arc::new(Origin::of(way.number, request.url, request.skip_verify)),
            wire,
            remote: connected.remote,
            opened: now,
            used: now,
        };
        match (shared, connection.without_stream()) {
            (Some(shared), Some(handle)) => shared.share(handle),
            (Some(shared), None) => sharing::stop_sharing(shared),
            (None, _) => {}
        }
        // An attempt that waits for HTTP/1.1 learns that it opens its own connection.
        drop(turn);
        Ok(connection)
    }
}

fn lacks_descriptors(failure: &Failure) -> bool {
    let fault = failure.operator.as_ref();
    fault.is_some_and(|fault| fault.part == OperatorPart::Descriptors)
}
