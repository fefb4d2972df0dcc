//! What is offered, answered and agreed on (RFC 7692 sections 5 and 7.1).

use sockeye_proto::handshake::{Extension, parse_extensions};
use sockeye_proto::{Deflate, HandshakeError, HeaderMap, HeaderValue, PerMessageDeflate, header};

/// The extensions in header fields of those values.
fn extensions(values: &[&str]) -> Vec<Extension> {
    let field = |value: &&str| (header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(value).unwrap());
    parse_extensions(&values.iter().map(field).collect::<HeaderMap>()).unwrap()
}

fn settings(change: impl FnOnce(&mut Deflate)) -> Deflate {
    let mut deflate = Deflate::default();
    change(&mut deflate);
    deflate
}

/// Settings under which contexts are taken over.
fn takeover(server_bits: u8, client_bits: u8) -> Deflate {
    settings(|deflate| {
        deflate.server_no_context_takeover = Some(false);
        deflate.client_no_context_takeover = Some(false);
        deflate.server_max_window_bits = server_bits;
        deflate.client_max_window_bits = client_bits;
    })
}

/// As `sn cn 15 15`.
fn shown(agreed: PerMessageDeflate) -> String {
    let flag = |is_set, name| if is_set { name } else { "-" };
    format!(
        "{} {} {} {}",
        flag(agreed.server_no_context_takeover, "sn"),
        flag(agreed.client_no_context_takeover, "cn"),
        agreed.server_max_window_bits,
        agreed.client_max_window_bits
    )
}

#[test]
fn what_a_client_offers() {
    for (name, settings, expected) in [
        ("the default", Deflate::default(), "permessage-deflate; client_max_window_bits"),
        ("with takeover", takeover(15, 15), "permessage-deflate; client_max_window_bits"),
        (
            "small windows",
            takeover(9, 10),
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
        ),
        (
            "without takeover",
            settings(|deflate| {
                deflate.server_no_context_takeover = Some(true);
                deflate.client_no_context_takeover = Some(true);
            }),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        ),
        (
            "windows that do not exist",
            takeover(0, 200),
            "permessage-deflate; server_max_window_bits=8; client_max_window_bits",
        ),
    ] {
        assert_eq!(settings.offer().to_string(), expected, "{name}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_a_server_answers() {
    let default = &Deflate::default();
    let large = &takeover(15, 15);
    let small = &takeover(10, 11);
    let none = "";
    for (name, settings, offers, response, agreed) in [
        ("nothing offered", default, &[][..], none, ""),
        ("another extension", default, &["x-other; server_max_window_bits=9"], none, ""),
        (
            "the default forgets",
            default,
            &["permessage-deflate"],
            "; server_no_context_takeover; client_no_context_takeover",
            "sn cn 15 15",
        ),
        (
            "a browser's offer",
            default,
            &["permessage-deflate; client_max_window_bits"],
            "; server_no_context_takeover; client_no_context_takeover",
            "sn cn 15 15",
        ),
        ("takeover", large, &["permessage-deflate; client_max_window_bits"], "", "- - 15 15"),
        (
            "the client asks the server to forget",
            large,
            &["permessage-deflate; server_no_context_takeover"],
            "; server_no_context_takeover",
            "sn - 15 15",
        ),
        (
            "the client says that it will forget",
            large,
            &["permessage-deflate; client_no_context_takeover"],
            "; client_no_context_takeover",
            "- cn 15 15",
        ),
        (
            "a smaller window is asked for",
            large,
            &["permessage-deflate; server_max_window_bits=9"],
            "; server_max_window_bits=9",
            "- - 9 15",
        ),
        (
            "the smallest window",
            large,
            &["permessage-deflate; server_max_window_bits=8; client_max_window_bits=8"],
            "; server_max_window_bits=8; client_max_window_bits=8",
            "- - 8 8",
        ),
        (
            "the largest window is asked for",
            large,
            &["permessage-deflate; server_max_window_bits=15"],
            "; server_max_window_bits=15",
            "- - 15 15",
        ),
        (
            "a hint at a smaller window of the client's",
            large,
            &["permessage-deflate; client_max_window_bits=12"],
            "; client_max_window_bits=12",
            "- - 15 12",
        ),
        (
            "windows of ours",
            small,
            &["permessage-deflate; client_max_window_bits"],
            "; server_max_window_bits=10; client_max_window_bits=11",
            "- - 10 11",
        ),
        (
            "windows of ours, larger than those asked for",
            small,
            &["permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"],
            "; server_max_window_bits=9; client_max_window_bits=10",
            "- - 9 10",
        ),
        (
            "windows of ours, smaller than those asked for",
            small,
            &["permessage-deflate; server_max_window_bits=15; client_max_window_bits=15"],
            "; server_max_window_bits=10; client_max_window_bits=11",
            "- - 10 11",
        ),
        (
            "a client whose window cannot be limited has to forget",
            small,
            &["permessage-deflate"],
            "; client_no_context_takeover; server_max_window_bits=10",
            "- cn 10 15",
        ),
        (
            "the first that can be accepted, in one field",
            large,
            &[
                "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=10, permessage-deflate",
            ],
            "; server_max_window_bits=10",
            "- - 10 15",
        ),
        (
            "the first that can be accepted, in several fields",
            large,
            &[
                "x-other, permessage-deflate; unknown",
                "permessage-deflate; client_max_window_bits=9",
                "permessage-deflate",
            ],
            "; client_max_window_bits=9",
            "- - 15 9",
        ),
        (
            "quoted values",
            large,
            &["permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits=\"1\\2\""],
            "; server_max_window_bits=10; client_max_window_bits=12",
            "- - 10 12",
        ),
    ] {
        let offers = extensions(offers);
        let answer = settings.answer(&offers);
        let found = answer.map(|(response, agreed)| (response.to_string(), shown(agreed)));
        let expected =
            (!agreed.is_empty()).then(|| (format!("permessage-deflate{response}"), agreed.to_owned()));
        assert_eq!(found, expected, "{name}");
    }
}

/// RFC 7692 section 7.1: neither in an offer nor in a response.
const INVALID: &[&str] = &[
    "unknown",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_no_context_takeover; server_no_context_takeover",
    "client_no_context_takeover; client_no_context_takeover",
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=08",
    "server_max_window_bits=+9",
    "server_max_window_bits=1e1",
    "server_max_window_bits=x",
    "server_max_window_bits=4294967306",
    "server_max_window_bits=10; server_max_window_bits=10",
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=010",
    "client_max_window_bits=\"1\\6\"",
    "client_max_window_bits=10; client_max_window_bits=10",
    "client_max_window_bits; client_max_window_bits=10",
    "Server_No_Context_Takeover",
];

#[test]
fn an_invalid_offer_is_declined_and_the_next_one_taken() {
    for invalid in INVALID {
        let bad = format!("permessage-deflate; {invalid}");
        assert_eq!(takeover(15, 15).answer(&extensions(&[&bad])), None, "{invalid}");
        let then_good = format!("{bad}, permessage-deflate; server_max_window_bits=12");
        let (response, _) = takeover(15, 15).answer(&extensions(&[&then_good])).unwrap();
        assert_eq!(response.to_string(), "permessage-deflate; server_max_window_bits=12", "{invalid}");
    }
}

#[test]
fn what_a_client_accepts() {
    let any = &takeover(15, 15);
    let small = &takeover(10, 11);
    let asking = &settings(|deflate| {
        deflate.server_no_context_takeover = Some(true);
        deflate.client_no_context_takeover = Some(true);
    });
    for (name, settings, response, expected) in [
        ("declined", any, "x-other", None),
        ("plain", any, "permessage-deflate", Some("- - 15 15")),
        (
            "everything at once",
            any,
            "x-other, permessage-deflate; client_max_window_bits=8; server_max_window_bits=9; client_no_context_takeover; server_no_context_takeover",
            Some("sn cn 9 8"),
        ),
        ("a quoted value", any, "permessage-deflate; server_max_window_bits=\"9\"", Some("- - 9 15")),
        (
            "our own window is smaller",
            small,
            "permessage-deflate; server_max_window_bits=10",
            Some("- - 10 11"),
        ),
        (
            "smaller still",
            small,
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8",
            Some("- - 9 8"),
        ),
        (
            "we forget even if the server does not say so",
            asking,
            "permessage-deflate; server_no_context_takeover",
            Some("sn cn 15 15"),
        ),
    ] {
        let agreed = settings.accept_response(&extensions(&[response])).unwrap();
        assert_eq!(agreed.map(shown).as_deref(), expected, "{name}");
    }
    let refused = [
        ("accepted twice", any, "permessage-deflate, permessage-deflate"),
        ("a window without a value", any, "permessage-deflate; client_max_window_bits"),
        ("the server does not forget, as it was asked to", asking, "permessage-deflate"),
        ("the server's window is not limited", small, "permessage-deflate; client_max_window_bits=10"),
        ("the server's window is too large", small, "permessage-deflate; server_max_window_bits=11"),
        (
            "our window is larger than we said",
            small,
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=12",
        ),
    ];
    let invalid = INVALID.iter().map(|invalid| ("invalid", any, format!("permessage-deflate; {invalid}")));
    let refused = refused.into_iter().map(|(name, settings, response)| (name, settings, response.to_owned()));
    for (name, settings, response) in refused.chain(invalid) {
        let error = settings.accept_response(&extensions(&[&response])).unwrap_err();
        assert!(matches!(error, HandshakeError::ExtensionParameters(_)), "{name}: {response}: {error}");
        assert_eq!(error.status(), None);
    }
}

#[test]
fn what_one_end_offers_the_other_answers_and_the_first_accepts() {
    let choices = [None, Some(true), Some(false)];
    for client_bits in 8..=15 {
        for server_bits in 8..=15 {
            for server_no in choices {
                for client_no in choices {
                    let change = |server_bits, client_bits| {
                        settings(|deflate| {
                            deflate.server_no_context_takeover = server_no;
                            deflate.client_no_context_takeover = client_no;
                            deflate.server_max_window_bits = server_bits;
                            deflate.client_max_window_bits = client_bits;
                        })
                    };
                    let (client, server) = (change(client_bits, 15), change(server_bits, client_bits));
                    let (response, at_server) = server.answer(&[client.offer()]).unwrap();
                    let at_client = client.accept_response(&[response]).unwrap().unwrap();
                    assert_eq!(at_client, at_server);
                }
            }
        }
    }
}
