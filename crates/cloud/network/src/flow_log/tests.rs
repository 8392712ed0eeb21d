//! Flow logs: life cycle, refusals, and records of every kind.

use std::net::Ipv4Addr;

use pileus_contract::fabric::{Count, Flow, FlowCounts};
use pileus_core::Timestamp;
use pileus_kit::Cloud;

use super::*;
use crate::testing::{cloud, filter, group, subnet, vpc};
use crate::{NewInterface, interface};

const ROLE: &str = "arn:aws:iam::000000000000:role/flows";

fn input(resource: &str, kind: &str) -> ec2::CreateFlowLogsRequest {
    ec2::CreateFlowLogsRequest {
        resource_ids: vec![resource.into()],
        resource_type: kind.into(),
        traffic_type: Some("ALL".into()),
        log_group_name: Some("flows".into()),
        deliver_logs_permission_arn: Some(ROLE.into()),
        ..Default::default()
    }
}

fn create(cloud: &mut Cloud, input: ec2::CreateFlowLogsRequest) -> String {
    cloud.ok::<ec2::ops::CreateFlowLogs>(input).flow_log_ids.unwrap().remove(0)
}

/// A VPC with an interface in each of two subnets.
fn world(cloud: &mut Cloud) -> (String, [Interface; 2]) {
    let id = vpc(cloud, "10.0.0.0/16");
    let group = group(cloud, &id, "all");
    let made = ["10.0.1.0/24", "10.0.2.0/24"].map(|cidr| {
        let new = NewInterface {
            subnet: subnet(cloud, &id, cidr),
            groups: vec![group.clone()],
            ..NewInterface::default()
        };
        cloud.write(|cx| interface::create(cx.tx, cx.ids, cx.now, new.clone()).unwrap())
    });
    (id, made)
}

fn counts(source: Ipv4Addr, destination: Ipv4Addr, [arrived, sent, received]: [u64; 3]) -> FlowCounts {
    let count = |packets| Count { packets, bytes: packets * 60 };
    let flow = Flow { source, destination, protocol: 6, source_port: 40000, destination_port: 3000 };
    FlowCounts { flow, arrived: count(arrived), sent: count(sent), received: count(received) }
}

const WINDOW: Window = Window { start: Timestamp::from_millis(60_000), end: Timestamp::from_millis(120_000) };

#[test]
fn what_was_made_is_shown_and_deleted() {
    let mut cloud = cloud();
    let id = vpc(&mut cloud, "10.0.0.0/16");
    let log = create(&mut cloud, input(&id, "VPC"));
    let again = cloud.code::<ec2::ops::CreateFlowLogs>(input(&id, "VPC"));
    assert_eq!(again, "FlowLogAlreadyExists");
    let wanted = ec2::DescribeFlowLogsRequest { filter: filter("resource-id", &id), ..Default::default() };
    let shown = cloud.ok::<ec2::ops::DescribeFlowLogs>(wanted).flow_logs.unwrap().remove(0);
    assert_eq!(shown.flow_log_id.as_deref(), Some(log.as_str()));
    assert_eq!(shown.flow_log_status.as_deref(), Some("ACTIVE"));
    assert_eq!(shown.max_aggregation_interval, Some(600));
    assert_eq!(shown.log_format.as_deref(), Some(format::DEFAULT));
    assert_eq!(shown.log_destination.as_deref(), Some("arn:aws:logs:us-east-1:000000000000:log-group:flows"));
    let delete = ec2::DeleteFlowLogsRequest { flow_log_ids: vec![log.clone()] };
    assert_eq!(cloud.ok::<ec2::ops::DeleteFlowLogs>(delete.clone()).unsuccessful.unwrap(), []);
    let twice = cloud.ok::<ec2::ops::DeleteFlowLogs>(delete).unsuccessful.unwrap().remove(0);
    assert_eq!(twice.error.unwrap().code.as_deref(), Some("InvalidFlowLogId.NotFound"));
    let by_id = ec2::DescribeFlowLogsRequest { flow_log_ids: Some(vec![log]), ..Default::default() };
    assert_eq!(cloud.ok::<ec2::ops::DescribeFlowLogs>(by_id).flow_logs.unwrap(), []);
}

type Change = fn(&mut ec2::CreateFlowLogsRequest);

#[test]
fn what_cannot_be_is_refused() {
    let mut cloud = cloud();
    let id = vpc(&mut cloud, "10.0.0.0/16");
    let good = input(&id, "VPC");
    let cases: [(Change, &str); 9] = [
        (|it| it.log_destination_type = Some("kinesis-data-firehose".into()), "UnsupportedOperation"),
        (|it| it.max_aggregation_interval = Some(61), "InvalidParameterValue"),
        (
            |it| it.log_destination = Some("arn:aws:logs:us-east-1:0:log-group:x".into()),
            "InvalidParameterCombination",
        ),
        (|it| it.log_group_name = None, "MissingParameter"),
        (|it| it.deliver_logs_permission_arn = None, "MissingParameter"),
        (|it| it.traffic_type = None, "MissingParameter"),
        (|it| it.log_format = Some("${tcp-flags}".into()), "UnsupportedOperation"),
        (|it| it.log_format = Some("srcaddr".into()), "InvalidParameterValue"),
        (|it| it.resource_ids = vec!["vpc-0123456789abcdef0".into()], "InvalidVpcID.NotFound"),
    ];
    for (change, expected) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(cloud.code::<ec2::ops::CreateFlowLogs>(bad.clone()), expected, "{bad:?}");
    }
}

#[test]
fn each_interface_records_what_its_own_side_decided() {
    let mut cloud = cloud();
    let (id, [one, two]) = world(&mut cloud);
    create(&mut cloud, input(&id, "VPC"));
    let scope = cloud.scope.clone();
    let outside = Ipv4Addr::new(192, 0, 2, 1);
    let counts = [
        // Five arrive, the sender's side lets four out, the receiver's side lets three in.
        counts(one.address, two.address, [5, 4, 3]),
        // From outside: only the receiver's side is there.
        counts(outside, one.address, [2, 2, 0]),
    ];
    let deliveries = deliveries(&cloud.state, &scope, &id, WINDOW, &counts);
    let records = |interface: &Interface| {
        let mine = deliveries.iter().find(|it| it.stream == format!("{}-all", interface.id)).unwrap();
        assert_eq!((mine.group.as_str(), mine.role.as_str()), ("flows", ROLE));
        mine.records.clone()
    };
    let line = |interface: &Interface, from: Ipv4Addr, to: Ipv4Addr, packets: u64, action: &str| {
        let (eni, bytes) = (&interface.id, packets * 60);
        format!("2 000000000000 {eni} {from} {to} 40000 3000 6 {packets} {bytes} 60 120 {action} OK")
    };
    assert_eq!(
        records(&one),
        [
            line(&one, one.address, two.address, 4, "ACCEPT"),
            line(&one, one.address, two.address, 1, "REJECT"),
            line(&one, outside, one.address, 2, "REJECT"),
        ]
    );
    assert_eq!(
        records(&two),
        [
            line(&two, one.address, two.address, 3, "ACCEPT"),
            line(&two, one.address, two.address, 1, "REJECT")
        ]
    );
}

#[test]
fn a_minute_without_packets_is_recorded_as_such_in_the_format_asked_for() {
    let mut cloud = cloud();
    let (_, [one, _]) = world(&mut cloud);
    let own = ec2::CreateFlowLogsRequest {
        log_format: Some(
            "${version} ${interface-id} ${srcaddr} ${vpc-id} ${flow-direction} ${log-status}".into(),
        ),
        traffic_type: Some("REJECT".into()),
        ..input(&one.id, "NetworkInterface")
    };
    create(&mut cloud, own);
    let deliveries = deliveries(&cloud.state, &cloud.scope.clone(), &one.vpc, WINDOW, &[]);
    assert_eq!(deliveries.len(), 1, "of the one interface alone");
    assert_eq!(deliveries[0].stream, format!("{}-reject", one.id));
    assert_eq!(deliveries[0].records, [format!("5 {} - {} - NODATA", one.id, one.vpc)]);
}

#[test]
fn counts_that_began_again_are_taken_as_they_are() {
    let [a, b] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    let before = [counts(a, b, [10, 10, 10]), counts(b, a, [5, 5, 5])];
    let now = [counts(a, b, [12, 11, 11]), counts(b, a, [5, 5, 5])];
    assert_eq!(since(&before, &now), [counts(a, b, [2, 1, 1])]);
    assert_eq!(since(&before, &[counts(a, b, [3, 3, 3])]), [counts(a, b, [3, 3, 3])]);
}
