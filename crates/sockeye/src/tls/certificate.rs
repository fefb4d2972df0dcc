//! The few fields of a certificate that an error tells of (RFC 5280 section 4.1). Nothing is decided by them.

/// The tags (X.690 section 8).
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The tag of the version, which may be left out.
const VERSION: u8 = 0xa0;

/// The attributes of a name that are shown: object identifier, and name in RFC 4514 section 3 or RFC 2985.
const ATTRIBUTES: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// A certificate's fields; names as they are encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certificate<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) not_before: Time<'a>,
    pub(super) not_after: Time<'a>,
    pub(super) subject: &'a [u8],
}

/// A time as it is encoded: tag and text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time<'a>(u8, &'a [u8]);

impl<'a> Certificate<'a> {
    /// Reads a certificate; `None` if it is malformed.
    pub(super) fn read(mut der: &'a [u8]) -> Option<Self> {
        let mut certificate = expect(&mut der, SEQUENCE)?;
        let mut fields = expect(&mut certificate, SEQUENCE)?;
        let (first, _) = take(&mut fields)?;
        if first == VERSION {
            let _serial_number = take(&mut fields)?;
        }
        let _signature = expect(&mut fields, SEQUENCE)?;
        let issuer = expect(&mut fields, SEQUENCE)?;
        let mut validity = expect(&mut fields, SEQUENCE)?;
        let (not_before, not_after) = (take(&mut validity)?, take(&mut validity)?);
        let subject = expect(&mut fields, SEQUENCE)?;
        let time = |(tag, text)| Time(tag, text);
        Some(Self { issuer, not_before: time(not_before), not_after: time(not_after), subject })
    }
}

impl Time<'_> {
    /// Whether it is so many seconds after 1970.
    pub(super) fn is(self, seconds: u64) -> bool {
        let (year, month, day, hour, minute, second) = utc(seconds);
        let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
        match self.0 {
            // RFC 5280 section 4.1.2.5.1: "YYMMDDHHMMSSZ"
            UTC_TIME => self.1 == &text.as_bytes()[2..],
            // RFC 5280 section 4.1.2.5.2: "YYYYMMDDHHMMSSZ"
            GENERALIZED_TIME => self.1 == text.as_bytes(),
            _ => false,
        }
    }
}

/// Year, month, day, hour, minute and second of so many seconds after 1970 (UTC).
pub(super) fn utc(seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, so that a leap day is a year's last day; in eras of 400 years, which are all alike.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
}

/// A name as RFC 4514 section 2 writes it, the attributes that few know left out.
pub(super) fn name(mut name: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some(mut attributes) = expect(&mut name, SET) {
        while let Some(mut attribute) = expect(&mut attributes, SEQUENCE) {
            let Some(oid) = expect(&mut attribute, OID) else { break };
            let Some((tag, value)) = take(&mut attribute) else { break };
            if let Some((_, known)) = ATTRIBUTES.iter().find(|(known, _)| *known == oid) {
                parts.push(format!("{known}={}", escape(&text(tag, value))));
            }
        }
    }
    // RFC 4514 section 2.1: "starting with the last element of the sequence and moving backwards toward the first"
    parts.reverse();
    parts.join(",")
}

fn text(tag: u8, value: &[u8]) -> String {
    if tag == BMP_STRING {
        let units: Vec<u16> =
            value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(value).into_owned()
}

fn escape(value: &str) -> String {
    // RFC 4514 section 2.4: "each character to be escaped [...] is prefixed with a backslash"
    value.chars().fold(String::new(), |mut escaped, character| {
        if "\"+,;<>\\".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
        escaped
    })
}

/// Takes a value of this tag.
fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    take(input).filter(|(found, _)| *found == tag).map(|(_, content)| content)
}

/// Takes a value: its tag and its content (X.690 sections 8.1 and 10.1).
fn take<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, length], rest) = input.split_first_chunk()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if !(1..=4).contains(&bytes.len()) {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((tag, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_dates() {
        for (seconds, date) in [
            (0, (1970, 1, 1, 0, 0, 0)),
            (86_399, (1970, 1, 1, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (1_582_934_400, (2020, 2, 29, 0, 0, 0)),
            (1_614_556_800, (2021, 3, 1, 0, 0, 0)),
            (1_735_689_599, (2024, 12, 31, 23, 59, 59)),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
            (253_402_300_799, (9999, 12, 31, 23, 59, 59)),
        ] {
            assert_eq!(utc(seconds), date, "{seconds}");
        }
    }

    #[test]
    fn a_time_is_compared_in_both_forms() {
        assert!(Time(UTC_TIME, b"200229000000Z").is(1_582_934_400));
        assert!(Time(GENERALIZED_TIME, b"20200229000000Z").is(1_582_934_400));
        assert!(!Time(UTC_TIME, b"200229000001Z").is(1_582_934_400));
        assert!(!Time(OID, b"200229000000Z").is(1_582_934_400));
    }

    /// Tag, length and content.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        der(SET, &der(SEQUENCE, &[der(OID, oid), der(tag, value)].concat()))
    }

    #[test]
    fn names_are_written_from_the_last_part_to_the_first() {
        let parts = [
            attribute(&[0x55, 4, 6], 0x13, b"DE"),
            attribute(&[0x55, 4, 10], 0x0c, "Bücher, \"AG\"".as_bytes()),
            attribute(&[0x55, 4, 5], 0x0c, b"a serial number"),
            attribute(&[0x55, 4, 3], BMP_STRING, &[0, b'a', 0x20, 0xac]),
        ];
        assert_eq!(name(&parts.concat()), "CN=a\u{20ac},O=B\u{fc}cher\\, \\\"AG\\\",C=DE");
        assert_eq!(name(&[]), "");
    }

    #[test]
    fn a_certificate_that_is_cut_off_or_wrong_is_none() {
        let time = |text: &[u8]| der(UTC_TIME, text);
        let validity = [time(b"200101000000Z"), time(b"210101000000Z")].concat();
        let names = [attribute(&[0x55, 4, 3], 0x0c, b"ca"), attribute(&[0x55, 4, 3], 0x0c, b"leaf")];
        let fields = [
            der(VERSION, &[2, 1, 2]),
            der(2, &[1]),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &names[0]),
            der(SEQUENCE, &validity),
            der(SEQUENCE, &names[1]),
        ];
        let whole = der(SEQUENCE, &der(SEQUENCE, &fields.concat()));
        let read = Certificate::read(&whole).unwrap();
        assert_eq!((name(read.issuer), name(read.subject)), ("CN=ca".into(), "CN=leaf".into()));
        assert!(read.not_before.is(1_577_836_800) && read.not_after.is(1_609_459_200));
        for end in 0..whole.len() {
            assert!(Certificate::read(&whole[..end]).is_none(), "{end}");
        }
        for index in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[index] ^= 0xff;
            if let Some(read) = Certificate::read(&wrong) {
                let _ = (name(read.issuer), name(read.subject));
            }
        }
        for length in [&[0x80][..], &[0x85, 0, 0, 0, 0, 1], &[0xff], &[0x84, 0xff, 0xff, 0xff, 0xff]] {
            assert!(Certificate::read(&[&[SEQUENCE], length, &[0; 8]].concat()).is_none(), "{length:?}");
        }
    }
}
