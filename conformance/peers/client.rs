//! Sockeye's client against another library's echo server: sends messages, compares every echo, closes.
//!
//! usage: `peers_client URL SEED COUNT FORM`, where FORM is `plain`, `no-takeover` or `takeover`. Run by `conformance/run peers`; its
//! README says which messages are sent.

use std::collections::VecDeque;
use std::error::Error;
use std::process::ExitCode;

use sockeye::{Client, Config, Deflate, Message};

/// At most this many messages, and about this many octets, are on their way at once.
const IN_FLIGHT: usize = 8;
const OCTETS_IN_FLIGHT: usize = 256 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, seed, count, form] = arguments.as_slice() else {
        eprintln!("usage: peers_client URL SEED COUNT FORM");
        return ExitCode::from(2);
    };
    match run(url, seed, count, form).await {
        Ok(echoed) => {
            println!("{echoed} messages echoed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Sends `count` messages and returns how many came back, which is all of them or an error.
async fn run(url: &str, seed: &str, count: &str, form: &str) -> Result<usize, Box<dyn Error>> {
    let (mut messages, count) = (Messages::new(seed.parse()?), count.parse::<usize>()?);
    let mut socket = Client::new().config(config(form)?).connect(url).await?;
    let extensions = socket.handshake().map_or_else(String::new, |handshake| {
        handshake.extensions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    });
    println!("agreed on {extensions}");
    let mut awaited = VecDeque::new();
    let (mut sent, mut echoed, mut octets) = (0, 0, 0);
    while echoed < count {
        while sent < count && awaited.len() < IN_FLIGHT && octets < OCTETS_IN_FLIGHT {
            let message = messages.draw();
            octets += message.octets().len();
            socket.send(message.to_message()).await?;
            awaited.push_back(message);
            sent += 1;
        }
        let echo = socket.recv().await?.ok_or_else(|| format!("closed after {echoed} echoes"))?;
        let message = awaited.pop_front().ok_or("an echo of nothing")?;
        if !message.is(&echo) {
            return Err(format!(
                "message {echoed}: {} came back different, as {}",
                message.describe(),
                describe(&echo)
            )
            .into());
        }
        octets -= message.octets().len();
        echoed += 1;
    }
    socket.close(1000, "").await?;
    if let Some(message) = socket.recv().await? {
        return Err(format!("after the last echo: {}", describe(&message)).into());
    }
    match socket.close_info() {
        Some(close) if close.clean && close.code == 1000 => Ok(echoed),
        close => Err(format!("not a clean close with 1000: {close:?}").into()),
    }
}

/// How messages are compressed in a form.
fn config(form: &str) -> Result<Config, Box<dyn Error>> {
    let forgets = match form {
        "plain" => None,
        "no-takeover" => Some(true),
        "takeover" => Some(false),
        _ => return Err(format!("no such form: {form}").into()),
    };
    let mut config = Config::default();
    config.deflate = forgets.map(|forgets| {
        let mut deflate = Deflate::default();
        deflate.server_no_context_takeover = Some(forgets);
        deflate.client_no_context_takeover = Some(forgets);
        deflate.threshold = 0;
        deflate
    });
    Ok(config)
}

/// A message that was sent.
enum Sent {
    Text(String),
    Binary(Vec<u8>),
}

impl Sent {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(octets) => octets,
        }
    }

    fn to_message(&self) -> Message {
        match self {
            Self::Text(text) => Message::Text(text.clone().into()),
            Self::Binary(octets) => Message::Binary(octets.clone().into()),
        }
    }

    /// Whether an echo has the same kind and content.
    fn is(&self, echo: &Message) -> bool {
        match (self, echo) {
            (Self::Text(sent), Message::Text(echo)) => sent.as_bytes() == echo.as_bytes(),
            (Self::Binary(sent), Message::Binary(echo)) => sent == echo,
            _ => false,
        }
    }

    fn describe(&self) -> String {
        describe(&self.to_message())
    }
}

fn describe(message: &Message) -> String {
    match message {
        Message::Text(text) => format!("text of {} octets", text.len()),
        Message::Binary(octets) => format!("binary of {} octets", octets.len()),
    }
}

/// The messages for a seed; messages.py and messages.js make the same ones.
struct Messages {
    state: u32,
    text: String,
    binary: Vec<u8>,
}

impl Messages {
    const SIZES: [usize; 7] = [0, 1, 125, 126, 127, 65_535, 65_536];
    const PIECES: [&str; 4] = ["a", "\u{e9}", "\u{20ac}", "\u{1f600}"];
    const MATERIAL: usize = 65_536;
    const LARGEST: usize = 1_048_576;

    fn new(seed: u32) -> Self {
        let mut messages = Self { state: seed, text: String::new(), binary: Vec::new() };
        while messages.text.len() < Self::MATERIAL {
            let piece = Self::PIECES[messages.below(Self::PIECES.len())];
            messages.text.push_str(piece);
        }
        while messages.binary.len() < Self::MATERIAL {
            let octet = messages.below(256);
            messages.binary.push(u8::try_from(octet).unwrap_or_default());
        }
        let copies = Self::LARGEST / Self::MATERIAL + 2;
        messages.text = messages.text.repeat(copies);
        messages.binary = messages.binary.repeat(copies);
        messages
    }

    /// A number from 0 to `limit` - 1, from Marsaglia's xorshift32.
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state as usize % limit
    }

    fn draw(&mut self) -> Sent {
        let size = match self.below(400) {
            0..=1 => Self::LARGEST,
            2..=200 => Self::SIZES[self.below(Self::SIZES.len())],
            _ => self.below(Self::MATERIAL),
        };
        let (is_text, mut start) = (self.below(2) == 0, self.below(Self::MATERIAL));
        if !is_text {
            return Sent::Binary(self.binary[start..start + size].to_vec());
        }
        // Whole characters only; what is then missing from the size is filled up.
        while !self.text.is_char_boundary(start) {
            start += 1;
        }
        let mut end = start + size;
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &self.text[start..end];
        Sent::Text(format!("{text}{}", "~".repeat(size - text.len())))
    }
}
