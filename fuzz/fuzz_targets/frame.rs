//! Any bytes are a frame's header, none or not yet; what is one is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_proto::BytesMut;
use sockeye_proto::frame::{FrameHeader, MAX_HEADER};

fuzz_target!(|bytes: &[u8]| {
    let parsed = FrameHeader::parse(bytes);
    // The bytes up to the one that decides say "more", and those behind it change nothing.
    let decided = (0..=bytes.len()).find(|end| FrameHeader::parse(&bytes[..*end]) != Ok(None));
    match decided {
        None => assert_eq!(parsed, Ok(None)),
        Some(end) => {
            assert!(end <= MAX_HEADER);
            (end..=bytes.len()).for_each(|end| assert_eq!(FrameHeader::parse(&bytes[..end]), parsed));
        }
    }
    if let Ok(Some((header, length))) = parsed {
        assert_eq!(Some(length), decided);
        assert!(header.length < 1 << 63);
        assert!(!header.opcode.is_control() || header.fin && header.length <= 125);
        let mut written = BytesMut::new();
        header.write(&mut written);
        assert_eq!(&written[..], &bytes[..length]);
    }
});
