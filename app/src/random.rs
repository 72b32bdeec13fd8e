//! Unguessable identifiers. `rand::rng` is a cryptographically secure generator seeded by the operating system.

use rand::RngExt;

/// Crockford's base 32: no letter that can be taken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// `length` characters of Crockford's base 32, five random bits each.
pub fn code(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// A user's identifier: 80 random bits.
pub fn user_id() -> String {
    format!("U{}", code(16))
}

/// `seconds` spread by ±20 %, so that what expires together does not come back together.
pub fn jitter(seconds: u64) -> u64 {
    let spread = (seconds / 5).max(1);
    rand::random_range(seconds.saturating_sub(spread).max(1)..=seconds + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_length_and_the_alphabet() {
        let code = code(16);
        assert_eq!(code.len(), 16);
        assert!(code.bytes().all(|b| ALPHABET.contains(&b)), "{code}");
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for _ in 0..1000 {
            assert!((80..=120).contains(&jitter(100)));
            assert!((1..=2).contains(&jitter(1)));
        }
    }
}
