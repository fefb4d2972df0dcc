//! Bytes into frames, frames into messages (RFC 6455 sections 5 and 6.2).

use std::ops::ControlFlow;

use bytes::{Buf, Bytes, BytesMut};

use crate::close::CloseFrame;
use crate::config::Config;
use crate::connection::{Event, Role};
use crate::deflate::{History, STEP};
use crate::error::ProtocolError;
use crate::frame::{FrameHeader, MAX_HEADER, Opcode};
use crate::gather::Gathered;
use crate::mask::mask;
use crate::message::{Message, Part, Utf8Bytes};
use crate::send::RSV1;
use crate::utf8::valid_prefix;

/// What the caller wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Control frames, as long as no data comes before them.
    Control,
    /// Whole messages. What is left of one of which a part was handed out is thrown away.
    Message,
    /// Messages in parts.
    Part,
}

/// A message or a part of it: what it is, its payload, and whether it is the last.
type Read = (Opcode, Bytes, bool);

/// The receiving half of a connection's state.
///
/// A message in one frame is unmasked, checked and cut out where it was read, so that its payload is never copied. A
/// message in several frames, or a compressed one, or one that is wanted in parts before it is there, is gathered piece by piece, as the bytes come.
#[derive(Debug)]
pub(crate) struct Receive {
    role: Role,
    frame: Option<Frame>,
    /// Boxed, since most connections hold no such message most of the time.
    message: Option<Box<Gathered>>,
    /// How far the text of the message in hand is checked.
    checked: usize,
    /// Whether there may be compressed messages.
    inflates: bool,
    /// What compressed messages may refer to; none if each stands for itself. Boxed, since many connections have none.
    history: Option<Box<History>>,
}

/// A frame whose header is read and whose payload is not yet whole.
#[derive(Debug)]
struct Frame {
    fin: bool,
    /// Whether it is the first of a compressed message.
    compressed: bool,
    opcode: Opcode,
    /// How much of the payload is not yet taken out of the input.
    left: u64,
    /// The masking key, turned for the payload's next byte that is masked.
    key: Option<[u8; 4]>,
    /// How many bytes at the start of the input are unmasked already.
    unmasked: usize,
}

impl Frame {
    /// How much of the payload is in the input; all that is is unmasked then.
    #[inline]
    fn unmask(&mut self, input: &mut [u8]) -> usize {
        let here = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        if let Some(key) = &mut self.key {
            *key = mask(&mut input[self.unmasked..here], *key);
        }
        self.unmasked = here;
        here
    }

    /// The first bytes of the payload were taken out of the input.
    fn took(&mut self, count: usize) {
        self.left -= count as u64;
        self.unmasked -= count;
    }
}

impl Receive {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, frame: None, message: None, checked: 0, inflates: false, history: None }
    }

    /// Takes compressed messages from now on.
    pub(crate) fn start_inflating(&mut self, history: Option<History>) {
        (self.inflates, self.history) = (true, history.map(Box::new));
    }

    /// How many bytes of memory the message in hand takes, beside the input.
    pub(crate) fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.held())
    }

    /// How many bytes of memory is what compressed messages may refer to.
    pub(crate) fn held_history(&self) -> usize {
        self.history.as_ref().map_or(0, |history| history.held())
    }

    /// How long the input must get before the frame in hand is whole.
    pub(crate) fn wanted(&self) -> usize {
        let frame = self.frame.as_ref();
        frame.map_or(MAX_HEADER, |frame| usize::try_from(frame.left).unwrap_or(usize::MAX))
    }

    /// Whether a whole frame stands at the start of `input`; a header that breaks the rules counts, being something to tell.
    #[inline]
    pub(crate) fn has_frame(&self, input: &[u8]) -> bool {
        if input.is_empty() {
            return false;
        }
        if self.frame.is_some() {
            return input.len() >= self.wanted();
        }
        match FrameHeader::parse(input) {
            Ok(Some((header, start))) => (input.len() - start) as u64 >= header.length,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Whether no data comes before the next control frame.
    fn is_control_next(&self, input: &[u8]) -> bool {
        // RFC 6455 section 5.5: "Control frames are identified by opcodes where the most significant bit of the opcode is 1."
        let first = || input.first().is_some_and(|first| first & 0x08 != 0);
        self.frame.as_ref().map_or_else(first, |frame| frame.opcode.is_control())
    }

    /// Takes the next frame out of `input`, or the next message or part: `None` if more bytes are needed.
    #[inline]
    pub(crate) fn next_frame(
        &mut self,
        want: Want,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<Option<Event>, ProtocolError> {
        // What was gathered when whole messages were wanted.
        if want == Want::Part
            && let Some((opcode, payload)) = self.take_part(false)?
        {
            return event(want, opcode, payload, false, config);
        }
        loop {
            if want == Want::Control && !self.is_control_next(input) {
                return Ok(None);
            }
            let mut frame = match self.frame.take() {
                Some(frame) => self.resume(want, frame, config)?,
                None => match self.read_header(want, input, config)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let (opcode, payload, last) = if frame.opcode.is_control() || self.is_whole(want, &frame, input) {
                let Some(payload) = self.read_whole(&mut frame, input)? else {
                    self.frame = Some(frame);
                    return Ok(None);
                };
                (frame.opcode, payload, true)
            } else {
                match self.read_some(want, frame, input, config)? {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(None) => return Ok(None),
                    ControlFlow::Break(Some(read)) => read,
                }
            };
            return event(want, opcode, payload, last, config);
        }
    }

    /// Reads what is there of a frame of a message that is gathered: the message or a part of it, and whether it is the last; or goes on
    /// if there may be more to have.
    #[inline(never)]
    fn read_some(
        &mut self,
        want: Want,
        mut frame: Frame,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<ControlFlow<Option<Read>>, ProtocolError> {
        let is_begun = self.message.as_ref().is_some_and(|message| message.begun);
        let in_parts = want == Want::Part || is_begun;
        let is_done = self.gather(&mut frame, in_parts, input, config)?;
        let is_last = is_done && frame.fin;
        if !is_done {
            self.frame = Some(frame);
        }
        Ok(match if is_last || in_parts { self.take_part(is_last)? } else { None } {
            Some((opcode, payload)) if want == Want::Part || !is_begun => {
                ControlFlow::Break(Some((opcode, payload, is_last)))
            }
            None if !is_done => ControlFlow::Break(None),
            // What was taken is thrown away.
            _ => ControlFlow::Continue(()),
        })
    }

    /// Goes on with the frame in hand, which may have been begun when parts were wanted.
    #[inline(never)]
    fn resume(&self, want: Want, frame: Frame, config: &Config) -> Result<Frame, ProtocolError> {
        if want == Want::Message && !frame.opcode.is_control() {
            self.check_size(frame.compressed, frame.left, config)?;
        }
        Ok(frame)
    }

    /// Whether the frame is a message of its own, as it stands, and not to be handed out before it is there.
    #[inline]
    fn is_whole(&self, want: Want, frame: &Frame, input: &[u8]) -> bool {
        let is_one = frame.fin && self.message.is_none() && !frame.compressed;
        is_one && (want != Want::Part || input.len() as u64 >= frame.left)
    }

    #[inline]
    fn read_header(
        &mut self,
        want: Want,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<Option<Frame>, ProtocolError> {
        let Some((header, length)) = FrameHeader::parse(input)? else { return Ok(None) };
        input.advance(length);
        // RFC 6455 section 5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
        // RFC 7692 section 6: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments
        // of a data message. An endpoint receiving such a frame MUST _Fail the WebSocket Connection_."
        let compressed =
            header.rsv == RSV1 && self.inflates && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv != 0 && !compressed {
            return Err(ProtocolError::ReservedBits);
        }
        // RFC 6455 section 5.1: "The server MUST close the connection upon receiving a frame that is not masked." and "A
        // client MUST close a connection if it detects a masked frame."
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(ProtocolError::NotMasked),
            (Role::Client, Some(_)) => return Err(ProtocolError::Masked),
            _ => {}
        }
        if !header.opcode.is_control() {
            self.check_sequence(want, &header, config)?;
            if want == Want::Message {
                self.check_size(compressed, header.length, config)?;
            }
        }
        Ok(Some(Frame {
            fin: header.fin,
            compressed,
            opcode: header.opcode,
            left: header.length,
            key: header.mask,
            unmasked: 0,
        }))
    }

    /// Checks that a data frame may follow those before it, and counts it.
    fn check_sequence(
        &mut self,
        want: Want,
        header: &FrameHeader,
        config: &Config,
    ) -> Result<(), ProtocolError> {
        match (&mut self.message, header.opcode) {
            (None, Opcode::Continuation) => Err(ProtocolError::ContinuationUnexpected),
            // RFC 6455 section 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of
            // another message unless an extension has been negotiated"
            (Some(_), Opcode::Text | Opcode::Binary) => Err(ProtocolError::DataInterleaved),
            (Some(message), _)
                if want == Want::Message && !message.begun && message.fragments >= config.max_fragments =>
            {
                Err(ProtocolError::TooManyFragments { limit: config.max_fragments })
            }
            (Some(message), _) => {
                message.fragments = message.fragments.saturating_add(1);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Checks that what is left of a frame is not too long for a message that is to be had whole.
    #[inline]
    fn check_size(&self, compressed: bool, left: u64, config: &Config) -> Result<(), ProtocolError> {
        let room = match &self.message {
            Some(message) if message.begun => return Ok(()),
            // How long a compressed message becomes is seen when it is inflated.
            Some(message) if message.inflater.is_some() => usize::MAX,
            Some(message) => config.max_message_size.saturating_sub(message.payload.len()),
            None if compressed => usize::MAX,
            None => config.max_message_size,
        };
        if left > config.max_frame_size as u64 {
            return Err(ProtocolError::FrameTooBig { length: left, limit: config.max_frame_size });
        }
        if left > room as u64 {
            return Err(ProtocolError::MessageTooBig { limit: config.max_message_size });
        }
        Ok(())
    }

    /// Unmasks and checks a payload where it stands, and cuts it out once it is whole.
    #[inline]
    fn read_whole(
        &mut self,
        frame: &mut Frame,
        input: &mut BytesMut,
    ) -> Result<Option<Bytes>, ProtocolError> {
        let here = frame.unmask(input);
        if frame.opcode == Opcode::Text {
            self.checked += valid_prefix(&input[self.checked..here]).ok_or(ProtocolError::TextNotUtf8)?;
        }
        if (here as u64) < frame.left {
            return Ok(None);
        }
        // RFC 6455 section 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte
        // stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_."
        if frame.opcode == Opcode::Text && std::mem::take(&mut self.checked) != here {
            return Err(ProtocolError::TextNotUtf8);
        }
        // An empty slice would keep the whole block from being used again.
        Ok(Some(if here == 0 { Bytes::new() } else { input.split_to(here).freeze() }))
    }

    /// Moves what is there of a fragment's payload to the message's other fragments, inflating it if it is compressed: all of it, or
    /// for a part as much as makes a step. Tells whether that was the last of the frame.
    fn gather(
        &mut self,
        frame: &mut Frame,
        in_parts: bool,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<bool, ProtocolError> {
        let message = match &mut self.message {
            Some(message) => message,
            none => {
                let mut message = if frame.compressed { Gathered::rent() } else { Box::default() };
                (message.text, message.fragments) = (frame.opcode == Opcode::Text, 1);
                if let Some(inflater) = &mut message.inflater {
                    inflater.start(self.history.as_deref())?;
                }
                none.insert(message)
            }
        };
        let here = frame.unmask(input);
        let given = message.payload.len() - message.waiting();
        let mut inflated = Ok(());
        let mut is_full = false;
        if let Some(inflater) = &mut message.inflater {
            let payload = &mut message.payload;
            let (limit, enough) =
                if in_parts { (usize::MAX, given + STEP) } else { (config.max_message_size, usize::MAX) };
            match inflater.inflate(&input[..here], payload, limit, enough, self.history.as_deref()) {
                Ok(count) => {
                    input.advance(count);
                    frame.took(count);
                }
                Err(error) => inflated = Err(error),
            }
            is_full = inflater.is_full();
            if frame.fin && frame.left == 0 && !is_full && inflated.is_ok() {
                inflated = inflater.finish(payload, limit, self.history.as_deref());
                if let Some(history) = &mut self.history {
                    history.extend(payload);
                }
            }
        } else if in_parts && message.payload.is_empty() && here > 3 {
            // Cut out where it was read, since nothing goes before it; but not what may be less than a character, for that would
            // keep the block while the rest is awaited.
            message.payload = input.split_to(here);
            frame.took(here);
        } else {
            message.payload.extend_from_slice(&input[..here]);
            input.advance(here);
            frame.took(here);
        }
        if message.text {
            let unchecked = &message.payload[self.checked..];
            self.checked += valid_prefix(unchecked).ok_or(ProtocolError::TextNotUtf8)?;
        }
        // What is wrong first is told, however the bytes came.
        inflated?;
        Ok(frame.left == 0 && !is_full)
    }

    /// Takes what can be handed out of the message in hand, and what it is: all that is left of it if this is the last of it, or else
    /// what is there, in whole characters if it is text.
    fn take_part(&mut self, last: bool) -> Result<Option<(Opcode, Bytes)>, ProtocolError> {
        let Some(message) = &mut self.message else { return Ok(None) };
        let opcode = if message.text { Opcode::Text } else { Opcode::Binary };
        let end = if message.text { self.checked } else { message.payload.len() };
        let missing = message.payload.len() - end;
        if !last {
            if message.waiting() == missing {
                return Ok(None);
            }
            let (part, gone) = message.take_part(end);
            self.checked = self.checked.saturating_sub(gone);
            return Ok(Some((opcode, part)));
        }
        let payload = message.take();
        if let Some(message) = self.message.take() {
            message.give_back();
        }
        self.checked = 0;
        if missing > 0 { Err(ProtocolError::TextNotUtf8) } else { Ok(Some((opcode, payload))) }
    }
}

/// What a control frame means, or a payload that was checked, if it is text.
#[inline]
fn event(
    want: Want,
    opcode: Opcode,
    payload: Bytes,
    last: bool,
    config: &Config,
) -> Result<Option<Event>, ProtocolError> {
    let event =
        |data| if want == Want::Part { Event::Part(Part { data, last }) } else { Event::Message(data) };
    Ok(Some(match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => Event::Close(CloseFrame::parse(&payload, config)?),
        Opcode::Text => event(Message::Text(Utf8Bytes::from_checked(payload))),
        Opcode::Binary | Opcode::Continuation => event(Message::Binary(payload)),
    }))
}
