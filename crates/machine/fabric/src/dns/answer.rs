//! What a query gets: an answer from the private names, a refusal, or somebody else's answer. Pure.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use pileus_contract::fabric::NameSpec;

/// Seconds that a private name may be remembered, as in AWS's private zones.
const TTL: u32 = 60;
/// What fits a datagram for a client that does not say otherwise (RFC 1035).
const DATAGRAM: usize = 512;
/// Top-level domains that the internet does not have: never forwarded.
const PRIVATE: [&str; 2] = ["internal", "localhost"];

/// The private names and their addresses.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, Vec<Ipv4Addr>>);

impl Names {
    pub(super) fn new(names: &[NameSpec]) -> Self {
        Self(names.iter().map(|spec| (spec.name.clone(), spec.addresses.clone())).collect())
    }

    /// The addresses of a name: its own, else those of the closest `*` above it.
    fn find(&self, name: &str) -> Option<&Vec<Ipv4Addr>> {
        let parents = name.match_indices('.').map(|(dot, _)| format!("*{}", &name[dot..]));
        self.0.get(name).or_else(|| parents.into_iter().find_map(|parent| self.0.get(&parent)))
    }
}

/// How a query came, which bounds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Datagram,
    Stream,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Answer(Vec<u8>),
    /// To be asked elsewhere.
    Forward(Box<Message>),
    /// Not a query: an answer could make a loop.
    Ignore,
}

/// Decides about the bytes of a query.
pub(super) fn decide(bytes: &[u8], names: &Names, transport: Transport) -> Verdict {
    let Ok(query) = Message::from_vec(bytes) else { return Verdict::Ignore };
    if query.metadata.message_type != MessageType::Query {
        return Verdict::Ignore;
    }
    if query.metadata.op_code != OpCode::Query {
        return failure(&query, ResponseCode::NotImp);
    }
    let [question] = query.queries.as_slice() else { return failure(&query, ResponseCode::FormErr) };
    if question.query_class() != DNSClass::IN {
        return failure(&query, ResponseCode::Refused);
    }
    let name = question.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    match names.find(name) {
        Some(addresses) => encode(&found(&query, addresses), transport, &query),
        None if PRIVATE.contains(&name.rsplit('.').next().unwrap_or_default()) => {
            failure(&query, ResponseCode::NXDomain)
        }
        None => Verdict::Forward(Box::new(query)),
    }
}

/// The answer that says that something failed.
pub(super) fn failure(query: &Message, code: ResponseCode) -> Verdict {
    let mut response = response(query);
    response.metadata.response_code = code;
    encode(&response, Transport::Stream, query)
}

/// A private name's addresses, beginning with another one for every query; nothing for other types.
fn found(query: &Message, addresses: &[Ipv4Addr]) -> Message {
    let mut response = response(query);
    response.metadata.authoritative = true;
    let question = &query.queries[0];
    if matches!(question.query_type(), RecordType::A | RecordType::ANY) && !addresses.is_empty() {
        let start = usize::from(query.metadata.id) % addresses.len();
        let turned = addresses[start..].iter().chain(&addresses[..start]);
        response.add_answers(
            turned.map(|address| Record::from_rdata(question.name().clone(), TTL, RData::A(A(*address)))),
        );
    }
    response
}

fn response(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    response
}

fn encode(response: &Message, transport: Transport, query: &Message) -> Verdict {
    let room = match transport {
        Transport::Datagram => DATAGRAM.max(usize::from(query.max_payload())),
        Transport::Stream => usize::from(u16::MAX),
    };
    let bytes = response
        .to_vec()
        .and_then(|bytes| if bytes.len() <= room { Ok(bytes) } else { response.truncate().to_vec() });
    bytes.map_or(Verdict::Ignore, Verdict::Answer)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_proto::op::Query;
    use hickory_proto::rr::Name;
    use proptest::prelude::*;

    use super::*;

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 7;
        message.add_query(Query::query(Name::from_str(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn names(count: u8) -> Names {
        let addresses = (1..=count).map(|last| Ipv4Addr::new(10, 0, 1, last)).collect();
        Names::new(&[NameSpec { name: "db.example.internal".into(), addresses }])
    }

    fn answer(verdict: Verdict) -> Message {
        let Verdict::Answer(bytes) = verdict else { panic!("{verdict:?}") };
        Message::from_vec(&bytes).unwrap()
    }

    #[test]
    fn a_private_name_has_addresses_whatever_its_case() {
        let bytes = query("DB.Example.internal.", RecordType::A);
        let message = answer(decide(&bytes, &names(2), Transport::Datagram));
        assert_eq!(message.metadata.id, 7);
        let addresses: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(addresses, ["10.0.1.2", "10.0.1.1"], "turned by the id");
    }

    #[test]
    fn other_types_of_a_private_name_are_empty_and_unknown_ones_do_not_exist() {
        let empty =
            answer(decide(&query("db.example.internal.", RecordType::AAAA), &names(1), Transport::Datagram));
        assert_eq!((empty.metadata.response_code, empty.answers.len()), (ResponseCode::NoError, 0));
        for name in ["no.example.internal.", "internal.", "x.elb.localhost."] {
            let missing = answer(decide(&query(name, RecordType::A), &names(1), Transport::Datagram));
            assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain, "{name}");
        }
    }

    #[test]
    fn a_star_stands_for_all_that_is_not_named_below() {
        let spec =
            |name: &str, last| NameSpec { name: name.into(), addresses: vec![Ipv4Addr::new(10, 0, 1, last)] };
        let names = Names::new(&[spec("*.s3.aws.internal", 1), spec("own.s3.aws.internal", 2)]);
        for (name, address) in [
            ("bucket.s3.aws.internal.", Some("10.0.1.1")),
            ("my.bucket.s3.aws.internal.", Some("10.0.1.1")),
            ("own.s3.aws.internal.", Some("10.0.1.2")),
            ("s3.aws.internal.", None),
        ] {
            let message = answer(decide(&query(name, RecordType::A), &names, Transport::Datagram));
            let found = message.answers.first().map(|record| record.data.to_string());
            assert_eq!(found.as_deref(), address, "{name}");
        }
    }

    #[test]
    fn other_names_are_forwarded() {
        for name in ["example.com.", "internal.example.com."] {
            let verdict = decide(&query(name, RecordType::A), &names(1), Transport::Datagram);
            assert!(matches!(verdict, Verdict::Forward(_)), "{name}");
        }
    }

    #[test]
    fn a_long_answer_is_cut_for_a_datagram_only() {
        let bytes = query("db.example.internal.", RecordType::A);
        let cut = answer(decide(&bytes, &names(100), Transport::Datagram));
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        assert_eq!(answer(decide(&bytes, &names(100), Transport::Stream)).answers.len(), 100);
    }

    #[test]
    fn responses_and_rubbish_are_not_answered() {
        let mut message = Message::response(7, OpCode::Query);
        message.add_query(Query::query(Name::from_str("example.com.").unwrap(), RecordType::A));
        let response = message.to_vec().unwrap();
        for bytes in [&response[..], b"", b"rubbish"] {
            assert_eq!(decide(bytes, &names(1), Transport::Datagram), Verdict::Ignore);
        }
        let empty = answer(decide(&Message::query().to_vec().unwrap(), &names(1), Transport::Datagram));
        assert_eq!(empty.metadata.response_code, ResponseCode::FormErr);
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            decide(&bytes, &names(1), Transport::Datagram);
        }
    }
}
