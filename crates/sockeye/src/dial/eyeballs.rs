//! Happy Eyeballs (RFC 8305): of many addresses the one that answers first, without a storm of attempts.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How many addresses of a host are tried: a name may have any number of them.
pub(super) const MOST_ADDRESSES: usize = 16;

// RFC 8305 section 5: "The Connection Attempt Delay MUST have a lower bound", "a subsequent connection MUST NOT be started within 10
// milliseconds of the previous attempt", and "SHOULD have an upper bound", "The current recommended value is 2 seconds."
const LEAST_DELAY: Duration = Duration::from_millis(10);
const MOST_DELAY: Duration = Duration::from_secs(2);

/// The addresses in the order in which they are tried, each once.
pub(super) fn order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    // RFC 8305 section 4: "Whichever address family is first in the list should be followed by an address of the other address family".
    // The First Address Family Count is 1.
    let is_first = |address: &SocketAddr| address.is_ipv4() == addresses[0].is_ipv4();
    let (first, other): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_first);
    let rounds = first.len().max(other.len());
    (0..rounds).flat_map(|round| [first.get(round), other.get(round)]).flatten().copied().collect()
}

/// Connects to the addresses, each a delay after the one before or as soon as one has failed, until the first is connected. The
/// attempts under way end then, or when this is dropped.
///
/// # Errors
///
/// What each attempt gave, in the order in which they ended.
pub(super) async fn race<A, T, F>(
    addresses: impl IntoIterator<Item = A>,
    delay: Duration,
    connect: impl Fn(A) -> F,
) -> Result<T, Vec<io::Error>>
where
    F: Future<Output = io::Result<T>>,
{
    let mut addresses = addresses.into_iter().peekable();
    let (mut attempts, mut errors) = (Vec::new(), Vec::new());
    let (mut started, mut wait) = (Instant::now(), Duration::ZERO);
    loop {
        // RFC 8305 section 5: "connection attempts SHOULD NOT be made simultaneously. Instead, one connection attempt to a single
        // address is started first, followed by the others in the list, one at a time."
        if attempts.is_empty() || started.elapsed() >= wait {
            match addresses.next() {
                Some(address) => attempts.push(Box::pin(connect(address))),
                None if attempts.is_empty() => return Err(errors),
                None => {}
            }
            (started, wait) = (Instant::now(), delay.clamp(LEAST_DELAY, MOST_DELAY));
        }
        tokio::select! {
            biased;
            // "Once one of the connection attempts succeeds (generally when the TCP handshake completes), all other connections
            // attempts that have not yet succeeded SHOULD be canceled."
            ended = first_of(&mut attempts) => match ended {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    errors.push(error);
                    // Beside others that go on, the next has the least delay to wait; otherwise none.
                    wait = LEAST_DELAY;
                }
            },
            () = sleep_until(started + wait), if addresses.peek().is_some() => {}
        }
    }
}

/// Waits for the first attempt to end, and takes it out.
async fn first_of<F: Future>(attempts: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|cx| {
        for index in 0..attempts.len() {
            if let Poll::Ready(output) = attempts[index].as_mut().poll(cx) {
                drop(attempts.remove(index));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::sleep;

    use super::*;

    const DELAY: Duration = Duration::from_millis(250);

    /// How an attempt ends, after so many milliseconds.
    #[derive(Clone, Copy)]
    enum Plan {
        Connects(u64),
        Fails(u64),
        Hangs,
    }
    use Plan::{Connects, Fails, Hangs};

    struct Race {
        /// The index of the attempt that won, or the errors.
        result: Result<usize, Vec<String>>,
        /// When each attempt began, in milliseconds.
        began: Vec<u128>,
        took: u128,
        /// The attempts that were dropped before they ended.
        dropped: Vec<usize>,
    }

    struct Attempt<'a> {
        index: usize,
        dropped: &'a RefCell<Vec<usize>>,
        is_over: bool,
    }

    impl Drop for Attempt<'_> {
        fn drop(&mut self) {
            if !self.is_over {
                self.dropped.borrow_mut().push(self.index);
            }
        }
    }

    async fn run(delay: Duration, plans: &[Plan]) -> Race {
        let start = Instant::now();
        let (began, dropped) = (RefCell::default(), RefCell::default());
        let connect = |index: usize| {
            let (began, dropped): (&RefCell<Vec<u128>>, _) = (&began, &dropped);
            async move {
                began.borrow_mut().push(start.elapsed().as_millis());
                let mut attempt = Attempt { index, dropped, is_over: false };
                let (after, result) = match plans[index] {
                    Connects(after) => (after, Ok(index)),
                    Fails(after) => (after, Err(io::Error::other(index.to_string()))),
                    Hangs => std::future::pending().await,
                };
                if after > 0 {
                    sleep(Duration::from_millis(after)).await;
                }
                attempt.is_over = true;
                result
            }
        };
        let result = race(0..plans.len(), delay, connect).await;
        let result = result.map_err(|errors| errors.iter().map(ToString::to_string).collect());
        let took = start.elapsed().as_millis();
        Race { result, took, began: began.into_inner(), dropped: dropped.into_inner() }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_begin_a_delay_apart_and_the_first_to_connect_wins() {
        type Case = (&'static str, &'static [Plan], usize, &'static [u128], u128, &'static [usize]);
        let cases: &[Case] = &[
            ("one", &[Connects(40)], 0, &[0], 40, &[]),
            ("the first is quick", &[Connects(249), Connects(0)], 0, &[0], 249, &[]),
            ("the first is slow", &[Hangs, Connects(30)], 1, &[0, 250], 280, &[0]),
            ("the first is slow and still first", &[Connects(270), Connects(30)], 0, &[0, 250], 270, &[1]),
            ("black holes", &[Hangs, Hangs, Hangs, Connects(9)], 3, &[0, 250, 500, 750], 759, &[0, 1, 2]),
            ("no route", &[Fails(0), Fails(0), Connects(9)], 2, &[0, 0, 0], 9, &[]),
            ("refused after a while", &[Fails(30), Connects(9)], 1, &[0, 30], 39, &[]),
            ("refused after the delay", &[Fails(300), Hangs, Connects(9)], 2, &[0, 250, 300], 309, &[1]),
            (
                "refused just after another began",
                &[Fails(252), Hangs, Connects(9)],
                2,
                &[0, 250, 260],
                269,
                &[1],
            ),
            ("no route beside another", &[Hangs, Fails(0), Connects(9)], 2, &[0, 250, 260], 269, &[0]),
            ("the last goes on alone", &[Fails(0), Connects(5000)], 1, &[0, 0], 5000, &[]),
        ];
        for (name, plans, winner, began, took, dropped) in cases {
            let race = run(DELAY, plans).await;
            assert_eq!(race.result.as_ref(), Ok(winner), "{name}");
            assert_eq!((&race.began[..], race.took, &race.dropped[..]), (*began, *took, *dropped), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_every_error_is_given() {
        let race = run(DELAY, &[Fails(700), Fails(10), Fails(0)]).await;
        assert_eq!(race.result, Err(vec!["1".into(), "2".into(), "0".into()]));
        assert_eq!((race.began, race.took, race.dropped), (vec![0, 250, 260], 700, vec![]));
        assert_eq!(run(DELAY, &[]).await.result, Err(vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_has_bounds() {
        for (delay, second) in [(0, 10), (9, 10), (11, 11), (2000, 2000), (2001, 2000), (u64::MAX, 2000)] {
            let race = run(Duration::from_millis(delay), &[Hangs, Connects(1)]).await;
            assert_eq!(race.began, [0, second], "{delay}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_race_that_is_dropped_drops_its_attempts() {
        let dropped = RefCell::default();
        let connect = |index| {
            let attempt = Attempt { index, dropped: &dropped, is_over: false };
            async move {
                let _attempt = attempt;
                std::future::pending::<io::Result<()>>().await
            }
        };
        let racing = tokio::time::timeout(Duration::from_secs(10), race(0..3, DELAY, connect));
        racing.await.unwrap_err();
        assert_eq!(*dropped.borrow(), [0, 1, 2]);
    }

    #[test]
    fn families_take_turns_and_no_address_comes_twice() {
        let cases = [
            ("", ""),
            ("4a", "4a"),
            ("6a 6b 4a 4b", "6a 4a 6b 4b"),
            ("4a 4b 4c 6a", "4a 6a 4b 4c"),
            ("4a 6a 6b 6c", "4a 6a 6b 6c"),
            ("6a 6a 4a 6a 4a 6b", "6a 4a 6b"),
        ];
        let list = |names: &str| -> Vec<SocketAddr> {
            let address = |name: &str| {
                let last = u16::from(name.as_bytes()[1]);
                match name.as_bytes()[0] {
                    b'4' => ([192, 0, 2, name.as_bytes()[1]], 80).into(),
                    _ => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 80).into(),
                }
            };
            names.split_whitespace().map(address).collect()
        };
        for (given, expected) in cases {
            assert_eq!(order(list(given)), list(expected), "{given}");
        }
    }
}
