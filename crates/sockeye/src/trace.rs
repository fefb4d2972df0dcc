//! A span for each connection of a server, and events in it, where the feature `tracing` is on; otherwise nothing.
//!
//! Of what a client sends, only the path, the names of the query's parameters and the subprotocol are told: never a header
//! field or a parameter's value, where credentials are.

use sockeye_proto::CloseInfo;
use sockeye_proto::handshake::Request;

use crate::error::Error;
use crate::metrics::Refused;
use crate::peer::Peer;

/// A connection's span.
#[derive(Clone, Default)]
pub(crate) struct Span(#[cfg(feature = "tracing")] Option<tracing::Span>);

#[cfg(feature = "tracing")]
impl Span {
    /// For an opening handshake; nothing if nobody collects it.
    pub(crate) fn new(request: &Request, peer: &Peer) -> Self {
        let span = tracing::info_span!(
            "websocket",
            peer = peer.addr.map(tracing::field::display),
            client = peer.other_client().map(tracing::field::display),
            path = redacted(request.path(), request.query()),
            subprotocol = tracing::field::Empty,
        );
        Self((!span.is_disabled()).then_some(span))
    }

    /// Whether anybody collects it.
    pub(crate) fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn accepted(&self, subprotocol: Option<&str>) {
        if let Some(span) = &self.0 {
            span.record("subprotocol", subprotocol);
            span.in_scope(|| tracing::info!("accepted"));
        }
    }

    /// The connection has ended; without information it was dropped.
    pub(crate) fn closed(&self, info: Option<&CloseInfo>, failure: Option<&Error>) {
        let Some(span) = &self.0 else { return };
        span.in_scope(|| {
            if let Some(error) = failure {
                tracing::info!(error = %error, "failed");
            }
            match info {
                None => tracing::info!("dropped"),
                Some(info) => tracing::info!(
                    code = u16::from(info.code),
                    initiator = if info.initiator == sockeye_proto::Side::Peer { "peer" } else { "local" },
                    clean = info.clean,
                    reason = ?info.reason,
                    "closed"
                ),
            }
        });
    }

    /// Runs a handler within it.
    pub(crate) fn within<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        tracing::Instrument::instrument(future, self.0.unwrap_or_else(tracing::Span::none))
    }
}

#[cfg(not(feature = "tracing"))]
#[expect(clippy::unused_self, reason = "as with the feature")]
impl Span {
    pub(crate) fn new(_: &Request, _: &Peer) -> Self {
        Self()
    }

    pub(crate) fn is_enabled(&self) -> bool {
        false
    }

    pub(crate) fn accepted(&self, _: Option<&str>) {}

    pub(crate) fn closed(&self, _: Option<&CloseInfo>, _: Option<&Error>) {}

    pub(crate) fn within<F: Future>(self, future: F) -> F {
        future
    }
}

/// An opening handshake led to no connection.
#[cfg(feature = "tracing")]
pub(crate) fn refused(why: Refused, peer: &Peer) {
    tracing::info!(
        peer = peer.addr.map(tracing::field::display),
        client = peer.other_client().map(tracing::field::display),
        reason = why.name(),
        "refused"
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn refused(_: Refused, _: &Peer) {}

/// A path and its query, without the values in it.
#[cfg(feature = "tracing")]
fn redacted(path: &str, query: Option<&str>) -> String {
    let mut text = path.to_owned();
    for (place, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if place == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) => text.extend([name, "=***"]),
            // It may be a token by itself.
            None if parameter.is_empty() => {}
            None => text.push_str("***"),
        }
    }
    text
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use super::redacted;

    #[test]
    fn no_value_of_a_query_is_told() {
        for (query, told) in [
            (None, "/chat"),
            (Some(""), "/chat?"),
            (Some("token=secret"), "/chat?token=***"),
            (Some("a=1&b=x=secret&=secret&secret&"), "/chat?a=***&b=***&=***&***&"),
        ] {
            assert_eq!(redacted("/chat", query), told);
        }
    }
}
