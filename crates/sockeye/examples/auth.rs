//! Who may come in, decided before a WebSocket is opened: by a bearer token, by the cookie of a session, or by a ticket in the URL, and with a few connections for each user.
//!
//! ```sh
//! cargo run -p sockeye --example auth
//! ```
//!
//! A script in a browser cannot set header fields of a WebSocket. It has the cookie of its page, for pages of this origin and of those that the server lets in;
//! or it asks an endpoint of yours for a ticket that is good once and for some seconds, since URLs end up in logs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye::{Error, HeaderMap, HeaderValue, Incoming, Server, StatusCode, header};

/// How many connections a user may have.
const MOST: usize = 2;

/// How long the decision may take: the handler's own time is in no deadline of `Config`.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Who is known here. In place of these maps there would be a database, asked likewise.
pub(crate) struct Users {
    tokens: HashMap<String, String>,
    sessions: HashMap<String, String>,
    tickets: Mutex<HashMap<String, String>>,
    open: Mutex<HashMap<String, usize>>,
}

impl Users {
    pub(crate) fn new() -> Self {
        let of_ada = |secret: &str| HashMap::from([(secret.to_owned(), "ada".to_owned())]);
        let tickets = Mutex::new(of_ada("once"));
        Self { tokens: of_ada("token"), sessions: of_ada("cookie"), tickets, open: Mutex::default() }
    }

    /// Who asks, if it is anybody.
    async fn who(&self, incoming: &Incoming) -> Option<String> {
        let request = incoming.request();
        // Where a database would be waited for.
        tokio::task::yield_now().await;
        if let Some(token) = bearer_token(request.headers()) {
            return self.tokens.get(token).cloned();
        }
        if let Some((_, session)) = request.cookies().find(|(name, _)| *name == "session") {
            return self.sessions.get(session).cloned();
        }
        let ticket = request.query()?.split('&').find_map(|pair| pair.strip_prefix("ticket="))?;
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket)
    }

    /// A place for one connection more of this user, until it is dropped.
    fn enter(self: &Arc<Self>, user: &str) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user.to_owned()).or_default();
        if *count == MOST {
            return None;
        }
        *count += 1;
        Some(Place { users: self.clone(), user: user.to_owned() })
    }
}

struct Place {
    users: Arc<Users>,
    user: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.users.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Lets in who is known, and echoes.
pub(crate) async fn handle(incoming: Incoming, users: Arc<Users>) -> Result<(), Error> {
    let user = match tokio::time::timeout(TIMEOUT, users.who(&incoming)).await {
        Ok(Some(user)) => user,
        Ok(None) => {
            let headers = HeaderMap::from_iter([
                (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"echo\"")),
                (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            ]);
            let body = br#"{"error": "who are you?"}"#;
            return incoming.reject_with(StatusCode::UNAUTHORIZED, &headers, body).await;
        }
        Err(_) => return incoming.reject(StatusCode::SERVICE_UNAVAILABLE, "Try again later.\n").await,
    };
    let Some(_place) = users.enter(&user) else {
        return incoming.reject(StatusCode::TOO_MANY_REQUESTS, "You are here already.\n").await;
    };
    let mut ws = incoming.accept().await?;
    ws.send(format!("Hello, {user}")).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let users = Arc::new(Users::new());
    let server = Server::bind("127.0.0.1:0").await?;
    println!("listening; once it works with ws://{}/?ticket=once", server.local_addr()?);
    server.run(move |incoming| handle(incoming, users.clone())).await
}
