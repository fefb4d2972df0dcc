//! From a URL to an open connection: the phases in their order, and the redirects.

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use sockeye_proto::handshake::{self, ClientHandshake, Offer, Response};
use sockeye_proto::{Deflate, HandshakeError, Role, StatusCode, UrlError, WebSocketUrl, header};
use tokio::time::Instant;

use crate::client::{Client, basic};
use crate::dial;
use crate::error::Error;
use crate::handshake::{Handshake, read_more_until, write};
use crate::opening::{OpenCause, Opening, Phase, RedirectError};
use crate::proxy;
use crate::socket::WebSocket;
use crate::tls::{self, TlsInfo};
use crate::transport::Transport;

/// A byte stream to the server, and what is known of it.
struct Route {
    transport: Transport,
    /// What the server has sent already.
    input: BytesMut,
    peer_addr: Option<SocketAddr>,
    tls: Option<TlsInfo>,
}

impl Route {
    fn new(transport: Transport) -> Self {
        Self { transport, input: BytesMut::new(), peer_addr: None, tls: None }
    }
}

/// Opens a connection to a URL, following redirects.
pub(crate) async fn open_url(client: &Client, url: &str) -> Result<WebSocket, Error> {
    let (mut url, mut offer) = read(client, url)?;
    let mut opening = Opening::new(&client.config);
    let mut followed = 0;
    loop {
        let route = dial(client, &url, &mut opening).await?;
        let mut error = match upgrade(client, route, &url, &offer, &mut opening).await {
            Ok(ws) => return Ok(ws),
            Err(error) => error,
        };
        let Some(next) = redirect(&url, client.redirects, followed, &mut error) else { return Err(error) };
        if !next.is_same_origin(&url) {
            for field in [header::AUTHORIZATION, header::COOKIE, header::HOST] {
                offer.headers.remove(field);
            }
        }
        (url, followed) = (next, followed + 1);
    }
}

/// Opens a connection over a byte stream.
pub(crate) async fn open_over(client: &Client, transport: Transport, url: &str) -> Result<WebSocket, Error> {
    let (url, offer) = read(client, url)?;
    let route = Route::new(transport);
    upgrade(client, route, &url, &offer, &mut Opening::new(&client.config)).await
}

fn read(client: &Client, url: &str) -> Result<(WebSocketUrl, Offer), UrlError> {
    let (url, user_info) = WebSocketUrl::with_user_info(url)?;
    let mut offer = client.offer.clone();
    offer.extensions.extend(client.config.deflate.as_ref().map(Deflate::offer));
    if let Some(info) = user_info {
        offer.headers.insert(header::AUTHORIZATION, basic(&info.user, &info.password));
    }
    Ok((url, offer))
}

/// Where the server redirects to, if it does and that is to be followed; otherwise `error` says why not.
fn redirect(url: &WebSocketUrl, most: u8, followed: u8, error: &mut Error) -> Option<WebSocketUrl> {
    let Error::Open(open) = error else { return None };
    let OpenCause::Handshake(HandshakeError::Refused(refusal)) = &mut open.cause else { return None };
    let is_redirect = matches!(
        refusal.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if most == 0 || !is_redirect {
        return None;
    }
    let next = match refusal.headers.get(header::LOCATION).map(|location| location.to_str()) {
        _ if followed == most => Err(RedirectError::TooMany(most)),
        None | Some(Err(_)) => Err(RedirectError::NoLocation),
        Some(Ok(location)) => match url.join(location) {
            Err(source) => Err(RedirectError::Url { location: location.to_owned(), source }),
            Ok(next) if url.is_secure() && !next.is_secure() => {
                Err(RedirectError::NotSecure(next.as_str().to_owned()))
            }
            Ok(next) => Ok(next),
        },
    };
    match next {
        Ok(next) => Some(next),
        Err(why) => {
            let refusal = refusal.clone();
            open.cause = OpenCause::Redirect { why, refusal };
            None
        }
    }
}

/// The phases before the opening handshake.
async fn dial(client: &Client, url: &WebSocketUrl, opening: &mut Opening) -> Result<Route, Error> {
    let config = &client.config;
    if let Some(path) = &client.unix_socket {
        let connecting = dial::connect_unix(path);
        let transport = opening.phase(Phase::Connect, config.connect_timeout, connecting).await?;
        return secure(client, Route::new(transport), url, opening).await;
    }
    let proxy = client.proxies.choose(url).map_err(|error| opening.fail(Phase::Proxy, error))?;
    let (host, port) = proxy.as_ref().map_or((url.host(), url.port()), |proxy| (proxy.host(), proxy.port()));
    let addresses = resolve(client, host, port, opening).await?;
    let asked_for = match &proxy {
        Some(proxy) if proxy.wants_address() => resolve(client, url.host(), url.port(), opening).await?,
        _ => Vec::new(),
    };
    let connecting = dial::connect(addresses, &client.tcp, host, port);
    let (transport, address) = opening.phase(Phase::Connect, config.connect_timeout, connecting).await?;
    let mut route = Route { peer_addr: Some(address), ..Route::new(transport) };
    if let Some(proxy) = &proxy {
        let deadline = opening.deadline(config.proxy_timeout);
        let asking = proxy::open_tunnel(route.transport, proxy, url, asked_for.first(), config, deadline);
        let (transport, input) = opening.phase(Phase::Proxy, config.proxy_timeout, asking).await?;
        route = Route { transport, input, ..route };
    }
    secure(client, route, url, opening).await
}

/// The addresses of a host, at least one.
async fn resolve(
    client: &Client,
    host: &str,
    port: u16,
    opening: &mut Opening,
) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let resolving = dial::resolve(&*client.resolver, host, port);
    opening.phase(Phase::Resolve, client.config.resolve_timeout, resolving).await
}

/// TLS with the server, if the URL wants it.
async fn secure(
    client: &Client,
    mut route: Route,
    url: &WebSocketUrl,
    opening: &mut Opening,
) -> Result<Route, Error> {
    if url.is_secure() {
        let securing = tls::connect(&client.tls, url.host(), route.transport);
        let (transport, info) = opening.phase(Phase::Tls, client.config.tls_timeout, securing).await?;
        route = Route { transport, tls: Some(info), ..route };
    }
    Ok(route)
}

/// The opening handshake.
async fn upgrade(
    client: &Client,
    mut route: Route,
    url: &WebSocketUrl,
    offer: &Offer,
    opening: &mut Opening,
) -> Result<WebSocket, Error> {
    let config = &client.config;
    let deadline = opening.deadline(config.upgrade_timeout);
    let asking = async {
        let response = ask(client, &mut route.transport, url, offer, &mut route.input, deadline).await?;
        let deflate = match &config.deflate {
            Some(deflate) => deflate.accept_response(&response.extensions)?,
            None => None,
        };
        Ok((response, deflate))
    };
    let (response, deflate) = opening.phase(Phase::Upgrade, config.upgrade_timeout, asking).await?;
    let handshake = Handshake {
        resource_name: url.resource_name().to_owned(),
        headers: response.headers,
        subprotocol: response.subprotocol,
        extensions: response.extensions,
        timings: opening.timings(),
        peer_addr: route.peer_addr,
        tls: route.tls,
    };
    Ok(WebSocket::new(route.transport, Role::Client, config.clone(), route.input, handshake, deflate, None))
}

/// Writes the request and reads the response. At the deadline, or when the stream fails, a refusal is given with what has come of
/// its body.
async fn ask(
    client: &Client,
    transport: &mut Transport,
    url: &WebSocketUrl,
    offer: &Offer,
    input: &mut BytesMut,
    deadline: Option<Instant>,
) -> Result<Response, OpenCause> {
    let (key, mut request) = (handshake::random_key(), BytesMut::new());
    let mut handshake = ClientHandshake::new(url, offer, key, &client.config, now(), &mut request)?;
    write(transport, &request).await?;
    loop {
        if let Some(response) = handshake.receive(input, now())? {
            return Ok(response);
        }
        let failed = match read_more_until(transport, input, deadline).await {
            Some(Ok(true)) => continue,
            Some(Ok(false)) => None,
            Some(Err(error)) => Some(error.into()),
            None => Some(OpenCause::Timeout),
        };
        return Err(match (handshake.receive_end(input), failed) {
            (HandshakeError::Truncated, Some(cause)) => cause,
            (HandshakeError::Refused(mut refusal), failed) => {
                refusal.truncated |= failed.is_some();
                HandshakeError::Refused(refusal).into()
            }
            (error, _) => error.into(),
        });
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
