//! New ids in AWS's shapes, from a seeded generator: the same seed gives the same ids, so that a simulation
//! can be replayed. The engine seeds it from the operating system.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng};

/// A source of ids. Not for secrets: those come from the operating system at the edge.
pub struct IdGen(StdRng);

impl IdGen {
    pub fn seeded(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A generator of its own, so that its user does not keep others from this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(StdRng::from_rng(&mut self.0))
    }

    /// `length` lower-case hexadecimal digits.
    pub fn hex(&mut self, length: usize) -> String {
        self.pick(b"0123456789abcdef", length)
    }

    /// An EC2-style id: `prefix-` and 17 hexadecimal digits, the first of them zero.
    pub fn ec2(&mut self, prefix: &str) -> String {
        format!("{prefix}-0{}", self.hex(16))
    }

    /// `length` decimal digits, the first not zero.
    pub fn digits(&mut self, length: usize) -> String {
        let first = self.pick(b"123456789", 1);
        first + &self.pick(b"0123456789", length.saturating_sub(1))
    }

    /// `length` letters and digits of mixed case.
    pub fn alphanumeric(&mut self, length: usize) -> String {
        self.pick(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", length)
    }

    /// `length` of the characters of IAM's unique ids and access keys.
    pub fn base32(&mut self, length: usize) -> String {
        self.pick(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length)
    }

    /// A random (version 4) UUID.
    pub fn uuid(&mut self) -> String {
        let mut bytes = [0_u8; 16];
        self.0.fill_bytes(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// A uniformly drawn index below `bound`; 0 for an empty range.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.0.random_range(0..bound) }
    }

    fn pick(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(alphabet[self.0.random_range(0..alphabet.len())])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let (mut one, mut two) = (IdGen::seeded(7), IdGen::seeded(7));
        assert_eq!(one.ec2("vpc"), two.ec2("vpc"));
        assert_ne!(one.hex(32), one.hex(32));
    }

    #[test]
    fn shapes_are_those_of_aws() {
        let mut ids = IdGen::seeded(1);
        let vpc = ids.ec2("vpc");
        assert!(vpc.starts_with("vpc-0") && vpc.len() == 21, "{vpc}");
        let uuid = ids.uuid();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(ids.digits(19).len(), 19);
    }
}
