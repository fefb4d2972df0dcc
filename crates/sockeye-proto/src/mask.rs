//! Masking (RFC 6455 section 5.3) and the keys for it.

use std::cell::RefCell;

/// Masks or unmasks `payload` in place; `key` is the masking key, turned so that its first byte is for the first
/// byte of `payload` (RFC 6455 section 5.3).
///
/// Returns the key turned for the byte that follows, so that a payload may be masked piece by piece.
#[must_use = "the key for the next piece of the same payload"]
#[inline]
pub fn mask(payload: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    // RFC 6455 section 5.3: "j = i MOD 4; transformed-octet-i = original-octet-i XOR masking-key-octet-j"
    let word = u32::from_ne_bytes(key);
    let wide = u128::from(word) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let (blocks, rest) = payload.as_chunks_mut::<16>();
    for block in blocks {
        *block = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut next = key;
    next.rotate_left(rest.len());
    next
}

/// A fresh masking key that the peer cannot predict (RFC 6455 sections 5.3 and 10.3), out of a block of the operating
/// system's random numbers that each thread keeps.
///
/// # Panics
///
/// If the operating system has no random numbers to give.
pub fn random_masking_key() -> [u8; 4] {
    const KEYS: usize = 256;
    struct Block {
        bytes: [u8; 4 * KEYS],
        used: usize,
    }
    thread_local! {
        static BLOCK: RefCell<Block> = const { RefCell::new(Block { bytes: [0; 4 * KEYS], used: KEYS }) };
    }
    BLOCK.with_borrow_mut(|block| {
        if block.used == KEYS {
            getrandom::fill(&mut block.bytes).expect("the operating system's random number generator");
            block.used = 0;
        }
        let start = 4 * block.used;
        block.used += 1;
        std::array::from_fn(|i| block.bytes[start + i])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_as_the_formula_says_at_every_length_and_split() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..100).collect();
        for length in 0..plain.len() {
            let expected: Vec<u8> = plain[..length].iter().zip(0..).map(|(b, i)| b ^ key[i % 4]).collect();
            for split in 0..=length {
                let mut masked = plain[..length].to_vec();
                let (head, tail) = masked.split_at_mut(split);
                let next = mask(head, key);
                let _ = mask(tail, next);
                assert_eq!(masked, expected, "length {length}, split at {split}");
            }
        }
    }

    #[test]
    fn keys_differ_from_frame_to_frame() {
        let keys: std::collections::HashSet<_> = (0..1000).map(|_| random_masking_key()).collect();
        assert!(keys.len() > 990, "only {} different keys of 1000", keys.len());
    }
}
