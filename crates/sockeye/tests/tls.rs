//! TLS: whom a client trusts, what it shows, and what it says of a server that it does not trust.

#[path = "support/certificates.rs"]
mod certificates;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use certificates::{Ca, Identity, echo, provider, self_signed, serve};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use sockeye::rustls::crypto::CryptoProvider;
use sockeye::rustls::server::{ClientHello, ResolvesServerCert};
use sockeye::rustls::sign::CertifiedKey;
use sockeye::rustls::version::{TLS12, TLS13};
use sockeye::rustls::{AlertDescription, ClientConfig, ProtocolVersion, ServerConfig};
use sockeye::{
    CertificateProblem, Client, Config, Error, OpenCause, OpenError, PemError, Phase, Tls, TlsError, TlsInfo,
    WebSocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SUBJECT: &str = "CN=leaf,O=Test\\, Inc.";

/// Trusts one CA.
fn trusting(ca: &Ca) -> Tls {
    Tls::default().only_ca_pem(ca.pem.as_bytes()).unwrap()
}

fn localhost(address: SocketAddr) -> String {
    format!("wss://localhost:{}/", address.port())
}

async fn open(tls: &Tls, url: &str) -> Result<WebSocket, Box<OpenError>> {
    match Client::new().tls(tls.clone()).connect(url).await {
        Ok(ws) => Ok(ws),
        Err(Error::Open(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Connects to a server that shows this, as localhost, and is told why that fails.
async fn failure(tls: &Tls, server: ServerConfig) -> (Phase, TlsError) {
    let address = serve(server, echo).await;
    let error = open(tls, &localhost(address)).await.unwrap_err();
    match error.cause {
        OpenCause::Tls(tls) => (error.phase, tls),
        other => panic!("{other:?}"),
    }
}

async fn answer(ws: &mut WebSocket, message: &str) -> String {
    ws.send(message).await.unwrap();
    ws.recv().await.unwrap().unwrap().as_text().unwrap().to_owned()
}

fn info(ws: &WebSocket) -> TlsInfo {
    ws.handshake().unwrap().tls.clone().unwrap()
}

#[tokio::test]
async fn a_trusted_server_is_spoken_to() {
    let ca = Ca::new("ca");
    for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let identity = ca.issue(&["localhost"]);
        let address = serve(identity.server_of(&[version], None), echo).await;
        let mut ws = open(&trusting(&ca), &localhost(address)).await.unwrap();
        assert_eq!(answer(&mut ws, "sni").await, "localhost");
        let info = info(&ws);
        assert_eq!(info.protocol_version, name);
        assert!(info.cipher_suite.as_str().unwrap().starts_with("TLS"), "{:?}", info.cipher_suite);
        assert_eq!(info.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert!(!info.resumed);
        assert_eq!(info.certificates, identity.certificates());
        let timings = ws.handshake().unwrap().timings;
        assert!(timings.tls.unwrap() <= timings.total && timings.upgrade.is_some(), "{timings:?}");
        assert!(ws.close(1000, "").await.unwrap().clean);
    }
    // Only a rustls that was asked for a default has one.
    assert!(CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn an_address_needs_a_certificate_for_it_and_is_not_told_by_sni() {
    let ca = Ca::new("ca");
    let address = serve(ca.issue(&["127.0.0.1", "::1"]).server(), echo).await;
    let mut ws = open(&trusting(&ca), &format!("wss://{address}/")).await.unwrap();
    assert_eq!(answer(&mut ws, "sni").await, "none");
    let address = serve(ca.issue(&["localhost", "127.0.0.2"]).server(), echo).await;
    let error = open(&trusting(&ca), &format!("wss://{address}/")).await.unwrap_err();
    let OpenCause::Tls(TlsError::Certificate { problem, .. }) = error.cause else { panic!("{error}") };
    let names = vec!["localhost".to_owned(), "127.0.0.2".to_owned()];
    assert_eq!(problem, CertificateProblem::WrongHost { expected: "127.0.0.1".into(), names });
}

#[tokio::test]
async fn what_is_wrong_with_which_certificate() {
    let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
    let (ca, other) = (Ca::new("good"), Ca::new("other"));
    let intermediate = ca.intermediate("between");
    let expired = ca.issue_with(&["localhost"], |params| params.not_after = date_time_ymd(2020, 2, 29));
    let chain = |mut leaf: Identity, above: &[&Ca]| {
        for ca in above {
            leaf.chain.push_str(&ca.pem);
        }
        leaf
    };
    let cases = [
        (
            expired,
            SUBJECT,
            CertificateProblem::Expired { not_after: day(18_321) },
            "the certificate of \"CN=leaf,O=Test\\\\, Inc.\" has expired: it was valid until 2020-02-29 00:00:00 UTC",
        ),
        (
            ca.issue_with(&["localhost"], |params| params.not_before = date_time_ymd(2950, 1, 1)),
            SUBJECT,
            CertificateProblem::NotValidYet { not_before: day(357_938) },
            "is not valid before 2950-01-01 00:00:00 UTC",
        ),
        (
            ca.issue(&["a.example", "*.b.example"]),
            SUBJECT,
            CertificateProblem::WrongHost {
                expected: "localhost".into(),
                names: vec!["a.example".into(), "*.b.example".into()],
            },
            "is not for \"localhost\" but for \"a.example\", \"*.b.example\"",
        ),
        (
            other.issue(&["localhost"]),
            SUBJECT,
            CertificateProblem::UnknownIssuer { issuer: "CN=other".into() },
            "was issued by \"CN=other\", who is not trusted",
        ),
        (
            chain(other.issue(&["localhost"]), &[&other]),
            "CN=other",
            CertificateProblem::SelfSigned,
            "the certificate of \"CN=other\" is signed by itself, and not trusted",
        ),
        (
            intermediate.issue(&["localhost"]),
            SUBJECT,
            CertificateProblem::UnknownIssuer { issuer: "CN=between".into() },
            "",
        ),
        (
            chain(other.intermediate("second").issue(&["localhost"]), &[&intermediate]),
            SUBJECT,
            CertificateProblem::UnknownIssuer { issuer: "CN=second".into() },
            "",
        ),
        (self_signed(&["localhost"], |_| {}), SUBJECT, CertificateProblem::SelfSigned, ""),
        (
            self_signed(&["localhost"], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            SUBJECT,
            CertificateProblem::IsCa,
            "is a CA's",
        ),
        (
            ca.issue_with(&["localhost"], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            SUBJECT,
            CertificateProblem::Purpose,
            "is not meant for servers",
        ),
    ];
    for (identity, subject, problem, message) in cases {
        let (phase, error) = failure(&trusting(&ca), identity.server()).await;
        assert_eq!(error, TlsError::Certificate { subject: subject.into(), problem });
        assert_eq!(phase, Phase::Tls);
        assert!(error.to_string().contains(message), "{error}");
    }
    let good = chain(intermediate.issue(&["localhost"]), &[&intermediate]);
    let address = serve(good.server(), echo).await;
    assert!(open(&trusting(&ca), &localhost(address)).await.is_ok());
}

#[tokio::test]
async fn an_expired_certificate_above_the_servers_is_the_one_named() {
    let ca = Ca::new("good");
    let old = ca.intermediate_until("old", 2001);
    let mut leaf = old.issue(&["localhost"]);
    leaf.chain.push_str(&old.pem);
    let (_, error) = failure(&trusting(&ca), leaf.server()).await;
    let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(978_307_200);
    let problem = CertificateProblem::Expired { not_after };
    assert_eq!(error, TlsError::Certificate { subject: "CN=old".into(), problem });
}

#[tokio::test]
async fn the_given_cas_stand_beside_the_platforms_or_in_their_place() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    let both = one.pem.clone() + &two.pem;
    let beside = Tls::default().add_ca_pem(both.as_bytes()).unwrap();
    let instead = trusting(&one).add_ca_pem(two.pem.as_bytes()).unwrap();
    for ca in [&one, &two] {
        let address = serve(ca.issue(&["localhost"]).server(), echo).await;
        for tls in [&beside, &instead] {
            assert!(open(tls, &localhost(address)).await.is_ok());
        }
        let expired = ca.issue_with(&["localhost"], |params| params.not_after = date_time_ymd(2020, 2, 29));
        let (_, error) = failure(&beside, expired.server()).await;
        let TlsError::Certificate { problem, .. } = error else { panic!("{error}") };
        assert!(matches!(problem, CertificateProblem::Expired { .. }), "{problem}");
    }
    let (_, error) = failure(&beside, Ca::new("three").issue(&["localhost"]).server()).await;
    let problem = CertificateProblem::UnknownIssuer { issuer: "CN=three".into() };
    assert_eq!(error, TlsError::Certificate { subject: SUBJECT.into(), problem });
}

#[tokio::test]
async fn any_certificate_is_accepted_where_that_was_asked_for() {
    let careless = Tls::default().dangerously_accept_any_certificate();
    let bad = self_signed(&["other.example"], |params| params.not_after = date_time_ymd(2020, 2, 29));
    for version in [&TLS12, &TLS13] {
        let address = serve(bad.server_of(&[version], None), echo).await;
        let mut ws = open(&careless, &localhost(address)).await.unwrap();
        assert_eq!(answer(&mut ws, "hello").await, "hello");
        assert_eq!(info(&ws).certificates, bad.certificates());
    }
}

/// Shows a certificate with a key that is not its own.
#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesServerCert for Stolen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[tokio::test]
async fn a_server_without_its_certificates_key_is_never_accepted() {
    let (shown, own) = (self_signed(&["localhost"], |_| {}), self_signed(&["localhost"], |_| {}));
    let key = provider().key_provider.load_private_key(own.private_key()).unwrap();
    let stolen = Arc::new(Stolen(Arc::new(CertifiedKey::new(shown.certificates(), key))));
    for version in [&TLS12, &TLS13] {
        let config =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let config = config.with_no_client_auth().with_cert_resolver(Arc::clone(&stolen) as _);
        let (phase, error) = failure(&Tls::default().dangerously_accept_any_certificate(), config).await;
        let problem = CertificateProblem::BadSignature;
        assert_eq!((phase, error), (Phase::Tls, TlsError::Certificate { subject: String::new(), problem }));
    }
}

#[tokio::test]
async fn a_server_may_be_asked_for_by_another_name() {
    let ca = Ca::new("ca");
    let address = serve(ca.issue(&["other.example"]).server(), echo).await;
    let tls = trusting(&ca).server_name("other.example").unwrap();
    let mut ws = open(&tls, &format!("wss://{address}/")).await.unwrap();
    assert_eq!(answer(&mut ws, "sni").await, "other.example");
    let wrong = trusting(&ca).server_name("no name").unwrap_err();
    assert_eq!(wrong, TlsError::ServerName("no name".into()));
}

#[tokio::test]
async fn a_configuration_of_the_users_own_is_used_but_for_alpn() {
    let ca = Ca::new("ca");
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(ca.roots())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"something else".to_vec()];
    let tls = Tls::default().client_config(Arc::new(config));
    let address = serve(ca.issue(&["localhost"]).server(), echo).await;
    let ws = open(&tls, &localhost(address)).await.unwrap();
    assert_eq!(info(&ws).protocol_version, ProtocolVersion::TLSv1_2);
    assert_eq!(info(&ws).alpn.as_deref(), Some(&b"http/1.1"[..]));
    let (_, error) = failure(&tls, Ca::new("other").issue(&["localhost"]).server()).await;
    let problem = CertificateProblem::UnknownIssuer { issuer: String::new() };
    assert_eq!(error, TlsError::Certificate { subject: String::new(), problem });
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_it() {
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    let (identity, client) = (ca.issue(&["localhost"]), clients.issue(&["me.example"]));
    let stranger = ca.issue(&["me.example"]);
    let showing = |client: &Identity| {
        trusting(&ca).client_certificate_pem(client.chain.as_bytes(), client.key.as_bytes()).unwrap()
    };
    // RFC 8446 section 4.4.2.4: a server of TLS 1.3 looks at the client's certificate when the client is done already.
    for (version, phase) in [(&TLS12, Phase::Tls), (&TLS13, Phase::Upgrade)] {
        let server = || identity.server_of(&[version], Some(&clients));
        let address = serve(server(), echo).await;
        let mut ws = open(&showing(&client), &localhost(address)).await.unwrap();
        assert_eq!(answer(&mut ws, "hello").await, "hello");
        assert_eq!(failure(&trusting(&ca), server()).await, (phase, TlsError::ClientCertificateRequired));
        let refused = TlsError::ClientCertificateRefused(AlertDescription::UnknownCA);
        assert_eq!(failure(&showing(&stranger), server()).await, (phase, refused));
    }
    assert!(!format!("{:?}", showing(&client)).contains("KEY"));
}

/// Passes on what a client and a server say until the client has answered the server's hello, and breaks off then with an alert, as
/// OpenSSL does.
async fn break_off(listener: TcpListener, server: SocketAddr, alert: AlertDescription) {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut hello, mut answer) = ([0; 4096], [0; 4096]);
    let length = client.read(&mut hello).await.unwrap();
    server.write_all(&hello[..length]).await.unwrap();
    loop {
        tokio::select! {
            length = server.read(&mut answer) => client.write_all(&answer[..length.unwrap()]).await.unwrap(),
            _ = client.read(&mut hello) => break,
        }
    }
    client.write_all(&[21, 3, 3, 0, 2, 2, alert.into()]).await.unwrap();
}

#[tokio::test]
async fn a_handshake_failure_of_tls_1_2_after_a_wanted_certificate_is_for_that() {
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    for (wanted, error) in [
        (Some(&clients), TlsError::ClientCertificateRequired),
        (None, TlsError::Alert(AlertDescription::HandshakeFailure)),
    ] {
        let server = serve(ca.issue(&["localhost"]).server_of(&[&TLS12], wanted), echo).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = localhost(listener.local_addr().unwrap());
        let between = break_off(listener, server, AlertDescription::HandshakeFailure);
        let tls = trusting(&ca);
        let opened = tokio::join!(open(&tls, &url), between).0.unwrap_err();
        assert!(matches!(&opened.cause, OpenCause::Tls(found) if *found == error), "{opened:?}");
    }
}

#[tokio::test]
async fn a_server_that_wants_another_protocol_says_so() {
    let ca = Ca::new("ca");
    let mut server = ca.issue(&["localhost"]).server();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let alert = TlsError::Alert(AlertDescription::NoApplicationProtocol);
    assert_eq!(failure(&trusting(&ca), server).await, (Phase::Tls, alert));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_as_such() {
    for greeting in
        ["HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail.example ESMTP\r\n", "SSH-2.0-x\r\n", "\r\n\r\n\r\n"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(greeting.as_bytes()).await.unwrap();
            stream
        };
        let tls = Tls::default().dangerously_accept_any_certificate();
        let url = localhost(address);
        let (opened, _stream) = tokio::join!(open(&tls, &url), serving);
        let error = opened.unwrap_err();
        assert_eq!(error.phase, Phase::Tls);
        assert!(matches!(error.cause, OpenCause::Tls(TlsError::NotTls)), "{greeting:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_during_tls_is_lost_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = localhost(listener.local_addr().unwrap());
    let hanging_up = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
    };
    let tls = Tls::default().dangerously_accept_any_certificate();
    let error = tokio::join!(open(&tls, &url), hanging_up).0.unwrap_err();
    assert_eq!(error.phase, Phase::Tls);
    assert!(matches!(error.cause, OpenCause::Io(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_during_tls_runs_into_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = localhost(listener.local_addr().unwrap());
    let mut config = Config::default();
    config.tls_timeout = Some(Duration::from_secs(3));
    let tls = Tls::default().dangerously_accept_any_certificate();
    let client = Client::new().tls(tls).config(config);
    let Error::Open(error) = client.connect(&url).await.unwrap_err() else { panic!() };
    assert!(matches!(error.cause, OpenCause::Timeout), "{error:?}");
    assert_eq!((error.phase, error.elapsed.as_secs()), (Phase::Tls, 3));
    assert_eq!(error.timings.tls, Some(error.elapsed));
}

#[tokio::test]
async fn a_later_connection_resumes_the_session_of_an_earlier_one() {
    let ca = Ca::new("ca");
    for version in [&TLS12, &TLS13] {
        let identity = ca.issue(&["localhost"]);
        let address = serve(identity.server_of(&[version], None), echo).await;
        let (tls, url) = (trusting(&ca), localhost(address));
        for resumed in [false, true, true] {
            let mut ws = open(&tls.clone(), &url).await.unwrap();
            assert_eq!(answer(&mut ws, "hello").await, "hello");
            assert_eq!(info(&ws).resumed, resumed);
            assert_eq!(info(&ws).certificates, identity.certificates());
        }
        let ws = open(&tls.add_ca_pem(ca.pem.as_bytes()).unwrap(), &url).await.unwrap();
        assert!(!info(&ws).resumed, "a session is kept by those who trust the same");
    }
}

/// The key within PKCS#8 (RFC 5958 section 2), in PEM.
fn without_pkcs8(key: &Identity, label: &str) -> String {
    let der = key.private_key().secret_der().to_vec();
    // version, algorithm, key
    let mut rest = &der[if der[1] == 0x82 {
        4
    } else if der[1] == 0x81 {
        3
    } else {
        2
    }..];
    let mut key = Vec::new();
    for _ in 0..3 {
        let (start, length) = match rest[1] {
            0x82 => (4, usize::from(rest[2]) << 8 | usize::from(rest[3])),
            0x81 => (3, usize::from(rest[2])),
            short => (2, usize::from(short)),
        };
        key = rest[start..start + length].to_vec();
        rest = &rest[start + length..];
    }
    armour(&key, label)
}

fn armour(der: &[u8], label: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[tokio::test]
async fn private_keys_may_be_written_in_three_ways() {
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    let server = ca.issue(&["localhost"]).server_of(&[&TLS13], Some(&clients));
    let url = localhost(serve(server, echo).await);
    let elliptic = clients.issue(&["me.example"]);
    let rsa = clients.issue_for(&["me.example"], include_str!("data/rsa.pem"));
    let sec1 = without_pkcs8(&elliptic, "EC PRIVATE KEY");
    let pkcs1 = without_pkcs8(&rsa, "RSA PRIVATE KEY");
    for (identity, key) in [(&elliptic, &elliptic.key), (&elliptic, &sec1), (&rsa, &rsa.key), (&rsa, &pkcs1)]
    {
        let tls = trusting(&ca).client_certificate_pem(identity.chain.as_bytes(), key.as_bytes()).unwrap();
        let mut ws = open(&tls, &url).await.unwrap();
        assert_eq!(answer(&mut ws, "hello").await, "hello");
    }
}

#[test]
fn what_is_wrong_with_a_pem_text() {
    let ca = Ca::new("ca");
    let (good, other) = (ca.issue(&["a.example"]), ca.issue(&["b.example"]));
    let encrypted = armour(&[1, 2, 3], "ENCRYPTED PRIVATE KEY");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let broken = good.key.replace("-----END", "---- END");
    let unknown = armour(&[0x30, 0], "PRIVATE KEY");
    let cut = armour(&[0x30, 3, 1], "CERTIFICATE");
    let cases = [
        (&*good.chain, &*encrypted, "the private key is encrypted"),
        (&good.chain, old, "the private key is encrypted"),
        (&good.chain, &other.key, "the private key is not the certificate's"),
        (&good.chain, &good.chain, "there is no private key"),
        (&good.chain, "", "there is no private key"),
        (&good.chain, &broken, "there is no END line"),
        (&good.chain, &unknown, "the private key cannot be used"),
        (&good.key, &good.key, "there is no certificate"),
        ("", &good.key, "there is no certificate"),
        (&cut, &good.key, "a certificate cannot be used"),
    ];
    for (chain, key, message) in cases {
        let result = Tls::default().client_certificate_pem(chain.as_bytes(), key.as_bytes());
        let error = result.unwrap_err();
        assert!(
            matches!(error, TlsError::Pem(_)) && error.to_string().contains(message),
            "{message}: {error}"
        );
    }
    let none = TlsError::Pem(PemError::NoCertificate);
    assert_eq!(Tls::default().add_ca_pem(b"no PEM at all").unwrap_err(), none);
    assert_eq!(Tls::default().only_ca_pem(good.key.as_bytes()).unwrap_err(), none);
    let error = Tls::default().add_ca_pem(cut.as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::Pem(PemError::Certificate(_))), "{error}");
}

/// What the platform trusts is said by the environment, so this test runs itself with another one.
#[test]
fn the_platforms_store_is_used_and_its_absence_told() {
    const NAME: &str = "the_platforms_store_is_used_and_its_absence_told";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if let Ok(url) = std::env::var("SOCKEYE_TEST_URL") {
        let result = runtime.block_on(open(&Tls::default(), &url));
        println!("told: {}", result.map_or_else(|error| error.to_string(), |_| "opened".to_owned()));
        return;
    }
    let ca = Ca::new("ca");
    let address = runtime.block_on(serve(ca.issue(&["localhost"]).server(), echo));
    let directory = std::env::temp_dir().join(format!("sockeye-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (store, empty) = (directory.join("store.pem"), directory.join("empty.pem"));
    std::fs::write(&store, &ca.pem).unwrap();
    std::fs::write(&empty, "").unwrap();
    let told = |store: &std::path::Path| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env("SOCKEYE_TEST_URL", localhost(address))
            .env("SSL_CERT_FILE", store)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (with, without, missing) = (told(&store), told(&empty), told(&directory.join("missing.pem")));
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(with.contains("told: opened"), "{with}");
    for output in [without, missing] {
        assert!(output.contains("told: there are no CA certificates to trust on this system"), "{output}");
    }
}
