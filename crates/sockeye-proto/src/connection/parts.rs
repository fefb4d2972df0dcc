//! Messages of any length, in parts.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{Connection, Event};
use crate::error::{ProtocolError, SendError};
use crate::message::{Message, MessageKind};
use crate::output::Output;
use crate::receive::Want;

impl Connection {
    /// Like [`receive`](Self::receive), but gives each message in [parts](crate::Part), as its bytes come, so that it may be of any length:
    /// [`max_message_size`](crate::Config::max_message_size), [`max_frame_size`](crate::Config::max_frame_size) and
    /// [`max_fragments`](crate::Config::max_fragments) do not apply to it. It is up to the caller to count.
    ///
    /// What is there is handed out at once, an inflated message in parts of at most 32 KiB; the rest stays in `input` until it is
    /// asked for. Text comes in whole characters, and fails at the first byte that no text can hold. A message ends with a part that
    /// is the [last](crate::Part::last), and is empty if nothing was left.
    ///
    /// The two ways may take turns at any time. What [`receive`](Self::receive) had gathered of a message is its first part. Of a
    /// message that was begun to be given in parts, `receive` throws away what is left, checking it all the same, and gives the next.
    ///
    /// ```
    /// use std::{sync::Arc, time::Instant};
    /// use sockeye_proto::{BytesMut, Config, Connection, Event, Message, Output, Role};
    /// let now = Instant::now();
    /// let mut client = Connection::new(Role::Client, Arc::new(Config::default()), now);
    /// // The first 3 bytes of a text of 5.
    /// let (mut input, mut output) = (BytesMut::from(&b"\x81\x05hel"[..]), Output::new());
    /// let Some(Event::Part(part)) = client.receive_part(&mut input, &mut output, || now)? else { panic!() };
    /// assert_eq!((part.data, part.last), (Message::from("hel"), false));
    /// input.extend_from_slice(b"lo");
    /// let Some(Event::Part(part)) = client.receive_part(&mut input, &mut output, || now)? else { panic!() };
    /// assert_eq!((part.data, part.last), (Message::from("lo"), true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn receive_part(
        &mut self,
        input: &mut BytesMut,
        output: &mut Output,
        now: impl FnOnce() -> Instant,
    ) -> Result<Option<Event>, ProtocolError> {
        self.receive_wanted(Want::Part, input, output, now)
    }

    /// Like [`receive`](Self::receive), but takes control frames only: `None` also as soon as data comes next, which stays in
    /// `input`. So pings are answered while nobody wants messages yet.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn receive_control(
        &mut self,
        input: &mut BytesMut,
        output: &mut Output,
        now: impl FnOnce() -> Instant,
    ) -> Result<Option<Event>, ProtocolError> {
        self.receive_wanted(Want::Control, input, output, now)
    }

    /// Encodes a part of a message, which may be of any length in all (RFC 6455 section 5.4): the first part begins the message, the
    /// last one, which may be empty, ends it. Pings, pongs and a Close may go in between, and no other message.
    ///
    /// If compression was agreed on, the first part decides: from 1 KiB on the message is compressed if that makes this part smaller, a shorter
    /// one tells nothing, so that the message is compressed. Each part can be inflated as soon as it has come. A message of one part is
    /// sent as [`send`](Self::send) would.
    ///
    /// ```
    /// use std::{sync::Arc, time::Instant};
    /// use sockeye_proto::{BytesMut, Config, Connection, Event, Message, Output, Role};
    /// # use bytes::Buf;
    /// let (config, now) = (Arc::new(Config::default()), Instant::now());
    /// let mut server = Connection::new(Role::Server, config.clone(), now);
    /// let mut client = Connection::new(Role::Client, config, now);
    ///
    /// let mut output = Output::new();
    /// server.send_part("hel".into(), false, &mut output)?;
    /// server.send_part("lo".into(), true, &mut output)?;
    /// let mut input = BytesMut::from(&output.copy_to_bytes(output.remaining())[..]);
    /// let event = client.receive(&mut input, &mut output, || now)?;
    /// assert_eq!(event, Some(Event::Message(Message::from("hello"))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] once a Close frame was sent or received; the message stays unfinished then.
    /// [`ApiMisuse::PartKind`](crate::ApiMisuse::PartKind) if the part is not of the message's kind, and
    /// [`ApiMisuse::TextNotUtf8`](crate::ApiMisuse::TextNotUtf8) if a [chunk](Self::send_chunk) has left half a character. And from
    /// now on until the last part, [`ApiMisuse::MessageUnfinished`](crate::ApiMisuse::MessageUnfinished) from [`send`](Self::send).
    pub fn send_part(&mut self, data: Message, last: bool, output: &mut Output) -> Result<(), SendError> {
        self.send_any_part(data, last, true, output)
    }

    /// Encodes a part of a message that is not to be compressed. That is up to its first part: a further one goes as the first did.
    ///
    /// # Errors
    ///
    /// As [`send_part`](Self::send_part).
    pub fn send_part_uncompressed(
        &mut self,
        data: Message,
        last: bool,
        output: &mut Output,
    ) -> Result<(), SendError> {
        self.send_any_part(data, last, false, output)
    }

    fn send_any_part(
        &mut self,
        data: Message,
        last: bool,
        compress: bool,
        output: &mut Output,
    ) -> Result<(), SendError> {
        if last && self.unfinished().is_none() {
            return if compress { self.send(data, output) } else { self.send_uncompressed(data, output) };
        }
        self.check_open()?;
        self.send.pending_pong(&self.config, output);
        Ok(self.send.part(data, last, compress, &self.config, output)?)
    }

    /// Encodes a part of a message out of bytes that may be cut anywhere: of text, up to 3 bytes of an unfinished character are kept, and
    /// go with the next chunk. Otherwise as [`send_part`](Self::send_part).
    ///
    /// # Errors
    ///
    /// As [`send_part`](Self::send_part); [`ApiMisuse::TextNotUtf8`](crate::ApiMisuse::TextNotUtf8) also at the first byte that no
    /// text can hold, or if the last chunk ends within a character: nothing of the chunk was taken then.
    pub fn send_chunk(
        &mut self,
        kind: MessageKind,
        bytes: Bytes,
        last: bool,
        output: &mut Output,
    ) -> Result<(), SendError> {
        self.check_open()?;
        let (data, carry) = self.send.cut(kind, bytes, last)?;
        self.send_any_part(data, last, true, output)?;
        self.send.carry(carry);
        Ok(())
    }

    /// The kind of the message that is being sent in parts, and has not got its last.
    pub fn unfinished(&self) -> Option<MessageKind> {
        self.send.unfinished()
    }
}
