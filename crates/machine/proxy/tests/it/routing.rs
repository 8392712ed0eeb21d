//! Edge, rules, actions.

use std::net::SocketAddr;

use ipnet::Ipv4Net;
use pileus_contract::proxy::{Condition, EdgeRule, ListenerSpec, ProxySpec, RuleAction, RuleSpec};

use crate::bed::{Bed, Target, Wire, default_rule, group, load_balancer, simple};
use crate::messages::read_message;

fn forward(group: &str) -> RuleAction {
    RuleAction::Forward(vec![(format!("targetgroup/{group}/1"), 1)])
}

fn rule(priority: u32, condition: Condition, action: RuleAction) -> RuleSpec {
    RuleSpec { priority, conditions: vec![condition], action }
}

#[test]
fn the_edge_picks_by_host() {
    let (one, two) = (Target::named("one"), Target::named("two"));
    let mut bed = Bed::new(ProxySpec {
        load_balancers: vec![
            load_balancer("first", default_rule(forward("one"))),
            load_balancer("second", default_rule(forward("two"))),
        ],
        target_groups: vec![group("one", &[&one]), group("two", &[&two])],
    });
    let edge = bed.edge(80);
    let mut wire = Wire::connect(edge);
    let mut ask = |host: &str| wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).receive();
    assert_eq!(ask("first.us-east-1.elb.localhost").text(), "one");
    assert_eq!(ask(&format!("SECOND.us-east-1.elb.localhost:{}", edge.port())).text(), "two");
    let unknown = ask("third.us-east-1.elb.localhost");
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().contains("first.us-east-1.elb.localhost, second.us-east-1.elb.localhost"));
}

#[test]
fn an_only_load_balancer_takes_any_host_and_internal_ones_are_not_at_the_edge() {
    let target = Target::named("one");
    let mut spec = simple(&[&target]);
    let mut inner = load_balancer("inner", default_rule(forward("g")));
    inner.internet_facing = false;
    inner.listeners.push(ListenerSpec { port: 81, tls: None, rules: vec![default_rule(forward("g"))] });
    let node = SocketAddr::from((inner.nodes[0].address, 81));
    spec.load_balancers.push(inner);
    let mut bed = Bed::new(spec);
    let mut wire = bed.connect();
    assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n").receive().text(), "one");
    let response = wire.send("GET / HTTP/1.1\r\nHost: inner.us-east-1.elb.localhost\r\n\r\n").receive();
    assert_eq!(response.text(), "one", "the only one that faces the internet");
    assert_eq!(Wire::connect(node).get("/").text(), "one", "the internal one, from inside");
}

#[test]
fn security_groups_hold_at_the_edge() {
    let target = Target::named("one");
    let mut spec = simple(&[&target]);
    let rule = |source: &str, from_port, to_port| EdgeRule {
        source: source.parse::<Ipv4Net>().expect("CIDR"),
        from_port,
        to_port,
    };
    spec.load_balancers[0].edge_ingress = vec![rule("10.0.0.0/8", 0, 65535), rule("127.0.0.1/32", 443, 443)];
    let mut bed = Bed::new(spec);
    let mut wire = bed.connect();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(wire.rest().is_empty(), "dropped without a word");
    bed.change(|spec| spec.load_balancers[0].edge_ingress.push(rule("127.0.0.0/8", 80, 80)));
    assert_eq!(bed.get("/").text(), "one");
}

#[test]
fn rules_redirect_and_answer() {
    let (one, two) = (Target::named("one"), Target::named("two"));
    let mut spec = simple(&[&one]);
    spec.target_groups.push(group("two", &[&two]));
    let redirect = RuleAction::Redirect {
        status: 301,
        protocol: "HTTPS".into(),
        host: "#{host}".into(),
        port: "443".into(),
        path: "/#{path}".into(),
        query: "#{query}".into(),
    };
    let fixed =
        RuleAction::FixedResponse { status: 418, content_type: "text/plain".into(), body: "short".into() };
    let rules = &mut spec.load_balancers[0].listeners[0].rules;
    rules.insert(0, rule(1, Condition::PathPattern(vec!["/old/*".into()]), redirect));
    rules.insert(1, rule(2, Condition::PathPattern(vec!["/tea".into()]), fixed));
    rules.insert(
        2,
        rule(3, Condition::HttpHeader { name: "X-Two".into(), values: vec!["y*".into()] }, forward("two")),
    );
    let mut bed = Bed::new(spec);
    let mut wire = bed.connect();

    let moved = wire.get("/old/a?b=c");
    assert_eq!(moved.start, "HTTP/1.1 301 Moved Permanently");
    assert_eq!(moved.field("Location"), Some("https://web.us-east-1.elb.localhost:443/old/a?b=c"));
    assert_eq!((moved.field("Server"), moved.body.len()), (Some("awselb/2.0"), 134));

    let tea = wire.get("/tea");
    assert_eq!((tea.status(), tea.text()), (418, "short"));
    assert_eq!(tea.field("Content-Type"), Some("text/plain; charset=utf-8"));
    wire.send("HEAD /tea HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = read_message(&mut wire.stream, true, false).expect("a response");
    assert_eq!(head.field("Content-Length"), Some("5"));
    // A body that nobody wants does not disturb the next request.
    wire.send("POST /tea HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(wire.receive().status(), 418);

    assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: a\r\nx-two: YES\r\n\r\n").receive().text(), "two");
    assert_eq!(wire.get("/").text(), "one");
    bed.wait_for_stats(|sums| {
        let count = |name: &str| sums.get(name).copied().unwrap_or_default();
        count("HTTP_Redirect_Count") == 1
            && count("HTTP_Fixed_Response_Count") == 3
            && count("RequestCount") == 2
            // 1 for the redirect, 2 for each fixed response, 3 for the others.
            && count("RuleEvaluations") == 1 + 3 * 2 + 2 * 3
    });
}

#[test]
fn headers_reach_the_target_as_albs_do() {
    let target = Target::named("one");
    let mut bed = Bed::new(simple(&[&target]));
    let mut wire = bed.connect();
    wire.send(
        "GET /a?b HTTP/1.1\r\nHost: web.us-east-1.elb.localhost:99\r\nX-Forwarded-For: 192.0.2.1\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\nAccept: */*\r\n\r\n",
    );
    assert_eq!(wire.receive().field("Connection"), Some("close"));
    let seen = target.requests();
    let fields: Vec<(&str, &str)> =
        seen[0].fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let ("X-Amzn-Trace-Id", trace) = fields[4] else { panic!("{fields:?}") };
    assert!(trace.starts_with("Root=1-") && trace.len() == 40, "{trace}");
    assert_eq!(
        [&fields[..4], &fields[5..]].concat(),
        [
            ("X-Forwarded-For", "192.0.2.1, 127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Port", "80"),
            ("Host", "web.us-east-1.elb.localhost"),
            ("Accept", "*/*"),
        ]
    );
}

#[test]
fn weights_divide_the_traffic() {
    let (one, two) = (Target::named("one"), Target::named("two"));
    let groups = vec![("targetgroup/one/1".into(), 3), ("targetgroup/two/1".into(), 1)];
    let mut bed = Bed::new(ProxySpec {
        load_balancers: vec![load_balancer("web", default_rule(RuleAction::Forward(groups)))],
        target_groups: vec![group("one", &[&one]), group("two", &[&two])],
    });
    let mut wire = bed.connect();
    let ones = (0..400).filter(|_| wire.get("/").text() == "one").count();
    assert!((240..360).contains(&ones), "{ones} of 400");
}
