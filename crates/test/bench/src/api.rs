//! An engine of the benchmark's own (home, ports), and the few resources that the measurements stand on, made by AWS
//! calls as any client makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use pileus_aws::ec2::{CreateSecurityGroupRequest, CreateSubnetRequest, CreateVpcRequest, ops as ec2};
use pileus_aws::ecs::{AwsVpcConfiguration, CreateClusterRequest, NetworkConfiguration, ops as ecs};
use pileus_core::Secret;
use pileus_delivery::client::Client;
use pileus_wire::sigv4::Credentials;
use tempfile::TempDir;

use crate::process::{Process, free_port};

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const CLUSTER: &str = "bench";

pub(crate) fn credentials() -> Credentials {
    Credentials { access_key: "test".into(), secret: Secret::new("test"), session_token: None }
}

pub(crate) fn client(port: u16) -> Client {
    Client::new(&format!("http://127.0.0.1:{port}"), REGION, credentials())
}

/// Where an engine lives; everything in it, and of it on the host, goes with it.
pub(crate) struct Home {
    pileus: PathBuf,
    folder: TempDir,
    pub(crate) port: u16,
}

impl Home {
    pub(crate) fn new(pileus: &Path) -> anyhow::Result<Self> {
        let pileus =
            pileus.canonicalize().with_context(|| format!("{}: ./x build makes it", pileus.display()))?;
        let folder = tempfile::Builder::new().prefix("pileus-bench-").tempdir()?;
        Ok(Self { pileus, folder, port: free_port()? })
    }

    /// A `pileus` command for this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.pileus);
        command
            .args(arguments)
            .env("PILEUS_HOME", self.folder.path().join("home"))
            .env("PILEUS_PORT", self.port.to_string())
            .env("PILEUS_EDGE_PORT", "0")
            .env("NO_COLOR", "1");
        command
    }

    /// Starts the engine; it may not answer yet.
    pub(crate) fn engine(&self) -> anyhow::Result<Process> {
        Process::start(&mut self.command(&["engine"]), &self.folder.path().join("engine.log"))
    }

    /// Runs a `pileus` command to its end; what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(arguments).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pileus {}: {}\n{errors}", arguments.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The pid of the engine's balancer, if it runs.
    pub(crate) fn balancer(&self) -> anyhow::Result<Option<i32>> {
        let instance = std::fs::read_to_string(self.folder.path().join("home/instance"))?;
        for entry in std::fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
            // Processes come and go while the directory is read.
            let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = words.split('\0').skip(1);
            if words.next() == Some("balancer") && words.any(|word| word.contains(&instance)) {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["down", "--all", "--yes"]) {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("warning: {error}\n"));
        }
    }
}

/// A VPC with one subnet and a security group, and an ECS cluster; the network configuration for tasks in it.
pub(crate) async fn network(client: &Client) -> anyhow::Result<NetworkConfiguration> {
    let vpc = CreateVpcRequest { cidr_block: Some("10.0.0.0/16".into()), ..Default::default() };
    let vpc = client.call::<ec2::CreateVpc>(vpc).await?.vpc.and_then(|vpc| vpc.vpc_id).context("VpcId")?;
    let group = CreateSecurityGroupRequest {
        vpc_id: Some(vpc.clone()),
        group_name: "bench".into(),
        description: "bench".into(),
        ..Default::default()
    };
    let group = client.call::<ec2::CreateSecurityGroup>(group).await?.group_id.context("GroupId")?;
    let subnet = CreateSubnetRequest {
        vpc_id: vpc,
        cidr_block: Some("10.0.10.0/24".into()),
        availability_zone: Some(format!("{REGION}a")),
        ..Default::default()
    };
    let subnet = client.call::<ec2::CreateSubnet>(subnet).await?.subnet;
    let subnet = subnet.and_then(|subnet| subnet.subnet_id).context("SubnetId")?;
    let cluster = CreateClusterRequest { cluster_name: Some(CLUSTER.into()), ..Default::default() };
    client.call::<ecs::CreateCluster>(cluster).await?;
    let configuration = AwsVpcConfiguration {
        subnets: vec![subnet],
        security_groups: Some(vec![group]),
        ..Default::default()
    };
    Ok(NetworkConfiguration { awsvpc_configuration: Some(configuration) })
}

/// A runtime for the calls of a benchmark.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
