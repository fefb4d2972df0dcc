//! What a server sends, made fit for a terminal: it must not drive it.

use std::borrow::Cow;
use std::fmt::Write;

use sockeye::Message;

/// How many bytes of a binary message are shown.
const DUMPED: usize = 16;

/// A line of text with what would drive a terminal, or turn the order of the characters in it, made visible.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(drives) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if !drives(char) {
            shown.push(char);
        } else if char.is_ascii() {
            let _ = write!(shown, "\\x{:02x}", u32::from(char));
        } else {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(char));
        }
    }
    shown.into()
}

/// Control characters but the tab, and those that set the direction of text or break lines (Unicode's `Bidi_Control`, and
/// U+2028 and U+2029).
fn drives(char: char) -> bool {
    (char.is_control() && char != '\t')
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A message in lines for a terminal, each behind `margin`, the further ones behind as many spaces, so that no text can
/// pass itself off as something else.
pub(super) fn rendered(message: &Message, margin: &str) -> String {
    let Message::Text(text) = message else { return format!("{margin}{}\n", dump(message.as_bytes())) };
    let mut shown = String::new();
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let _ = writeln!(shown, "{margin}{}", escaped(first));
    for line in lines {
        let _ = writeln!(shown, "{:1$}{2}", "", margin.len(), escaped(line));
    }
    shown
}

/// The beginning of a binary message, and its size.
fn dump(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(DUMPED)];
    let mut line = match bytes.len() {
        1 => "binary, 1 byte:".to_owned(),
        length => format!("binary, {length} bytes:"),
    };
    for byte in shown {
        let _ = write!(line, " {byte:02x}");
    }
    if shown.len() < bytes.len() {
        line.push_str(" …");
    }
    line
}

/// All of a binary message.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_escaped() {
        let cases = [
            ("plain, ünïcode, 魚, 🐟, a\ttab", "plain, ünïcode, 魚, 🐟, a\ttab"),
            ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("over\rwritten\x08", "over\\x0dwritten\\x08"),
            ("nul \0 del \x7f", "nul \\x00 del \\x7f"),
            ("C1 CSI \u{9b}2J", "C1 CSI \\u{9b}2J"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            (
                "\u{2066}isolate\u{2069}, \u{61c}\u{200e}\u{200f}",
                "\\u{2066}isolate\\u{2069}, \\u{61c}\\u{200e}\\u{200f}",
            ),
            ("family: 👨\u{200d}👩\u{200d}👧", "family: 👨\u{200d}👩\u{200d}👧"),
        ];
        for (text, shown) in cases {
            assert_eq!(escaped(text), shown, "{text:?}");
        }
    }

    #[test]
    fn messages_are_rendered_behind_a_margin() {
        let rendered = |message: Message| rendered(&message, "< ");
        assert_eq!(rendered("hello".into()), "< hello\n");
        assert_eq!(rendered("".into()), "< \n");
        assert_eq!(rendered("one\r\ntwo\n> three\n".into()), "< one\n  two\n  > three\n  \n");
        assert_eq!(rendered(Message::Binary(vec![0, 0xff].into())), "< binary, 2 bytes: 00 ff\n");
        assert_eq!(rendered(Message::Binary(vec![7].into())), "< binary, 1 byte: 07\n");
        let long = rendered(Message::Binary(vec![0xab; 1 << 20].into()));
        assert!(long.ends_with("ab ab …\n") && long.len() <= 81, "{long}");
        assert_eq!(hex(&[0, 0xff, 0x10]), "00ff10");
    }
}
