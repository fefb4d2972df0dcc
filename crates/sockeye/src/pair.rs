//! Two WebSockets joined in memory.

use std::sync::Arc;

use bytes::BytesMut;
use sockeye_proto::{Config, Role};

use crate::buffers::BLOCK;
use crate::handshake::Handshake;
use crate::socket::WebSocket;
use crate::transport::Transport;

/// A client and a server joined in memory, for tests: real frames go between them, but no socket and no handshake.
pub fn pair() -> (WebSocket, WebSocket) {
    pair_with(Config::default())
}

/// Like [`pair`], with limits and deadlines for both ends.
pub fn pair_with(config: Config) -> (WebSocket, WebSocket) {
    let config = Arc::new(config);
    let end = |stream, role| {
        let transport = Transport::new(stream);
        WebSocket::new(transport, role, config.clone(), BytesMut::new(), Handshake::none(), None, None)
    };
    let (client, server) = tokio::io::duplex(BLOCK);
    (end(client, Role::Client), end(server, Role::Server))
}
