//! The id of a container on this host, in the form of Fargate's `DockerId`: the task's id and ten digits.

use sha2::{Digest, Sha256};

/// Follows from the task and the container's name, so it is known before the task starts.
pub fn runtime_id(task: &str, container: &str) -> String {
    let hash = Sha256::digest(container.as_bytes());
    let [a, b, c, d, e, ..] = hash[..] else { unreachable!("SHA-256 has 32 bytes") };
    let number = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]) % 10_000_000_000;
    format!("{task}-{number:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_fargates_form() {
        let id = runtime_id("cd189a933e5849daa93386466019ab50", "web");
        let (task, digits) = id.split_once('-').unwrap();
        assert_eq!((task.len(), digits.len()), (32, 10));
        assert!(digits.bytes().all(|digit| digit.is_ascii_digit()));
        assert_ne!(id, runtime_id("cd189a933e5849daa93386466019ab50", "log"));
    }
}
