//! `X-Amzn-Trace-Id`: made, or extended with `Self`, as ALB does.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html>

use std::hash::{BuildHasher, RandomState};

use super::headers::trim;

/// ALB rewrites the header to `Root` alone when the request's headers are longer than this.
const MAX_HEADERS_KEPT: usize = 7 * 1024;

/// A small generator (xorshift64*): ids must be unlikely to repeat, not unguessable.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(RandomState::new().hash_one(std::process::id()) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Writes the header's value. `received` is the client's value, `head_len` the length of the request's head.
pub(crate) fn write(
    out: &mut Vec<u8>,
    received: Option<&[u8]>,
    head_len: usize,
    epoch_secs: u64,
    random: &mut Random,
) {
    let Some(received) = received.filter(|_| head_len <= MAX_HEADERS_KEPT) else {
        return write_id(out, b"Root=", epoch_secs, random);
    };
    let fields = || received.split(|&byte| byte == b';').map(trim).filter(|field| !field.is_empty());
    let has_root = fields().any(|field| field.starts_with(b"Root="));
    write_id(out, if has_root { b"Self=" } else { b"Root=" }, epoch_secs, random);
    for field in fields().filter(|field| !field.starts_with(b"Self=")) {
        out.push(b';');
        out.extend_from_slice(field);
    }
}

fn write_id(out: &mut Vec<u8>, name: &[u8], epoch_secs: u64, random: &mut Random) {
    out.extend_from_slice(name);
    out.extend_from_slice(b"1-");
    write_hex(out, epoch_secs, 8);
    out.push(b'-');
    write_hex(out, random.next(), 16);
    write_hex(out, random.next(), 8);
}

/// The lowest `digits` hexadecimal digits of `value`.
fn write_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * digit) & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(received: Option<&str>, head_len: usize) -> String {
        let mut out = Vec::new();
        write(&mut out, received.map(str::as_bytes), head_len, 0x5f84_9c01, &mut Random::new());
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn makes_a_root() {
        let made = value(None, 100);
        assert!(made.starts_with("Root=1-5f849c01-") && made.len() == 16 + 24, "{made}");
        assert_ne!(made, value(None, 100));
    }

    #[test]
    fn puts_itself_before_a_given_root() {
        let made = value(Some("Self=1-1-1;Root=1-67891233-abcdef012345678912345678;CalledFrom=app"), 100);
        assert!(made.starts_with("Self=1-5f849c01-"), "{made}");
        assert!(made.ends_with(";Root=1-67891233-abcdef012345678912345678;CalledFrom=app"), "{made}");
        assert_eq!(made.matches("Self=").count(), 1);
    }

    #[test]
    fn adds_a_root_to_other_fields_and_drops_them_from_long_heads() {
        assert!(value(Some("CalledFrom=app"), 100).ends_with(";CalledFrom=app"));
        let made = value(Some("Root=1-1-1;a=b"), 8 * 1024);
        assert!(made.starts_with("Root=1-5f849c01-") && made.len() == 40, "{made}");
    }
}
