//! What is offered, answered and agreed on (RFC 7692 sections 5 and 7.1).

use super::Deflate;
use crate::error::HandshakeError;
use crate::handshake::{Extension, Parameter, found};

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// What both ends agreed on: to be given to [`Connection::start_deflate`](crate::Connection::start_deflate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerMessageDeflate {
    /// Whether the server forgets each message before the next one (RFC 7692 section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// Whether the client forgets each message before the next one (RFC 7692 section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The window that the server compresses with, as a power of two (RFC 7692 section 7.1.2.1).
    pub server_max_window_bits: u8,
    /// The window that the client compresses with, as a power of two (RFC 7692 section 7.1.2.2).
    pub client_max_window_bits: u8,
}

/// The parameters of an offer or a response, each valid.
#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: ClientBits,
}

/// The parameter that may be there without a value.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ClientBits {
    #[default]
    Absent,
    Bare,
    Bits(u8),
}

impl ClientBits {
    /// Reads one more: `None` if its value is invalid or it is not the first.
    fn read(self, value: Option<&str>) -> Option<Self> {
        match (self, value) {
            (Self::Absent, None) => Some(Self::Bare),
            (Self::Absent, Some(value)) => window_bits(value).map(Self::Bits),
            _ => None,
        }
    }
}

impl Parameters {
    /// `None` if something is unknown, there twice, or has a value that it cannot have.
    fn read(extension: &Extension) -> Option<Self> {
        // RFC 7692 section 7.1: "A server MUST decline an extension negotiation offer for this extension if any of the following
        // conditions are met: The negotiation offer contains an extension parameter not defined for use in an offer. The negotiation
        // offer contains an extension parameter with an invalid value. The negotiation offer contains multiple extension parameters with
        // the same name." and the same for a client and a response, save that it fails the connection.
        let mut found = Self::default();
        for Parameter { name, value } in &extension.parameters {
            let is_new = match (name.as_str(), value.as_deref()) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                    !std::mem::replace(&mut found.server_no_context_takeover, true)
                }
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                    !std::mem::replace(&mut found.client_no_context_takeover, true)
                }
                (SERVER_MAX_WINDOW_BITS, Some(bits)) => {
                    found.server_max_window_bits.replace(window_bits(bits)?).is_none()
                }
                (CLIENT_MAX_WINDOW_BITS, value) => {
                    found.client_max_window_bits = found.client_max_window_bits.read(value)?;
                    true
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(found)
    }
}

/// RFC 7692 section 7.1.2.1: "This parameter has a decimal integer value without leading zeroes between 8 to 15, inclusive"
fn window_bits(value: &str) -> Option<u8> {
    matches!(value, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15").then(|| value.parse().ok())?
}

impl Deflate {
    /// The extension's name (RFC 7692 section 7).
    pub const NAME: &str = "permessage-deflate";

    /// The window bits of the server and the client, whatever was set.
    fn bits(&self) -> (u8, u8) {
        (self.server_max_window_bits.clamp(8, 15), self.client_max_window_bits.clamp(8, 15))
    }

    /// What a client offers (RFC 7692 section 7.1).
    pub fn offer(&self) -> Extension {
        let (server_bits, client_bits) = self.bits();
        extension(
            self.server_no_context_takeover == Some(true),
            self.client_no_context_takeover == Some(true),
            (server_bits < 15).then_some(server_bits),
            // RFC 7692 section 7.1.2.2: "If the "client_max_window_bits" extension parameter is present in an extension negotiation
            // offer but has no value, it indicates only that the client supports" it.
            if client_bits < 15 { ClientBits::Bits(client_bits) } else { ClientBits::Bare },
        )
    }

    /// What a server answers to the offers of a client: the response to the first that it can accept, and what is
    /// then agreed on; `None` if there is no such offer.
    pub fn answer(&self, offers: &[Extension]) -> Option<(Extension, PerMessageDeflate)> {
        // RFC 7692 section 5: "The order of elements is important as it specifies the client's preference."
        let offer = offers.iter().filter(|offer| offer.name == Deflate::NAME).find_map(Parameters::read)?;
        let (server_bits, client_bits) = self.bits();
        // RFC 7692 section 7.1.2.1: "A server accepts an extension negotiation offer with this parameter by including the
        // "server_max_window_bits" extension parameter in the extension negotiation response to send back to the client with the same
        // or smaller value as the offer." and "A server may include the "server_max_window_bits" extension parameter in an
        // extension negotiation response even if the extension negotiation offer being accepted by the response didn't include" it.
        let server_max_window_bits = server_bits.min(offer.server_max_window_bits.unwrap_or(15));
        // RFC 7692 section 7.1.2.2: "If a received extension negotiation offer doesn't have the "client_max_window_bits" extension
        // parameter, the corresponding extension negotiation response to the offer MUST NOT include the
        // "client_max_window_bits" extension parameter."
        let client_max_window_bits = match offer.client_max_window_bits {
            ClientBits::Absent => 15,
            ClientBits::Bare => client_bits,
            ClientBits::Bits(hint) => client_bits.min(hint),
        };
        let agreed = PerMessageDeflate {
            // RFC 7692 section 7.1.1.1: "A server accepts an extension negotiation offer that includes the
            // "server_no_context_takeover" extension parameter by including the "server_no_context_takeover" extension parameter in the
            // corresponding extension negotiation response" and may include it unasked.
            server_no_context_takeover: offer.server_no_context_takeover
                || self.server_no_context_takeover != Some(false),
            // RFC 7692 section 7.1.1.2: "A server may include the "client_no_context_takeover" extension parameter in an extension
            // negotiation response." Asked for or not; and if the window cannot be limited, nothing else keeps the memory in bounds.
            client_no_context_takeover: offer.client_no_context_takeover
                || self.client_no_context_takeover != Some(false)
                || client_max_window_bits > client_bits,
            server_max_window_bits,
            client_max_window_bits,
        };
        let is_asked = offer.server_max_window_bits.is_some();
        let response = extension(
            agreed.server_no_context_takeover,
            agreed.client_no_context_takeover,
            (is_asked || server_max_window_bits < 15).then_some(server_max_window_bits),
            if client_max_window_bits < 15 {
                ClientBits::Bits(client_max_window_bits)
            } else {
                ClientBits::Absent
            },
        );
        Some((response, agreed))
    }

    /// What is agreed on by a server's response to what [`offer`](Self::offer) gave; `None` if it declined.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::ExtensionParameters`] if the offer does not allow that response.
    pub fn accept_response(
        &self,
        response: &[Extension],
    ) -> Result<Option<PerMessageDeflate>, HandshakeError> {
        let mut responses = response.iter().filter(|extension| extension.name == Deflate::NAME);
        let Some(response) = responses.next() else { return Ok(None) };
        // RFC 7692 section 7.1: "A client MUST _Fail the WebSocket Connection_ if the peer server accepted an extension negotiation
        // offer for this extension with an extension negotiation response meeting any of the following conditions"
        let refused = || HandshakeError::ExtensionParameters(found(response.to_string().as_bytes()));
        if responses.next().is_some() {
            return Err(refused());
        }
        self.agree(response).map(Some).ok_or_else(refused)
    }

    /// What a response to our offer means; `None` if the offer does not allow it.
    fn agree(&self, response: &Extension) -> Option<PerMessageDeflate> {
        let read = Parameters::read(response)?;
        let (server_bits, client_bits) = self.bits();
        let asked = self.server_no_context_takeover == Some(true);
        if asked && !read.server_no_context_takeover
            || server_bits < 15 && read.server_max_window_bits.is_none_or(|bits| bits > server_bits)
        {
            return None;
        }
        let client_max_window_bits = match read.client_max_window_bits {
            ClientBits::Absent => client_bits,
            // RFC 7692 section 7.1.2.2: "with a value equal to or smaller than the received value", and there must be one.
            ClientBits::Bits(bits) if bits <= client_bits => bits,
            _ => return None,
        };
        Some(PerMessageDeflate {
            server_no_context_takeover: read.server_no_context_takeover,
            client_no_context_takeover: read.client_no_context_takeover
                || self.client_no_context_takeover == Some(true),
            server_max_window_bits: read.server_max_window_bits.unwrap_or(15),
            client_max_window_bits,
        })
    }
}

fn extension(
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: ClientBits,
) -> Extension {
    let flag = |name: &str, set: bool| set.then(|| Parameter { name: name.into(), value: None });
    let bits = |name: &str, bits: Option<u8>| Parameter {
        name: name.into(),
        value: bits.map(|bits| bits.to_string()),
    };
    let parameters = [
        flag(SERVER_NO_CONTEXT_TAKEOVER, server_no_context_takeover),
        flag(CLIENT_NO_CONTEXT_TAKEOVER, client_no_context_takeover),
        server_max_window_bits.map(|value| bits(SERVER_MAX_WINDOW_BITS, Some(value))),
        match client_max_window_bits {
            ClientBits::Absent => None,
            ClientBits::Bare => Some(bits(CLIENT_MAX_WINDOW_BITS, None)),
            ClientBits::Bits(value) => Some(bits(CLIENT_MAX_WINDOW_BITS, Some(value))),
        },
    ];
    Extension { name: Deflate::NAME.into(), parameters: parameters.into_iter().flatten().collect() }
}
