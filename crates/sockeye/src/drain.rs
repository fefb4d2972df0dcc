//! Closing every connection of a server, at a pace, and each to its end.

use std::future::poll_fn;
use std::iter::Sum;
use std::net::IpAddr;
use std::ops::Add;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sockeye_proto::{CloseCode, CloseFrame, random_masking_key};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::driver::Driver;
use crate::limits::Permit;

/// How a server goes down: by default it closes all connections at once, with 1001.
///
/// ```
/// use std::time::Duration;
///
/// let mut drain = sockeye::Drain::default();
/// drain.over = Duration::from_secs(30);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drain {
    /// The code with which connections are closed: [`GOING_AWAY`](CloseCode::GOING_AWAY) (1001), or
    /// [`SERVICE_RESTART`](CloseCode::SERVICE_RESTART) (1012). One that may not be sent is an error where a server is run; 1001 is sent if it is set
    /// later.
    pub code: CloseCode,
    /// Over how long they are closed: in equal steps, in an order and at moments that are left to chance within them, so that clients do not all come back at once. Zero
    /// by default.
    pub over: Duration,
    /// After how long those that are still there are cut off. `None`, the default, is what [`over`](Self::over) and
    /// [`Config::close_timeout`](crate::Config::close_timeout) take, and a second for the handlers' ends.
    pub deadline: Option<Duration>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { code: CloseCode::GOING_AWAY, over: Duration::ZERO, deadline: None }
    }
}

/// How the WebSockets ended that were open when their server went down. Those of a server and its [workers](crate::Server::worker) can be added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// By a closing handshake.
    pub clean: usize,
    /// Otherwise, before the deadline: the peer was gone or did not answer in time, or the handler has let go of it.
    pub lost: usize,
    /// By the deadline.
    pub aborted: usize,
}

impl Add for Drained {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            clean: self.clean + other.clean,
            lost: self.lost + other.lost,
            aborted: self.aborted + other.aborted,
        }
    }
}

impl Sum for Drained {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// What goes on for longer goes on for ever: so that no sum of times gets too great.
const LONGEST: Duration = Duration::from_secs(1 << 32);

/// The phases of a server's life.
const RUNNING: u8 = 0;
const GOING_DOWN: u8 = 1;
const ABORTING: u8 = 2;

/// What is left of a connection that was dropped while it closed.
pub(crate) struct Left {
    driver: Box<Driver>,
    member: Member,
}

impl Left {
    /// Finishes the closing handshake.
    pub(crate) async fn finish(self) {
        let clean = self.driver.finish().await;
        self.member.end(clean);
    }
}

/// The connections of one server, and which are to be closed.
pub(crate) struct Registry {
    phase: AtomicU8,
    /// With which they are closed.
    code: AtomicU16,
    members: Mutex<Members>,
    /// Told of each that goes while the server goes down.
    gone: Notify,
    /// Where connections go that were dropped before their closing handshake had ended.
    left: mpsc::UnboundedSender<Left>,
}

#[derive(Default)]
struct Members {
    places: Vec<Place>,
    free: Vec<usize>,
    drained: Drained,
}

#[derive(Default)]
struct Place {
    /// Whom to wake.
    waker: Option<Waker>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not a WebSocket yet.
    #[default]
    Opening,
    Open,
    /// Told to close.
    Told,
    /// Closed, cleanly.
    Clean,
}

impl Registry {
    /// No connections yet; and what will be left of those that are dropped while they close, to be finished.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Left>) {
        let (left, to_finish) = mpsc::unbounded_channel();
        let phase = AtomicU8::new(RUNNING);
        let code = AtomicU16::new(CloseCode::GOING_AWAY.into());
        let registry = Self { phase, code, members: Mutex::default(), gone: Notify::new(), left };
        (Arc::new(registry), to_finish)
    }

    /// Tells every member, present and future, to close: what is no WebSocket yet at once.
    pub(crate) async fn close(&self, code: CloseCode, over: Duration) {
        if code.may_be_sent() {
            // Before the phase, which is looked at first.
            self.code.store(code.into(), Ordering::SeqCst);
        }
        let (start, over) = (Instant::now(), over.min(LONGEST));
        let places = self.go_down();
        let count = number(places.len());
        for (index, place) in places.into_iter().enumerate() {
            let due = start + over.mul_f64((number(index) + random()) / count);
            if due > Instant::now() {
                sleep_until(due).await;
            }
            self.tell(place);
        }
    }

    /// Which WebSockets are open, in an order that is left to chance.
    fn go_down(&self) -> Vec<usize> {
        self.phase.store(GOING_DOWN, Ordering::SeqCst);
        let (mut open, mut wakers) = (Vec::new(), Vec::new());
        for (index, place) in self.members().places.iter_mut().enumerate() {
            match place.state {
                State::Open => open.push((random_masking_key(), index)),
                _ => wakers.extend(place.waker.take()),
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        open.sort_unstable();
        open.into_iter().map(|(_, index)| index).collect()
    }

    fn tell(&self, place: usize) {
        let waker = match &mut self.members().places[place] {
            Place { state: state @ State::Open, waker } => {
                *state = State::Told;
                waker.take()
            }
            _ => None,
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether no connection is left.
    pub(crate) fn is_empty(&self) -> bool {
        let members = self.members();
        members.free.len() == members.places.len()
    }

    /// Waits until one has gone since this was last asked. Cancel-safe.
    pub(crate) async fn gone(&self) {
        self.gone.notified().await;
    }

    /// From now on whatever ends has been cut off.
    pub(crate) fn abort(&self) {
        self.phase.store(ABORTING, Ordering::SeqCst);
    }

    /// How they ended; those that are still there, in tasks of others, count as cut off.
    pub(crate) fn drained(&self) -> Drained {
        let members = self.members();
        let still = members.places.iter().filter(|place| place.state != State::Opening).count();
        Drained { aborted: members.drained.aborted + still, ..members.drained }
    }

    fn is_running(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == RUNNING
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From 0 to 1.
fn random() -> f64 {
    f64::from(u32::from_ne_bytes(random_masking_key())) / f64::from(u32::MAX)
}

fn number(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}

/// One connection's place among the server's.
pub(crate) struct Member {
    registry: Arc<Registry>,
    place: usize,
    /// What was last left in the place: compared before the lock is taken.
    waker: Option<Waker>,
    /// Counts the connection for as long as it is one.
    permit: Arc<Permit>,
}

impl Member {
    pub(crate) fn new(registry: Arc<Registry>, permit: Arc<Permit>) -> Self {
        let place = {
            let mut members = registry.members();
            members.free.pop().unwrap_or_else(|| {
                members.places.push(Place::default());
                members.places.len() - 1
            })
        };
        Self { registry, place, waker: None, permit }
    }

    /// Whether its client may have one more connection.
    pub(crate) fn is_allowed(&self, client: IpAddr, most: Option<usize>) -> bool {
        self.permit.is_allowed(client, most)
    }

    /// It is a WebSocket now; one that comes when the server goes down already is to be closed at once.
    pub(crate) fn open(&self) {
        // The phase is looked at under the lock: whoever changes it takes the lock afterwards.
        let mut members = self.registry.members();
        members.places[self.place].state = if self.registry.is_running() { State::Open } else { State::Told };
    }

    /// With what to close, once it is time; before, the task is woken when it is.
    pub(crate) fn wants_close(&mut self, cx: &Context<'_>) -> Option<CloseFrame> {
        self.leave_waker(cx);
        // After the waker is in place: whoever tells it to close either finds it or has set these before.
        if self.registry.is_running() {
            return None;
        }
        let told = self.registry.members().places[self.place].state == State::Told;
        told.then(|| CloseFrame { code: self.registry.code.load(Ordering::SeqCst).into(), reason: "".into() })
    }

    /// Waits until the server goes down.
    pub(crate) async fn going_down(&mut self) {
        poll_fn(|cx| {
            self.leave_waker(cx);
            if self.registry.is_running() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn leave_waker(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.registry.members().places[self.place].waker.clone_from(&self.waker);
        }
    }

    /// Leaves a connection to the server, to finish its closing handshake.
    pub(crate) fn leave(self, driver: Driver) {
        let left = self.registry.left.clone();
        // If there is no server any more, it is only dropped.
        let _ = left.send(Left { driver: Box::new(driver), member: self });
    }

    /// The connection has ended.
    pub(crate) fn end(self, clean: bool) {
        if clean {
            self.registry.members().places[self.place].state = State::Clean;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let phase = self.registry.phase.load(Ordering::SeqCst);
        let mut members = self.registry.members();
        let ended = std::mem::take(&mut members.places[self.place]).state;
        members.free.push(self.place);
        if phase == RUNNING {
            return;
        }
        match ended {
            State::Opening => {}
            State::Clean => members.drained.clean += 1,
            State::Open | State::Told if phase == ABORTING => members.drained.aborted += 1,
            State::Open | State::Told => members.drained.lost += 1,
        }
        drop(members);
        self.registry.gone.notify_one();
    }
}
