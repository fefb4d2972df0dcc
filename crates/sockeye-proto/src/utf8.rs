//! UTF-8 that arrives in pieces (RFC 6455 section 8.1).

/// Checks how far `bytes` is UTF-8: the length of what is whole and right, with at most 3 bytes behind it that may
/// still become a character; `None` at the first byte that no text can hold.
pub(crate) fn valid_prefix(bytes: &[u8]) -> Option<usize> {
    match simdutf8::compat::from_utf8(bytes) {
        Ok(_) => Some(bytes.len()),
        Err(error) if error.error_len().is_none() => Some(error.valid_up_to()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_far_the_text_goes() {
        let cases: &[(&str, &[u8], Option<usize>)] = &[
            ("nothing", b"", Some(0)),
            ("ASCII", b"sockeye", Some(7)),
            ("a whole character", "κ".as_bytes(), Some(2)),
            ("a character begun", &[b'a', 0xCE], Some(1)),
            ("3 bytes of 4", &[b'a', 0xF0, 0x9F, 0x90], Some(1)),
            ("a continuation byte alone", &[0x80], None),
            ("an overlong form", &[0xC0], None),
            ("a surrogate, at its second byte", &[0xED, 0xA0], None),
            ("beyond U+10FFFF, at its second byte", &[0xF4, 0x90], None),
            ("a wrong byte behind 100 right ones", &[&[b'a'; 100][..], &[0xFF]].concat(), None),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(valid_prefix(bytes), *expected, "{name}");
        }
    }
}
