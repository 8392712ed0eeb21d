//! Carries out a whole spec: VPC by VPC, each by its difference from what is in force.
//!
//! The order keeps every moment safe: a router has its firewall before it has links, an interface is wired before
//! anything is routed to it, and the links of what goes are deleted before the rules that covered them. Each step may be
//! repeated. After a failure the VPC is forgotten, and asked of the kernel by the next call.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use pileus_contract::fabric::{FabricSpec, FlowCounts, VpcSpec};

use crate::check::{self, Seen};
use crate::edge::Edge;
use crate::error::{FabricError, Result};
use crate::firewall;
use crate::flows;
use crate::host::Host;
use crate::interface;
use crate::namespace;
use crate::router::{Router, subnet_of};
use crate::routing::Routing;

/// What is known of the networks of one engine.
#[derive(Debug)]
pub(crate) struct Networks {
    /// Where the namespaces are mounted.
    directory: PathBuf,
    host: Host,
    routers: BTreeMap<String, Router>,
    isolated_zones: BTreeSet<String>,
    /// The edge and the public addresses of each VPC, kept while a VPC is in trouble.
    published: BTreeMap<String, (Edge, BTreeSet<Ipv4Addr>)>,
    /// The names in the directory, once it was looked at.
    names: Option<BTreeSet<String>>,
}

impl Networks {
    pub(crate) fn new(directory: PathBuf, host: Host) -> Self {
        Self {
            directory,
            host,
            routers: BTreeMap::new(),
            isolated_zones: BTreeSet::new(),
            published: BTreeMap::new(),
            names: None,
        }
    }

    /// Brings everything to `spec`, as far as it can; returns what could not be done.
    pub(crate) fn apply(&mut self, spec: &FabricSpec) -> Vec<FabricError> {
        let mut failures = Vec::new();
        if let Err(error) = self.remove_others(spec) {
            failures.push(error);
        }
        let mut seen = Seen::default();
        let api = spec.api.as_ref().map_or(Ok(()), |api| check::api(api, &mut seen));
        failures.extend(api.err());
        for vpc in &spec.vpcs {
            let problems = match check::vpc(vpc, &mut seen) {
                Ok(()) => self.apply_vpc(vpc, &spec.isolated_zones),
                Err(problem) => vec![problem],
            };
            if !problems.is_empty() {
                self.forget(&vpc.id);
            }
            failures.extend(problems.into_iter().map(|problem| problem.of(&vpc.id)));
        }
        self.isolated_zones.clone_from(&spec.isolated_zones);
        if let Err(error) = self.publish(spec) {
            failures.push(error);
        }
        failures
    }

    /// What was counted of a VPC's flows.
    pub(crate) fn flows(&self, vpc: &str) -> Result<Vec<FlowCounts>> {
        let router = self.routers.get(vpc).ok_or_else(|| FabricError::NotCounted(vpc.to_owned()))?;
        flows::read(&router.namespace)
    }

    /// Removes the namespaces, whole or half-made, that the spec does not name.
    fn remove_others(&mut self, spec: &FabricSpec) -> Result<()> {
        let mut names = match self.names.take() {
            Some(names) => names,
            None => self.look()?,
        };
        let wanted: BTreeSet<&str> = spec.vpcs.iter().flat_map(check::names).collect();
        self.routers.retain(|id, _| wanted.contains(id.as_str()));
        self.published.retain(|id, _| wanted.contains(id.as_str()));
        let gone: Vec<String> =
            names.iter().filter(|name| !wanted.contains(name.as_str())).cloned().collect();
        for name in gone {
            namespace::remove(&self.directory.join(&name))?;
            names.remove(&name);
        }
        self.names = Some(names);
        Ok(())
    }

    fn look(&self) -> Result<BTreeSet<String>> {
        let directory = &self.directory;
        std::fs::create_dir_all(directory).map_err(|e| FabricError::file("create", directory, e))?;
        let names = namespace::list(directory)?.into_iter();
        Ok(names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn apply_vpc(&mut self, vpc: &VpcSpec, isolated_zones: &BTreeSet<String>) -> Vec<FabricError> {
        let mut problems = Vec::new();
        if let Err(error) = self.try_vpc(vpc, isolated_zones, &mut problems) {
            problems.push(error);
        }
        problems
    }

    fn try_vpc(
        &mut self,
        vpc: &VpcSpec,
        isolated_zones: &BTreeSet<String>,
        problems: &mut Vec<FabricError>,
    ) -> Result<()> {
        let router = match self.routers.entry(vpc.id.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Router::open(&self.directory.join(&vpc.id))?),
        };
        if let Some(names) = &mut self.names {
            names.extend(check::names(vpc).map(str::to_owned));
        }
        if router.applied.as_ref() == Some(vpc) && self.isolated_zones == *isolated_zones {
            return Ok(());
        }
        let adopted = router.applied.take().is_none();
        router.detach(&stale_ports(router, vpc, adopted.then_some(&self.directory)))?;
        let edge = self.host.connect(&vpc.id, router)?;
        router.load_firewall(firewall::of_vpc(vpc, isolated_zones, edge.host()))?;
        router.count_flows(vpc.counts_flows)?;
        for spec in &vpc.interfaces {
            let Some(subnet) = subnet_of(vpc, &spec.subnet) else { continue };
            if !router.ports.contains_key(&spec.id) {
                let result = interface::attach(router, &self.directory.join(&spec.id), spec, subnet);
                problems.extend(result.err().map(|error| error.of(&spec.id)));
            }
        }
        let attached = router.ports.values().map(|port| port.address).collect();
        router.load_routing(&Routing::of(vpc, edge.host(), &attached), edge.host_mac())?;
        router.applied = Some(vpc.clone());
        let public = firewall::public_addresses(vpc, isolated_zones);
        self.published.insert(vpc.id.clone(), (edge, public));
        Ok(())
    }

    /// Makes the kernel be asked about a VPC again.
    fn forget(&mut self, vpc: &str) {
        self.routers.remove(vpc);
        if let Some((edge, _)) = self.published.get(vpc) {
            self.host.forget(*edge);
        }
    }

    fn publish(&mut self, spec: &FabricSpec) -> Result<()> {
        // A link without a known VPC is a leftover only if all VPCs are known. The traffic of one in trouble goes on.
        let (known, unknown): (Vec<_>, Vec<_>) =
            spec.vpcs.iter().partition(|vpc| self.published.contains_key(&vpc.id));
        let mut public: BTreeSet<Ipv4Addr> =
            unknown.iter().flat_map(|vpc| firewall::public_addresses(vpc, &spec.isolated_zones)).collect();
        public.extend(known.iter().flat_map(|vpc| &self.published[&vpc.id].1));
        let edges = self.published.values().cloned().collect();
        self.host.publish(&edges, &public, unknown.is_empty(), spec.api.as_ref())
    }

    /// Makes the kernel be asked about everything again.
    pub(crate) fn forget_all(&mut self) {
        self.routers.clear();
        self.names = None;
        self.host.forget_all();
    }

    /// Removes everything, whoever made it.
    pub(crate) fn clean(&mut self) -> Vec<FabricError> {
        let mut failures = Vec::new();
        self.forget_all();
        self.published.clear();
        match namespace::list(&self.directory) {
            Ok(paths) => failures.extend(paths.iter().filter_map(|path| namespace::remove(path).err())),
            Err(error) => failures.push(error),
        }
        failures.extend(self.host.clean().err());
        if let Err(error) = std::fs::remove_dir(&self.directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            failures.push(FabricError::file("remove", &self.directory, error));
        }
        failures
    }
}

/// The interfaces whose links must go: no longer wanted, or wanted differently. After an adoption, told by the
/// directory, also those whose namespace lost its name.
fn stale_ports(router: &Router, vpc: &VpcSpec, adopted_from: Option<&PathBuf>) -> Vec<String> {
    let wanted: BTreeMap<&str, _> =
        vpc.interfaces.iter().map(|interface| (interface.id.as_str(), interface)).collect();
    let stale = router.ports.iter().filter(|(id, port)| {
        let same = wanted.get(id.as_str()).is_some_and(|spec| interface::is_same(port, spec));
        !same || adopted_from.is_some_and(|directory| !namespace::exists(&directory.join(id)))
    });
    stale.map(|(id, _)| id.clone()).collect()
}
