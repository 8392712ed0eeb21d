//! The public addresses of this engine: a /24 of 198.18.0.0/15, which the internet routes nowhere (RFC 2544), so that
//! no address of Pileus can be mistaken for somebody's. All accounts and regions draw from the one pool. Its last two
//! addresses are the AWS APIs'.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pileus_core::{ApiError, Scope};
use pileus_state::{Record, State, Tx};
use serde::{Deserialize, Serialize};

use crate::cidr::{next_free, usable};
use crate::endpoints::Service;

/// Where public addresses are from.
pub const RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// The pool of an engine that was not told another one.
const DEFAULT_POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 24);

/// Which part of the range is this engine's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub pool: Ipv4Net,
    /// The address that was handed out last.
    last: Option<Ipv4Addr>,
}

impl Settings {
    const KEY: &str = "settings";
}

impl Record for Settings {
    const KIND: &'static str = "ec2/settings";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

/// A public address in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublicAddress {
    pub address: Ipv4Addr,
    /// The allocation or interface that has it.
    pub owner: String,
}

impl Record for PublicAddress {
    const KIND: &'static str = "ec2/public-address";

    fn key(&self) -> String {
        self.address.to_string()
    }
}

/// Where the AWS APIs are on the internet of this machine: the last addresses of the engine's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiAddresses {
    /// S3's own address, so that routes and rules can tell it from the other services.
    pub s3: Ipv4Addr,
    pub others: Ipv4Addr,
}

impl ApiAddresses {
    pub(crate) fn of(self, service: &Service) -> Ipv4Addr {
        if service == Service::s3() { self.s3 } else { self.others }
    }
}

/// How many addresses at the end of the pool are the APIs'.
const APIS: u32 = 2;

/// The engine's own scope, which is no account's.
fn engine() -> Scope {
    Scope::new("engine", "aws-global")
}

/// The pool that this engine has had so far, if it has had one.
pub fn configured(state: &State) -> Option<Ipv4Net> {
    state.get::<Settings>(&engine(), Settings::KEY).map(|settings| settings.pool)
}

/// The addresses of the APIs.
pub fn apis(state: &State) -> ApiAddresses {
    let end = usable(configured(state).unwrap_or(DEFAULT_POOL), 1).end;
    ApiAddresses { s3: Ipv4Addr::from(end - 2), others: Ipv4Addr::from(end - 1) }
}

/// Says which /24 of [`RANGE`] is this engine's: called at every start. The first call counts, so that addresses in
/// use stay what they are. Returns the pool that is in force.
pub fn configure(tx: &mut Tx, pool: Ipv4Net) -> Ipv4Net {
    tx.within(engine(), |tx| {
        if tx.get::<Settings>(Settings::KEY).is_none() {
            tx.put(Settings { pool, last: None });
        }
        settings(tx).pool
    })
}

fn settings(tx: &Tx) -> Settings {
    let stored = tx.get::<Settings>(Settings::KEY);
    stored.map_or(Settings { pool: DEFAULT_POOL, last: None }, |stored| Settings::clone(&stored))
}

/// Takes an address for `owner`.
pub(crate) fn take(tx: &mut Tx, owner: &str) -> Result<Ipv4Addr, ApiError> {
    tx.within(engine(), |tx| {
        let settings = settings(tx);
        let used: BTreeSet<Ipv4Addr> = tx.list::<PublicAddress>().iter().map(|used| used.address).collect();
        let range = usable(settings.pool, 1);
        let Some(address) = next_free(range.start..range.end - APIS, settings.last, &used) else {
            let message =
                format!("The maximum number of addresses has been reached: {} has no more.", settings.pool);
            return Err(ApiError::client("AddressLimitExceeded", message));
        };
        tx.put(PublicAddress { address, owner: owner.to_owned() });
        tx.put(Settings { last: Some(address), ..settings });
        Ok(address)
    })
}

pub(crate) fn give_back(tx: &mut Tx, address: Ipv4Addr) {
    tx.within(engine(), |tx| tx.delete::<PublicAddress>(&address.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cloud;

    #[test]
    fn the_first_pool_counts_and_is_finite() {
        let mut cloud = cloud();
        let pool = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 7, 0), 24);
        assert_eq!(cloud.write(|cx| configure(cx.tx, pool)), pool);
        assert_eq!(cloud.write(|cx| configure(cx.tx, DEFAULT_POOL)), pool);
        let taken: BTreeSet<Ipv4Addr> =
            (0..252).map(|_| cloud.write(|cx| take(cx.tx, "x")).unwrap()).collect();
        assert_eq!(taken.len(), 252);
        assert!(taken.iter().all(|address| pool.contains(address)));
        assert_eq!(cloud.write(|cx| take(cx.tx, "x")).unwrap_err().code, "AddressLimitExceeded");
        let any = *taken.first().unwrap();
        cloud.write(|cx| give_back(cx.tx, any));
        assert_eq!(cloud.write(|cx| take(cx.tx, "x")), Ok(any));
    }

    #[test]
    fn all_accounts_share_the_pool() {
        let mut cloud = cloud();
        let one = cloud.write(|cx| take(cx.tx, "x")).unwrap();
        cloud.scope = Scope::new("111111111111", "eu-west-1");
        assert_ne!(cloud.write(|cx| take(cx.tx, "x")).unwrap(), one);
    }
}
