//! `sockeye connect`: who it is, and by which way it connects. Spelled as curl does.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use sockeye::{Client, Config, Family, HeaderName, HeaderValue, Overrides, Proxies, Tcp, Tls, header};

use super::values::{
    File, Phase, ProxyOrNone, file, header, header_value, phase_timeout, proxy, resolve, seconds,
};

/// Most options are in `--help` only, so that `-h` fits a screen.
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "help texts are no Markdown")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Way {
    /// Says who it is, by Basic authentication
    #[arg(short, long, value_name = "USER:PASSWORD", hide_short_help = true, help_heading = "Who it is")]
    user: Option<String>,
    /// Says who it is, by a bearer token
    #[arg(
        long,
        value_name = "TOKEN",
        hide_short_help = true,
        help_heading = "Who it is",
        conflicts_with = "user"
    )]
    oauth2_bearer: Option<String>,
    /// Sends cookies, as 'a=b; c=d', repeatable
    #[arg(short = 'b', long, value_name = "DATA", value_parser = header_value, hide_short_help = true, help_heading = "Who it is")]
    cookie: Vec<HeaderValue>,
    /// Follows redirects, but not from wss to ws
    #[arg(short = 'L', long, hide_short_help = true, help_heading = "Redirects")]
    location: bool,
    /// How many of them at most
    #[arg(
        long,
        value_name = "N",
        default_value = "10",
        requires = "location",
        hide_short_help = true,
        help_heading = "Redirects"
    )]
    max_redirs: u8,

    /// Connects through a proxy
    ///
    /// http://, https://, socks5:// or socks5h://, with user:password@ if need be; '' for none. If not given, http_proxy, https_proxy,
    /// all_proxy and no_proxy in the environment say.
    #[arg(short = 'x', long, value_name = "URL", value_parser = proxy)]
    proxy: Option<ProxyOrNone>,
    /// Who it is to the proxy
    #[arg(
        short = 'U',
        long,
        value_name = "USER:PASSWORD",
        requires = "proxy",
        hide_short_help = true,
        help_heading = "Proxy"
    )]
    proxy_user: Option<String>,
    /// Adds a header field for an HTTP proxy
    #[arg(long, value_name = "FIELD", value_parser = header, requires = "proxy", hide_short_help = true, help_heading = "Proxy")]
    proxy_header: Vec<(HeaderName, HeaderValue)>,
    /// Hosts to connect to without it: a.example,10.0.0.0/8 or *
    #[arg(long, value_name = "HOSTS", hide_short_help = true, help_heading = "Proxy")]
    noproxy: Option<String>,
    /// Trusts the CAs in FILE, for an https:// proxy
    #[arg(long, value_name = "FILE", value_parser = file, requires = "proxy", hide_short_help = true, help_heading = "Proxy")]
    proxy_cacert: Option<File>,
    /// Trusts any certificate of the proxy
    #[arg(long, requires = "proxy", hide_short_help = true, help_heading = "Proxy")]
    proxy_insecure: bool,

    /// Trusts the CAs in FILE (PEM), and no others
    #[arg(long, value_name = "FILE", value_parser = file, hide_short_help = true, help_heading = "TLS")]
    cacert: Option<File>,
    /// Shows the certificate in FILE (PEM) to a server that asks
    #[arg(short = 'E', long, value_name = "FILE", value_parser = file, hide_short_help = true, help_heading = "TLS")]
    cert: Option<File>,
    /// Its private key, if that is in another file
    #[arg(long, value_name = "FILE", value_parser = file, requires = "cert", hide_short_help = true, help_heading = "TLS")]
    key: Option<File>,
    /// Trusts any certificate of a wss:// server
    #[arg(short = 'k', long)]
    insecure: bool,

    /// Connects to a unix socket instead of the URL's host
    #[arg(long, value_name = "PATH", hide_short_help = true, help_heading = "Network")]
    unix_socket: Option<PathBuf>,
    /// Takes these for the host's addresses: HOST:PORT:ADDRESS[,ADDRESS], repeatable
    #[arg(long, value_name = "ENTRY", value_parser = resolve, hide_short_help = true, help_heading = "Network")]
    resolve: Vec<(String, u16, Vec<SocketAddr>)>,
    /// Connects to IPv4 addresses only
    #[arg(short = '4', long, conflicts_with = "ipv6", hide_short_help = true, help_heading = "Network")]
    ipv4: bool,
    /// Connects to IPv6 addresses only
    #[arg(short = '6', long, hide_short_help = true, help_heading = "Network")]
    ipv6: bool,
    /// Connects from this address, or through this network interface
    #[arg(long, value_name = "NAME", hide_short_help = true, help_heading = "Network")]
    interface: Option<String>,
    /// Tries an address for so long before the next one beside it
    #[arg(long, value_name = "MS", default_value = "250", hide_short_help = true, help_heading = "Network")]
    happy_eyeballs_timeout_ms: u64,
    /// Has the system probe the connection after such a silence
    #[arg(long, value_name = "SECS", value_parser = seconds, hide_short_help = true, help_heading = "Network")]
    keepalive_time: Option<Duration>,
    /// Lets the system hold back small messages (Nagle's algorithm)
    #[arg(long, hide_short_help = true, help_heading = "Network")]
    no_tcp_nodelay: bool,

    /// Limits a phase of the opening: resolve, connect, proxy, tls or upgrade; repeatable
    #[arg(long, value_name = "PHASE=SECS", value_parser = phase_timeout, hide_short_help = true, help_heading = "Deadlines")]
    phase_timeout: Vec<(Phase, Duration)>,
}

impl Way {
    /// Sets the deadlines.
    pub(super) fn limit(&self, config: &mut Config) {
        for (phase, limit) in &self.phase_timeout {
            let place = match phase {
                Phase::Resolve => &mut config.resolve_timeout,
                Phase::Connect => &mut config.connect_timeout,
                Phase::Proxy => &mut config.proxy_timeout,
                Phase::Tls => &mut config.tls_timeout,
                Phase::Upgrade => &mut config.upgrade_timeout,
            };
            *place = Some(*limit);
        }
    }

    /// Tells the client all of it. What can be wrong is only what the files hold, and the token.
    pub(super) fn set(self, mut client: Client) -> Result<Client, String> {
        client = client.tcp(self.tcp()).tls(self.tls()?).proxies(self.proxies()?);
        if let Some(user) = &self.user {
            let (user, password) = parts(user);
            client = client.basic_auth(user, password);
        }
        if let Some(token) = &self.oauth2_bearer {
            client = client.bearer_auth(token).map_err(|_| "the bearer token holds a control character")?;
        }
        // RFC 6265 section 5.4: "the user agent MUST NOT attach more than one Cookie header field."
        let cookies: Vec<_> = self.cookie.iter().map(HeaderValue::as_bytes).collect();
        if let Some(cookies) =
            HeaderValue::from_bytes(&cookies.join(&b"; "[..])).ok().filter(|all| !all.is_empty())
        {
            client = client.header(header::COOKIE, cookies);
        }
        if self.location {
            client = client.redirects(self.max_redirs);
        }
        if let Some(path) = self.unix_socket {
            client = client.unix_socket(path);
        }
        if !self.resolve.is_empty() {
            let add =
                |all: Overrides, (host, port, addresses): (String, _, _)| all.set(&host, port, addresses);
            client = client.resolver(self.resolve.into_iter().fold(Overrides::default(), add));
        }
        Ok(client)
    }

    fn tcp(&self) -> Tcp {
        let mut tcp = Tcp::default();
        tcp.attempt_delay = Duration::from_millis(self.happy_eyeballs_timeout_ms);
        tcp.keepalive = self.keepalive_time;
        tcp.nodelay = !self.no_tcp_nodelay;
        tcp.family = match (self.ipv4, self.ipv6) {
            (true, _) => Family::Ipv4,
            (_, true) => Family::Ipv6,
            _ => Family::Any,
        };
        match self.interface.as_deref().map(|name| name.parse::<IpAddr>().map_err(|_| name)) {
            None => {}
            Some(Ok(address)) => tcp.bind = Some(address),
            Some(Err(name)) => tcp.interface = Some(name.to_owned()),
        }
        tcp
    }

    fn tls(&self) -> Result<Tls, String> {
        let mut tls = trust("--cacert", self.cacert.as_ref(), self.insecure)?;
        if let Some(chain) = &self.cert {
            let key = self.key.as_ref().unwrap_or(chain);
            tls = tls
                .client_certificate_pem(&chain.content, &key.content)
                .map_err(|why| format!("--cert {}: {why}", chain.path))?;
        }
        Ok(tls)
    }

    fn proxies(&self) -> Result<Proxies, String> {
        let proxies = match &self.proxy {
            None => Proxies::default(),
            Some(ProxyOrNone(None)) => Proxies::none(),
            Some(ProxyOrNone(Some(proxy))) => {
                let tls = trust("--proxy-cacert", self.proxy_cacert.as_ref(), self.proxy_insecure)?;
                let mut proxy = proxy.clone().tls(tls);
                if let Some(user) = &self.proxy_user {
                    let (user, password) = parts(user);
                    proxy = proxy.basic_auth(user, password);
                }
                for (name, value) in self.proxy_header.clone() {
                    proxy = proxy.header(name, value);
                }
                Proxies::fixed(proxy)
            }
        };
        Ok(proxies.except(self.noproxy.as_deref().unwrap_or_default()))
    }
}

fn trust(option: &str, cas: Option<&File>, any: bool) -> Result<Tls, String> {
    let mut tls = Tls::default();
    if let Some(File { path, content }) = cas {
        tls = tls.only_ca_pem(content).map_err(|why| format!("{option} {path}: {why}"))?;
    }
    Ok(if any { tls.dangerously_accept_any_certificate() } else { tls })
}

/// A user name and a password, which is empty if there is none.
fn parts(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, ""))
}
