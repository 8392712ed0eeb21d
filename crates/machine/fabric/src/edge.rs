//! The pair of link-local addresses, the names and the MACs of one VPC's edge: pure.
//!
//! The edge is the veth pair between a VPC's router and the host, the host's network being "the internet". Everything
//! follows from one number, the block: the /30 of 169.254.0.0/16 that the pair uses. The kernel shows it in the
//! router's address and in the host link's name, so it needs no store.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

/// The /30 blocks in 169.254.0.0/16.
const BLOCKS: u16 = 1 << 14;
/// The lengths of an instance id and of the host links' names, within the 15 that Linux allows.
pub(crate) const INSTANCE: usize = 6;
const NAME: usize = 2 + INSTANCE + 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge(u16);

impl Edge {
    /// A block for a VPC that overlaps no address in `taken`, the same one whenever possible.
    pub(crate) fn choose(instance: &str, vpc: &str, taken: &BTreeSet<Ipv4Addr>) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        (instance, vpc).hash(&mut hasher);
        let start = (hasher.finish() % u64::from(BLOCKS)) as u16;
        (0..BLOCKS).map(|step| Self((start + step) % BLOCKS)).find(|edge| {
            let block = u32::from(edge.base());
            !edge.is_reserved() && !taken.iter().any(|address| u32::from(*address) & !3 == block)
        })
    }

    /// The edge to which the router's address belongs.
    pub(crate) fn of_router(address: Ipv4Addr) -> Option<Self> {
        let [169, 254, high, low] = address.octets() else { return None };
        Some(Self(u16::from_be_bytes([high, low]) >> 2))
    }

    /// The first and the last /24 are reserved by RFC 3927; 169.254.168.0/22 is AWS's for its own services.
    fn is_reserved(self) -> bool {
        matches!(self.base().octets()[2], 0 | 168..=171 | 255)
    }

    fn base(self) -> Ipv4Addr {
        let [high, low] = (self.0 << 2).to_be_bytes();
        Ipv4Addr::new(169, 254, high, low)
    }

    /// The host's address, the router's next hop for the internet gateway.
    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base()) + 1)
    }

    pub(crate) fn router(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base()) + 2)
    }

    /// Locally administered, as the link is ours alone.
    pub(crate) fn host_mac(self) -> [u8; 6] {
        let [high, low] = self.0.to_be_bytes();
        [0x02, 0, 0, 1, high, low]
    }

    pub(crate) fn router_mac(self) -> [u8; 6] {
        let [high, low] = self.0.to_be_bytes();
        [0x02, 0, 0, 2, high, low]
    }

    /// The name of the host's end.
    pub(crate) fn link(self, instance: &str) -> String {
        format!("pl{instance}{:04x}", self.0)
    }

    /// Whether a link of the host is an edge of this instance.
    pub(crate) fn is_link_of(instance: &str, name: &str) -> bool {
        name.len() == NAME && name.strip_prefix("pl").is_some_and(|rest| rest.starts_with(instance))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_follows_from_the_block() {
        let edge = Edge::of_router(Ipv4Addr::new(169, 254, 3, 6)).unwrap();
        assert_eq!(edge.host().to_string(), "169.254.3.5");
        assert_eq!(edge.router().to_string(), "169.254.3.6");
        assert_eq!(edge.link("a1b2c3"), "pla1b2c300c1");
        assert!(Edge::is_link_of("a1b2c3", "pla1b2c300c1"));
        assert!(!Edge::is_link_of("a1b2c4", "pla1b2c300c1"));
    }

    proptest! {
        #[test]
        fn a_chosen_block_is_free_and_not_reserved(vpc in "[a-z]{1,8}", taken in prop::collection::btree_set(any::<u16>(), 0..50)) {
            let taken: BTreeSet<Ipv4Addr> = taken.into_iter().map(|low| {
                let [high, low] = low.to_be_bytes();
                Ipv4Addr::new(169, 254, high, low)
            }).collect();
            let edge = Edge::choose("a1b2c3", &vpc, &taken).unwrap();
            prop_assert!(!taken.contains(&edge.host()) && !taken.contains(&edge.router()));
            prop_assert!(!matches!(edge.host().octets()[2], 0 | 168..=171 | 255));
            prop_assert_eq!(Edge::of_router(edge.router()), Some(edge));
            let again = BTreeSet::from([edge.host()]);
            prop_assert_ne!(Edge::choose("a1b2c3", &vpc, &again), Some(edge));
        }
    }
}
