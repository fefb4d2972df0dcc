//! Keepalive: a ping after a silence, and a deadline for any sign of life after it (RFC 6455 section 5.5.2).

use std::time::Instant;

use crate::config::Config;

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    PeerIsDead,
}

#[derive(Debug)]
enum State {
    /// The peer was last heard at this instant.
    Heard(Instant),
    /// A ping is on its way, with `ahead` bytes still to be written up to its end. The peer cannot answer what it did not
    /// get: until then each write that gets on is a sign of life too, or a long upload would look like a death.
    Pinged { since: Instant, ahead: usize },
}

/// When the peer gave its last sign of life; any byte is one.
#[derive(Debug)]
pub(crate) struct Keepalive(State);

impl Keepalive {
    pub(crate) fn new(now: Instant) -> Self {
        Self(State::Heard(now))
    }

    /// Bytes of the peer came.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.0 = State::Heard(now);
    }

    /// `count` bytes were written.
    pub(crate) fn written(&mut self, count: usize, now: impl FnOnce() -> Instant) {
        if let State::Pinged { since, ahead: ahead @ 1.. } = &mut self.0
            && count > 0
        {
            *since = now();
            *ahead = ahead.saturating_sub(count);
        }
    }

    /// A keepalive ping was queued, as the last of `ahead` bytes.
    pub(crate) fn pinged(&mut self, ahead: usize, now: Instant) {
        self.0 = State::Pinged { since: now, ahead };
    }

    /// When [`due`](Self::due) is to be asked.
    pub(crate) fn deadline(&self, config: &Config) -> Option<Instant> {
        match self.0 {
            State::Heard(at) => config.ping_interval.and_then(|interval| at.checked_add(interval)),
            State::Pinged { since, .. } => config.ping_timeout.and_then(|timeout| since.checked_add(timeout)),
        }
    }

    /// What is to be done at `now`.
    pub(crate) fn due(&self, config: &Config, now: Instant) -> Due {
        match self.0 {
            _ if self.deadline(config).is_none_or(|deadline| now < deadline) => Due::Nothing,
            State::Heard(_) => Due::Ping,
            State::Pinged { .. } => Due::PeerIsDead,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(interval: Option<u64>, timeout: Option<u64>) -> Config {
        Config {
            ping_interval: interval.map(Duration::from_secs),
            ping_timeout: timeout.map(Duration::from_secs),
            ..Config::default()
        }
    }

    #[test]
    fn pings_after_a_silence_and_gives_up_after_another() {
        let config = config(Some(20), Some(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut keepalive = Keepalive::new(start);
        assert_eq!(keepalive.due(&config, at(19)), Due::Nothing);
        keepalive.heard(at(19));
        assert_eq!(keepalive.due(&config, at(20)), Due::Nothing);
        assert_eq!(keepalive.deadline(&config), Some(at(39)));
        assert_eq!(keepalive.due(&config, at(39)), Due::Ping);
        keepalive.pinged(0, at(39));
        assert_eq!(keepalive.due(&config, at(48)), Due::Nothing);
        assert_eq!(keepalive.due(&config, at(49)), Due::PeerIsDead);
        keepalive.heard(at(49));
        assert_eq!(keepalive.due(&config, at(49)), Due::Nothing);
    }

    #[test]
    fn the_clock_of_a_ping_starts_when_it_is_written() {
        let config = config(Some(20), Some(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut keepalive = Keepalive::new(start);
        keepalive.pinged(100, at(20));
        keepalive.written(60, || at(29));
        assert_eq!(keepalive.due(&config, at(38)), Due::Nothing, "the upload gets on");
        keepalive.written(60, || at(38));
        assert_eq!(keepalive.due(&config, at(47)), Due::Nothing);
        keepalive.written(60, || at(47));
        assert_eq!(
            keepalive.due(&config, at(48)),
            Due::PeerIsDead,
            "what is written behind the ping is no sign of life"
        );
    }

    #[test]
    fn a_part_that_is_off_never_comes_due() {
        let start = Instant::now();
        let far = start + Duration::from_secs(1 << 20);
        let off = config(None, Some(10));
        assert_eq!(Keepalive::new(start).due(&off, far), Due::Nothing);
        let patient = config(Some(20), None);
        let mut keepalive = Keepalive::new(start);
        assert_eq!(keepalive.due(&patient, far), Due::Ping);
        keepalive.pinged(0, far);
        assert_eq!(keepalive.deadline(&patient), None);
    }
}
