//! What compute asks of the other domains, in one place: interfaces, targets, images.

use std::net::Ipv4Addr;

use pileus_aws::ecs;
use pileus_core::{IdGen, Timestamp};
use pileus_state::Tx;

use crate::service::view::{Cause, Health};
use crate::task::record::TaskNetwork;

pub(crate) fn zone_of(_tx: &Tx, _subnet: &str) -> Option<String> { None }
pub(crate) fn attach(_tx: &mut Tx, _ids: &mut IdGen, _now: Timestamp, _subnets: &[String], _network: &ecs::AwsVpcConfiguration, _task: &str) -> Result<TaskNetwork, String> { Err(String::new()) }
pub(crate) fn is_attached(_tx: &Tx, _interface: &str) -> bool { false }
pub(crate) fn detach(_tx: &mut Tx, _interface: &str) {}
pub(crate) fn register(_tx: &mut Tx, _g: &str, _a: Ipv4Addr, _p: u16, _z: &str, _n: Timestamp) -> bool { false }
pub(crate) fn deregister(_tx: &mut Tx, _g: &str, _a: Ipv4Addr, _p: u16, _n: Timestamp) {}
pub(crate) fn is_draining(_tx: &Tx, _g: &str, _a: Ipv4Addr, _p: u16) -> bool { false }
pub(crate) fn health(_tx: &Tx, _g: &str, _a: Ipv4Addr, _p: u16) -> Health { Health::Unhealthy(Cause::Target{target_group:String::new(),port:0,reason:String::new()}) }
pub(crate) fn resolve_image(_tx: &mut Tx, _image: &str) -> Result<String, String> { Err(String::new()) }
