//! Queries through their operations.

use pileus_aws::logs::{CreateLogGroupRequest, CreateLogStreamRequest, InputLogEvent, PutLogEventsRequest};
use pileus_kit::Cloud;
use proptest::prelude::*;

use super::*;

fn cloud() -> Cloud {
    let mut cloud = Cloud::new(crate::tables, crate::operations);
    let group = CreateLogGroupRequest { log_group_name: "g".into(), ..Default::default() };
    cloud.ok::<ops::CreateLogGroup>(group);
    let stream = CreateLogStreamRequest { log_group_name: "g".into(), log_stream_name: "s".into() };
    cloud.ok::<ops::CreateLogStream>(stream);
    cloud.now = cloud.now.truncate(std::time::Duration::from_secs(600)) + std::time::Duration::from_secs(300);
    let lines = [
        (0, r#"{"level":"info","ms":10,"user":{"name":"a"}}"#),
        (1, r#"{"level":"error","ms":30,"user":{"name":"b"}}"#),
        (61, r#"{"level":"error","ms":50,"user":{"name":"a"}}"#),
        (62, "plain ERROR 7"),
    ];
    let event = |&(second, message): &(i64, &str)| InputLogEvent {
        timestamp: cloud.now.millis() + second * 1000,
        message: message.into(),
    };
    let batch = PutLogEventsRequest {
        log_group_name: "g".into(),
        log_stream_name: "s".into(),
        log_events: lines.iter().map(event).collect(),
        ..Default::default()
    };
    cloud.ok::<ops::PutLogEvents>(batch);
    cloud
}

fn start(cloud: &Cloud, query: &str) -> StartQueryRequest {
    StartQueryRequest {
        log_group_name: Some("g".into()),
        start_time: cloud.now.secs() - 60,
        end_time: cloud.now.secs() + 600,
        query_string: query.into(),
        ..Default::default()
    }
}

/// The rows without their pointers, as `field=value`.
fn rows(cloud: &mut Cloud, query: &str) -> Vec<String> {
    let query_id = cloud.ok::<ops::StartQuery>(start(cloud, query)).query_id.expect("an id");
    let output = cloud.ok::<ops::GetQueryResults>(GetQueryResultsRequest { query_id });
    assert_eq!(output.status.as_deref(), Some("Complete"));
    let row = |row: Vec<ResultField>| {
        let pairs =
            row.into_iter().map(|field| (field.field.unwrap_or_default(), field.value.unwrap_or_default()));
        let pairs = pairs.filter(|(field, _)| field != "@ptr");
        pairs.map(|(field, value)| format!("{field}={value}")).collect::<Vec<_>>().join(" ")
    };
    output.results.into_iter().flatten().map(row).collect()
}

#[test]
fn queries() {
    let mut cloud = cloud();
    let minute = |cloud: &Cloud, minutes: u64| {
        (cloud.now + std::time::Duration::from_secs(60 * minutes)).format("%Y-%m-%d %H:%M:%S%.3f")
    };
    let (first, second) = (minute(&cloud, 0), minute(&cloud, 1));
    for (query, expected) in [
        (
            "fields level, ms | filter level = 'error' | sort ms desc",
            vec!["level=error ms=50", "level=error ms=30"],
        ),
        ("fields user.name as who | filter ms > 10 and user.name in ['a']", vec!["who=a"]),
        ("fields @message | filter @message like /ERROR [0-9]/", vec!["@message=plain ERROR 7"]),
        ("fields ms | filter ispresent(ms) and not (level = \"error\")", vec!["ms=10"]),
        ("fields ms | filter ms != 10 | sort ms asc | limit 1", vec!["ms=30"]),
        ("stats count(*)", vec!["count(*)=4"]),
        (
            "stats count(*) as n, avg(ms) by level | filter ispresent(level) | sort level",
            vec!["level=error n=2 avg(ms)=40", "level=info n=1 avg(ms)=10"],
        ),
        (
            "stats max(ms) as worst, pct(ms, 50) by bin(1m)",
            vec![
                &*format!("bin(1m)={first} worst=30 pct(ms, 50)=10"),
                &*format!("bin(1m)={second} worst=50 pct(ms, 50)=50"),
            ],
        ),
        ("filter level = 'none'", vec![]),
    ] {
        assert_eq!(rows(&mut cloud, query), expected, "{query}");
    }
    assert!(
        rows(&mut cloud, "fields @timestamp, @message | sort @timestamp desc | limit 20")[0]
            .contains("plain")
    );
}

#[test]
fn what_is_no_query_is_refused() {
    let mut cloud = cloud();
    for (query, code) in [
        ("nonsense", "MalformedQueryException"),
        ("fields", "MalformedQueryException"),
        ("filter a =", "MalformedQueryException"),
        ("filter (a = 1", "MalformedQueryException"),
        ("limit many", "MalformedQueryException"),
        ("parse @message '*' as a", "UnsupportedOperation"),
        ("stats earliest(a)", "UnsupportedOperation"),
    ] {
        let input = start(&cloud, query);
        assert_eq!(cloud.code::<ops::StartQuery>(input), code, "{query}");
    }
    let input = StartQueryRequest { log_group_name: Some("h".into()), ..start(&cloud, "fields a") };
    assert_eq!(cloud.code::<ops::StartQuery>(input), "ResourceNotFoundException");
    let gone = GetQueryResultsRequest { query_id: "x".into() };
    assert_eq!(cloud.code::<ops::GetQueryResults>(gone), "ResourceNotFoundException");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(fields |filter |stats |sort |by |like |count\\(|bin\\(|\\||[a-z@.,()=<>!'\"/`*0-9é# ]){0,20}") {
        let _ = parse::Plan::parse(&text);
    }
}
