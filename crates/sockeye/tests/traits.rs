//! What every public type can do, as far as a type can say it. This compiles or it does not.

use std::error::Error as StdError;
use std::fmt::Debug;

use sockeye::{
    Attempt, Backoff, CertificateProblem, Client, Connections, Drain, Drained, Error, Family, ForwardedBy,
    Handshake, HttpConnection, Incoming, Listener, MessageWriter, Metrics, NetworkError, Networks, Offered,
    OpenCause, OpenError, Overrides, PemError, Phase, Ping, Proxies, Proxy, ProxyError, QueueCounters,
    QueuedSender, Receiver, Reconnecting, RedirectError, Sender, Server, ServerTls, SlowConsumer, Snapshot,
    SystemResolver, Tcp, Timings, Tls, TlsError, TlsInfo, TrySendError, WebSocket,
};

fn send<T: Send + Unpin + 'static>() {}

fn value<T: Clone + Debug + Send + Sync + Unpin + 'static>() {}

fn error<T: StdError + Send + Sync + Unpin + 'static>() {}

#[test]
fn what_does_something_goes_to_another_thread() {
    send::<HttpConnection>();
    send::<Incoming>();
    send::<Listener>();
    send::<MessageWriter>();
    send::<Ping>();
    send::<Receiver>();
    send::<Reconnecting>();
    send::<Server>();
    send::<WebSocket>();
}

#[test]
fn values_and_handles_can_be_cloned_shared_and_printed() {
    value::<(Attempt, Backoff, Client, Connections, Drain, Drained, Family, ForwardedBy)>();
    value::<(Handshake, Metrics, Networks, Offered, Overrides, Phase, Proxies, Proxy)>();
    value::<(QueueCounters, QueuedSender, Sender, ServerTls, SlowConsumer, Snapshot, SystemResolver)>();
    value::<(Tcp, Timings, Tls, TlsInfo)>();
}

#[test]
fn errors_are_errors() {
    error::<CertificateProblem>();
    error::<Error>();
    error::<NetworkError>();
    error::<OpenCause>();
    error::<OpenError>();
    error::<PemError>();
    error::<ProxyError>();
    error::<RedirectError>();
    error::<TlsError>();
    error::<TrySendError>();
}
