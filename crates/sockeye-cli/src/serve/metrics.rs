//! `/metrics`: what the library counts, in the text format that Prometheus reads.

use std::fmt;
use std::io;
use std::path::Path;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use sockeye::{Connections, Metrics, ROUND_TRIP_BUCKETS, Side, Snapshot, Traffic};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of all servers, and who may see them.
pub(super) struct Exposition {
    registry: Registry,
    /// The hash of the token to show, if any.
    token: Option<[u8; 32]>,
}

impl Exposition {
    pub(super) fn new(metrics: Metrics, connections: Connections, token: Option<&str>) -> Self {
        let mut registry = Registry::default();
        let counted = registry.sub_registry_with_prefix("sockeye");
        counted.register_collector(Box::new(Counted(metrics, connections)));
        #[cfg(target_os = "linux")]
        registry
            .sub_registry_with_prefix("process")
            .register_collector(Box::new(super::process::Process::new()));
        Self { registry, token: token.map(|token| hmac_sha256::Hash::hash(token.as_bytes())) }
    }

    /// Whether they are shown to those who can show a token only.
    pub(super) fn wants_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a request with this `Authorization` may see them.
    pub(super) fn allow(&self, authorization: Option<&str>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = authorization.and_then(|value| value.split_once(' '));
        // RFC 9110 section 11.1: "It uses a case-insensitive token to identify the authentication scheme". Hashes are compared, so that the time this
        // takes tells nothing about the token.
        shown.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case("bearer")
                && hmac_sha256::Hash::hash(shown.trim().as_bytes()) == *token
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let encoded = encode(&mut text, &self.registry);
        debug_assert!(encoded.is_ok(), "a String takes all");
        text
    }
}

/// Reads a token.
pub(super) fn token(file: &Path) -> io::Result<String> {
    let token = std::fs::read_to_string(file)?.trim().to_owned();
    // RFC 6750 section 2.1: "b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=""
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "there must be one token in it, without spaces",
        ));
    }
    Ok(token)
}

#[derive(Debug)]
struct Counted(Metrics, Connections);

impl Collector for Counted {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let now = self.0.snapshot();
        connections(&mut page, &now)?;
        let accept_errors = self.1.accept_errors();
        page.counter("accept_errors", "Failures to accept a connection", None, &[([], accept_errors)])?;
        messages(&mut page, &now)?;
        slow_consumers(&mut page, &now)
    }
}

fn connections(page: &mut Page<'_>, now: &Snapshot) -> fmt::Result {
    page.gauge("connections_open", "WebSockets open now", None, &now.connections_open)?;
    page.counter("connections", "WebSockets accepted", None, &[([], now.connections_total)])?;
    let closed: Vec<_> = now
        .closed
        .iter()
        .map(|closed| {
            let initiator = if closed.initiator == Side::Peer { "peer" } else { "local" };
            ([("code", closed.code), ("initiator", initiator)], closed.count)
        })
        .collect();
    page.counter("connections_closed", "WebSockets ended, by close code and who began", None, &closed)?;
    let refused: Vec<_> = now.refused.iter().map(|(why, count)| ([("reason", why.name())], *count)).collect();
    page.counter("handshakes_refused", "Opening handshakes that led to no WebSocket", None, &refused)?;
    page.counter("http_requests", "Connections that asked for no WebSocket", None, &[([], now.http)])?;
    page.gauge("draining", "Whether the server is going down", None, &u64::from(now.draining > 0))?;
    let drained = [([("outcome", "ended")], now.drained), ([("outcome", "aborted")], now.aborted)];
    page.counter("drained_connections", "Connections ended while the server went down", None, &drained)
}

fn messages(page: &mut Page<'_>, now: &Snapshot) -> fmt::Result {
    let ways = [("received", &now.received), ("sent", &now.sent)];
    let by_kind = |count: fn(&Traffic) -> [u64; 2]| {
        ways.map(|(way, traffic)| {
            let [text, binary] = count(traffic);
            [
                ([("direction", way), ("kind", "text")], text),
                ([("direction", way), ("kind", "binary")], binary),
            ]
        })
        .concat()
    };
    let by_way =
        |count: fn(&Traffic) -> u64| ways.map(|(way, traffic)| ([("direction", way)], count(traffic)));
    let counts = by_kind(|traffic| [traffic.text_messages, traffic.binary_messages]);
    page.counter("messages", "Messages", None, &counts)?;
    let bytes = by_kind(|traffic| [traffic.text_bytes, traffic.binary_bytes]);
    page.counter("message", "Payloads of messages, not compressed", Some(&Unit::Bytes), &bytes)?;
    let wire = by_way(|traffic| traffic.wire_bytes);
    page.counter("wire", "Frames as they are on the wire, compressed or not", Some(&Unit::Bytes), &wire)?;
    page.counter("pings", "Pings", None, &by_way(|traffic| traffic.pings))?;
    let bounds = ROUND_TRIP_BUCKETS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(now.round_trips.buckets).collect();
    let (sum, count) = (now.round_trips.sum.as_secs_f64(), now.round_trips.buckets.iter().sum());
    let help = "How long peers took to answer pings";
    let Page(encoder) = page;
    encoder
        .encode_descriptor("ping_round_trip", help, Some(&Unit::Seconds), MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

fn slow_consumers(page: &mut Page<'_>, now: &Snapshot) -> fmt::Result {
    page.gauge("queued_messages", "Messages queued for slow consumers", None, &now.queued)?;
    page.gauge("queued", "What they take", Some(&Unit::Bytes), &now.queued_bytes)?;
    let left_out = [([("action", "dropped")], now.dropped), ([("action", "coalesced")], now.coalesced)];
    page.counter("slow_consumer_messages", "Messages that slow consumers do not get", None, &left_out)?;
    let help = "Connections closed for reading too slowly";
    page.counter("slow_consumers_closed", help, None, &[([], now.slow_closed)])
}

/// Labels and a count.
type Count<const LABELS: usize> = ([(&'static str, &'static str); LABELS], u64);

pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: &impl EncodeGaugeValue,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        metric.encode_gauge(value)
    }

    /// Its name gets `_total` behind it.
    fn counter<const LABELS: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        counts: &[Count<LABELS>],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, count) in counts {
            if labels.is_empty() {
                metric.encode_counter::<NoLabelSet, _, f64>(count, None)?;
                continue;
            }
            metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
        }
        Ok(())
    }
}
