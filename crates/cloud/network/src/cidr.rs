//! Address blocks: how clients write them, and which address is free.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html>

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pileus_core::ApiError;

use crate::resource::invalid;

/// Parses a block and cuts off its host bits, as AWS does: `100.68.0.18/18` is `100.68.0.0/18`.
pub(crate) fn parse(text: &str, parameter: &str) -> Result<Ipv4Net, ApiError> {
    match text.parse::<Ipv4Net>() {
        Ok(block) => Ok(block.trunc()),
        Err(_) => Err(invalid(format!(
            "Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block."
        ))),
    }
}

/// Whether two blocks share an address.
pub(crate) fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// The addresses of a block that can be handed out. AWS keeps the first `reserved` and the last one for itself.
pub(crate) fn usable(block: Ipv4Net, reserved: u32) -> std::ops::Range<u32> {
    u32::from(block.network()).saturating_add(reserved)..u32::from(block.broadcast())
}

/// The first unused address after `last`, going around: an address that was just given back is used again only
/// when all others have been.
pub(crate) fn next_free(
    range: std::ops::Range<u32>,
    last: Option<Ipv4Addr>,
    used: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let start =
        last.map(|last| u32::from(last) + 1).filter(|next| range.contains(next)).unwrap_or(range.start);
    let mut around = (start..range.end).chain(range.start..start).map(Ipv4Addr::from);
    around.find(|address| !used.contains(address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn host_bits_are_cut_off() {
        assert_eq!(parse("100.68.0.18/18", "x").map(|block| block.to_string()), Ok("100.68.0.0/18".into()));
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/0", "", "a/8"] {
            assert_eq!(
                parse(bad, "cidrBlock").map_err(|error| error.code),
                Err("InvalidParameterValue".into())
            );
        }
    }

    fn block() -> impl Strategy<Value = Ipv4Net> {
        (0_u32..=0xff, 24_u8..=32).prop_map(|(host, length)| {
            Ipv4Net::new(Ipv4Addr::from(0x0a00_0000 | host), length).expect("the length is in range").trunc()
        })
    }

    proptest! {
        /// Blocks overlap exactly when some address lies in both.
        #[test]
        fn overlap_is_a_shared_address(one in block(), other in block()) {
            let shared = (0_u32..=0xff).map(|host| Ipv4Addr::from(0x0a00_0000 | host));
            let shared = shared.into_iter().any(|address| one.contains(&address) && other.contains(&address));
            prop_assert_eq!(overlap(one, other), shared);
        }

        /// What is found is free and in range; nothing is found only when nothing is free.
        #[test]
        fn a_free_address_is_free(
            used in proptest::collection::btree_set(0_u32..16, 0..16),
            last in proptest::option::of(0_u32..20),
        ) {
            let used: BTreeSet<Ipv4Addr> = used.into_iter().map(Ipv4Addr::from).collect();
            let free = (4..15).map(Ipv4Addr::from).any(|address| !used.contains(&address));
            let found = next_free(4..15, last.map(Ipv4Addr::from), &used);
            prop_assert_eq!(found.is_some(), free);
            if let Some(found) = found {
                prop_assert!((4..15).contains(&u32::from(found)) && !used.contains(&found));
                prop_assert!(last != Some(u32::from(found)) || used.len() >= 10, "an address comes back at once");
            }
        }
    }
}
