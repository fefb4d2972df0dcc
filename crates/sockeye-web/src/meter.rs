//! How much application data has been transmitted to the network: what was encoded, without the framing, and what of it was written.

use std::collections::VecDeque;

/// Counts in the bytes of the encoded stream, and gives bytes of application data.
///
/// It knows how many encoded bytes wait to be written, and so where the end of the last message is; control frames behind it make what was
/// written look less for a moment, never more.
#[derive(Default)]
pub(crate) struct Meter {
    /// How far the stream has been written, as far as is known.
    written: u64,
    /// Messages that have not been written to their ends.
    waiting: VecDeque<Encoded>,
    /// The application data of those before them.
    done: u64,
    /// What was told last.
    told: u64,
}

/// One message in the stream.
struct Encoded {
    /// Where it ends.
    end: u64,
    /// How long it is there: more than its data with a header, less if it is compressed.
    length: u64,
    /// How many bytes of application data it holds.
    data: u64,
}

impl Meter {
    /// A message of `data` bytes was encoded: so many bytes waited to be written before that, and so many after.
    pub(crate) fn encoded(&mut self, data: usize, before: usize, after: usize) {
        self.advance(before);
        let end = self.written + after as u64;
        self.waiting.push_back(Encoded {
            end,
            length: after.saturating_sub(before) as u64,
            data: data as u64,
        });
    }

    /// How much application data has been transmitted in all, if that is more than it was.
    pub(crate) fn transmitted(&mut self, unwritten: usize) -> Option<u64> {
        self.advance(unwritten);
        let part = self.waiting.front().map_or(0, |message| {
            let rest = (message.end - self.written).min(message.length);
            message.data * (message.length - rest) / message.length.max(1)
        });
        let total = self.done + part;
        (std::mem::replace(&mut self.told, total) != total).then_some(total)
    }

    fn advance(&mut self, unwritten: usize) {
        let Some(last) = self.waiting.back() else { return };
        self.written = self.written.max(last.end.saturating_sub(unwritten as u64));
        while let Some(message) = self.waiting.front()
            && message.end <= self.written
        {
            self.done += message.data;
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Meter;

    #[test]
    fn what_is_written_of_a_message_counts_without_its_header() {
        let mut meter = Meter::default();
        meter.encoded(100, 0, 106);
        assert_eq!(meter.transmitted(106), None);
        assert_eq!(meter.transmitted(53), Some(50));
        assert_eq!(meter.transmitted(53), None, "told already");
        meter.encoded(1000, 53, 53 + 508);
        assert_eq!(meter.transmitted(508), Some(100));
        assert_eq!(meter.transmitted(254), Some(600), "half of it, compressed to half");
        assert_eq!(meter.transmitted(0), Some(1100));
    }

    #[test]
    fn control_frames_never_count() {
        let mut meter = Meter::default();
        meter.encoded(10, 6, 22);
        assert_eq!(meter.transmitted(22 + 8), None, "a pong behind it");
        assert_eq!(meter.transmitted(16 + 8), None, "the ping before it is written");
        assert_eq!(meter.transmitted(0), Some(10));
        meter.encoded(0, 0, 6);
        assert_eq!(meter.transmitted(0), None, "an empty message is no data");
    }
}
