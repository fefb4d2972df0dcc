//! A server that speaks TLS.

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::sync::Arc;
use std::time::Duration;

use certificates::{Ca, Identity};
use sockeye::rustls::ProtocolVersion;
use sockeye::{
    Client, Config, Error, Incoming, OpenCause, PemError, Server, ServerTls, Tls, TlsError, WebSocket,
    connect,
};
use support::{Running, echo, serve};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

fn tls_of(identity: &Identity) -> ServerTls {
    ServerTls::from_pem(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap()
}

async fn serve_tls(tls: &ServerTls) -> Running {
    serve(|server| server.tls(tls.clone()), echo).await
}

fn trusting(ca: &Ca) -> Tls {
    Tls::default().only_ca_pem(ca.pem.as_bytes()).unwrap()
}

async fn open(tls: Tls, server: &Running) -> Result<WebSocket, Error> {
    Client::new().tls(tls).connect(&format!("wss://localhost:{}/", server.address.port())).await
}

async fn echoes(ws: &mut WebSocket) {
    ws.send("there?").await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("there?"));
}

fn cause(error: &Error) -> &OpenCause {
    let Error::Open(error) = error else { panic!("{error}") };
    &error.cause
}

#[tokio::test]
async fn both_ends_know_what_was_agreed_on() {
    let ca = Ca::new("ca");
    let handler = |incoming: Incoming| async move {
        let before = incoming.tls().cloned().unwrap();
        let mut ws = incoming.accept().await?;
        let handshake = ws.handshake().unwrap();
        assert_eq!(handshake.tls.as_ref(), Some(&before));
        let timings = handshake.timings;
        assert!(timings.tls.unwrap() <= timings.total && timings.upgrade.is_some(), "{timings:?}");
        assert!(before.certificates.is_empty(), "the client was not asked for one");
        ws.send(format!("{:?} {:?}", before.protocol_version, before.alpn)).await?;
        while ws.recv().await?.is_some() {}
        Ok(())
    };
    let server = serve(|server| server.tls(tls_of(&ca.issue(&["localhost"]))), handler).await;
    let mut ws = open(trusting(&ca), &server).await.unwrap();
    let info = ws.handshake().unwrap().tls.clone().unwrap();
    assert_eq!(info.protocol_version, ProtocolVersion::TLSv1_3);
    let expected = format!("{:?} {:?}", info.protocol_version, Some(b"http/1.1"));
    assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some(&*expected));
    assert!(ws.close(1000, "").await.unwrap().clean);
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_is_swapped_without_an_end_of_connections() {
    let ca = Ca::new("ca");
    let (old, new) = (ca.issue(&["localhost"]), ca.issue(&["localhost"]));
    let tls = tls_of(&old);
    let server = serve_tls(&tls).await;
    let shown = |ws: &WebSocket| ws.handshake().unwrap().tls.as_ref().unwrap().certificates.clone();
    let mut before = open(trusting(&ca), &server).await.unwrap();
    assert_eq!(shown(&before), old.certificates());

    let wrong = tls.reload(new.chain.as_bytes(), old.key.as_bytes()).unwrap_err();
    assert_eq!(wrong, TlsError::Pem(PemError::KeyMismatch));
    assert_eq!(shown(&open(trusting(&ca), &server).await.unwrap()), old.certificates(), "the old one stays");

    tls.reload(new.chain.as_bytes(), new.key.as_bytes()).unwrap();
    assert_eq!(shown(&open(trusting(&ca), &server).await.unwrap()), new.certificates());
    echoes(&mut before).await;
    assert!(before.close(1000, "").await.unwrap().clean);

    // A configuration of one's own can be reloaded too.
    let tls = ServerTls::from(Arc::new(old.server()));
    let server = serve_tls(&tls).await;
    tls.reload(new.chain.as_bytes(), new.key.as_bytes()).unwrap();
    assert_eq!(shown(&open(trusting(&ca), &server).await.unwrap()), new.certificates());
}

#[tokio::test]
async fn clients_show_certificates_where_asked_to() {
    let (ca, clients, others) = (Ca::new("ca"), Ca::new("clients"), Ca::new("others"));
    let showing = |identity: &Identity| {
        trusting(&ca).client_certificate_pem(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap()
    };
    let who = |incoming: Incoming| async move {
        let shown = incoming.tls().unwrap().certificates.clone();
        let mut ws = incoming.accept().await?;
        ws.send(shown.first().map_or_else(Vec::new, |certificate| certificate.to_vec())).await?;
        while ws.recv().await?.is_some() {}
        Ok(())
    };
    let mine = clients.issue(&["client"]);
    let own = tls_of(&ca.issue(&["localhost"]));

    let required = own.clone().client_ca_pem(clients.pem.as_bytes()).unwrap();
    let server = serve(|server| server.tls(required), who).await;
    let mut ws = open(showing(&mine), &server).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().into_bytes(), mine.certificates()[0].to_vec());
    let error = open(trusting(&ca), &server).await.unwrap_err();
    assert!(matches!(cause(&error), OpenCause::Tls(TlsError::ClientCertificateRequired)), "{error}");
    let error = open(showing(&others.issue(&["client"])), &server).await.unwrap_err();
    assert!(matches!(cause(&error), OpenCause::Tls(TlsError::ClientCertificateRefused(_))), "{error}");

    let optional = own.optional_client_ca_pem(clients.pem.as_bytes()).unwrap();
    let server = serve(|server| server.tls(optional), who).await;
    let mut ws = open(trusting(&ca), &server).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().into_bytes(), Vec::new());
    let error = open(showing(&others.issue(&["client"])), &server).await.unwrap_err();
    assert!(matches!(cause(&error), OpenCause::Tls(TlsError::ClientCertificateRefused(_))), "{error}");
}

#[tokio::test]
async fn all_that_is_shown_and_asked_for_can_be_replaced() {
    let (ca, clients, others) = (Ca::new("ca"), Ca::new("clients"), Ca::new("others"));
    let (own, mine) = (tls_of(&ca.issue(&["localhost"])), clients.issue(&["client"]));
    // It keeps what it needs to resume a session.
    let showing = trusting(&ca).client_certificate_pem(mine.chain.as_bytes(), mine.key.as_bytes()).unwrap();
    let tls = own.clone().client_ca_pem(clients.pem.as_bytes()).unwrap();
    let server = serve_tls(&tls).await;
    let mut before = open(showing.clone(), &server).await.unwrap();
    echoes(&mut before).await;

    tls.replace(&own.client_ca_pem(others.pem.as_bytes()).unwrap());
    let error = open(showing.clone(), &server).await.unwrap_err();
    assert!(matches!(cause(&error), OpenCause::Tls(TlsError::ClientCertificateRefused(_))), "{error}");
    echoes(&mut before).await;
    tls.replace(&tls_of(&ca.issue(&["localhost"])));
    echoes(&mut open(trusting(&ca), &server).await.unwrap()).await;
}

#[tokio::test]
async fn who_does_not_get_on_with_tls_holds_up_nobody() {
    let ca = Ca::new("ca");
    let mut config = Config::default();
    config.tls_timeout = Some(Duration::from_millis(50));
    let tls = tls_of(&ca.issue(&["localhost"]));
    let server = serve(|server| server.config(config).tls(tls.clone()), echo).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    echoes(&mut open(trusting(&ca), &server).await.unwrap()).await;
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "after the deadline");
    assert!(connect(&server.url()).await.is_err(), "that is no TLS");
    echoes(&mut open(trusting(&ca), &server).await.unwrap()).await;
    server.stop().await;

    // A server that goes down waits for no handshake.
    let mut config = Config::default();
    (config.open_timeout, config.tls_timeout, config.close_timeout) = (None, None, None);
    let server = serve(|server: Server| server.config(config).tls(tls), echo).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    assert!(open(trusting(&ca), &server).await.is_ok());
    tokio::time::timeout(Duration::from_secs(10), server.stop()).await.unwrap();
}
