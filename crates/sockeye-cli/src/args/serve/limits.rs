//! Limits, deadlines and the end of `sockeye serve`.

use std::time::Duration;

use sockeye::{CloseCode, Settings};

use crate::args::values::{bytes, drain_code, seconds};

/// All are in `--help` only, so that `-h` fits a screen.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
#[expect(clippy::struct_field_names, reason = "they are the names of the options")]
pub(super) struct Limits {
    /// Refuses connections beyond so many at once from one address
    ///
    /// Of IPv6 from one network of 64 bits.
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_connections_per_addr: Option<usize>,
    /// Refuses connections while so many are being opened
    ///
    /// When all clients come back at once, some get through then, and the others try
    /// again.
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_opening: Option<usize>,
    /// The longest message, after inflating
    ///
    /// A longer one closes its connection with 1009.
    #[arg(long, value_name = "BYTES", default_value = "16777216", value_parser = bytes, hide_short_help = true)]
    max_message_size: usize,
    /// The longest head of a request
    #[arg(long, value_name = "BYTES", default_value = "16384", value_parser = bytes, hide_short_help = true)]
    max_header_size: usize,
}

/// All are in `--help` only, so that `-h` fits a screen.
#[derive(clap::Args)]
#[command(next_help_heading = "Deadlines")]
pub(super) struct Deadlines {
    /// How long a connection may take to become a WebSocket, TLS included; 0: no limit
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds, hide_short_help = true)]
    open_timeout: Duration,
    /// How long a client may take to answer a Close; 0: no limit
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = seconds, hide_short_help = true)]
    close_timeout: Duration,
    /// Pings a client that was silent for so long; 0: never
    #[arg(long, value_name = "SECS", default_value = "20", value_parser = seconds, hide_short_help = true)]
    ping_interval: Duration,
    /// Gives a client up that is silent for so long after a ping; 0: never
    #[arg(long, value_name = "SECS", default_value = "20", value_parser = seconds, hide_short_help = true)]
    ping_timeout: Duration,
    /// In the end closes connections over that time
    ///
    /// In equal steps, so that clients do not all come back at once.
    #[arg(long, value_name = "SECS", default_value = "0", value_parser = seconds, hide_short_help = true)]
    drain: Duration,
    /// In the end cuts off after that time who is still there
    ///
    /// If not given, after --drain, --close-timeout and a second; without a
    /// --close-timeout never.
    #[arg(long, value_name = "SECS", value_parser = seconds, hide_short_help = true)]
    drain_deadline: Option<Duration>,
    /// In the end closes with 1001 (going away) or 1012 (service restart)
    #[arg(long, value_name = "CODE", default_value = "1001", value_parser = drain_code, hide_short_help = true)]
    drain_code: CloseCode,
}

impl Limits {
    pub(super) fn set(&self, settings: &mut Settings) {
        settings.max_opening = self.max_opening;
        settings.max_connections_per_addr = self.max_connections_per_addr;
        let config = &mut settings.config;
        config.max_message_size = self.max_message_size;
        // A message may come in one frame.
        config.max_frame_size = self.max_message_size;
        config.max_header_block = self.max_header_size;
    }
}

impl Deadlines {
    pub(super) fn set(&self, settings: &mut Settings) {
        let some = |duration: Duration| (!duration.is_zero()).then_some(duration);
        let config = &mut settings.config;
        config.open_timeout = some(self.open_timeout);
        config.close_timeout = some(self.close_timeout);
        config.ping_interval = some(self.ping_interval);
        config.ping_timeout = some(self.ping_timeout);
        let drain = &mut settings.drain;
        drain.code = self.drain_code;
        drain.over = self.drain;
        drain.deadline = self.drain_deadline;
    }
}
