//! The examples of AWS's own test suite (awslabs/aws-c-auth, tests/aws-signing-test-suite/v4), and what a
//! forger or a late client may try.

use bytes::Bytes;
use http::Request;
use pileus_core::{Secret, Timestamp};
use pileus_model::Protocol;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";

fn now() -> Timestamp {
    Timestamp::parse("20150830T123600Z").expect("a time")
}

fn credentials(token: Option<&str>) -> Credentials {
    Credentials {
        access_key: "AKIDEXAMPLE".to_owned(),
        secret: Secret::new(SECRET),
        session_token: token.map(Secret::new),
    }
}

fn get(path: &str) -> Request<Bytes> {
    request("GET", path, "")
}

fn request(method: &str, path: &str, body: &str) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(format!("https://example.amazonaws.com{path}"));
    request.header("host", "example.amazonaws.com").body(Bytes::from(body.to_owned())).expect("a request")
}

fn key(access_key: &str) -> Option<Key> {
    (access_key == "AKIDEXAMPLE").then(|| Key { secret: Secret::new(SECRET), session: None })
}

fn check(request: Request<Bytes>, now: Timestamp) -> Result<Verified, AuthError> {
    let (parts, body) = request.into_parts();
    verify(&parts, &body, "service", key, now)
}

/// A request of the suite with its signature in a header.
fn stated(path: &str, headers: &[(&str, &str)], signature: &str) -> Request<Bytes> {
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).chain(["host", "x-amz-date"]).collect();
    names.sort_unstable();
    names.dedup();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, \
         Signature={signature}",
        names.join(";")
    );
    let mut request = get(path);
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a header name");
        request.headers_mut().append(name, value.parse().expect("a header value"));
    }
    request.headers_mut().insert("x-amz-date", "20150830T123600Z".parse().expect("a header value"));
    request.headers_mut().insert("authorization", authorization.parse().expect("a header value"));
    request
}

#[test]
fn accepts_the_signatures_of_the_suite() {
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let duplicate = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea";
    let trim = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736";
    let order = "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac";
    let twice = [("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")];
    let cases = [
        stated("/", &[], vanilla),
        stated("/./", &[], vanilla),
        stated("/example1/example2/../..", &[], vanilla),
        stated("/", &twice, duplicate),
        stated("/", &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")], trim),
        stated("/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", &[], order),
    ];
    for case in cases {
        let uri = case.uri().to_string();
        assert!(check(case, now()).is_ok(), "{uri}");
    }
}

#[test]
fn signs_as_the_suite_does() {
    let sign_it = |request, token| {
        let signed = sign(request, &credentials(token), "us-east-1", "service", now()).expect("signable");
        signed.headers()["authorization"].to_str().expect("text").to_owned()
    };
    let vanilla = sign_it(get("/"), None);
    assert!(vanilla.ends_with("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"));
    let query = sign_it(get("/?Param2=value2&Param1=value1"), None);
    assert!(query.ends_with("Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"));
    let post = sign_it(request("POST", "/", ""), None);
    assert!(post.ends_with("Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"));
    let token = sign_it(get("/"), Some(TOKEN));
    assert!(token.ends_with("Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"));
}

#[test]
fn accepts_and_makes_presigned_urls() {
    let suite = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice\
                 %2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600";
    let vanilla = "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d";
    assert!(check(get(&format!("/?{suite}&X-Amz-Signature={vanilla}")), now()).is_ok());
    let order = "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5";
    let url = format!("/?Param2=value2&Param1=value1&{suite}&X-Amz-Signature={order}");
    assert!(check(get(&url), now()).is_ok());
    let url = presign(get("/?Param1=a%20b"), &credentials(None), "us-east-1", "service", now(), 60)
        .expect("signable");
    let path = url.path_and_query().expect("a path").to_string();
    assert!(check(get(&path), now()).is_ok());
    assert!(check(get(&path.replace("a%20b", "a%20c")), now()).is_err());
    let late = now() + std::time::Duration::from_secs(61);
    assert!(matches!(check(get(&path), late), Err(AuthError::Expired(_))));
    assert!(matches!(
        check(get(&path.replace("Expires=60", "Expires=999999999")), now()),
        Err(AuthError::Incomplete(_))
    ));
}

#[test]
fn refuses_what_was_changed_or_comes_late() {
    let signed = |body: &str| {
        sign(request("POST", "/", body), &credentials(None), "us-east-1", "service", now()).expect("signable")
    };
    assert!(check(signed("Action=X"), now()).expect("right").payload_signed);
    let (parts, _) = signed("Action=X").into_parts();
    let changed = verify(&parts, b"Action=Y", "service", key, now());
    assert!(matches!(changed, Err(AuthError::WrongSignature { .. })));
    assert_eq!(
        verify(&parts, b"Action=X", "ec2", key, now()),
        Err(AuthError::WrongService("ec2".to_owned()))
    );
    assert_eq!(verify(&parts, b"Action=X", "service", |_| None, now()), Err(AuthError::UnknownKey));
    let quarter = std::time::Duration::from_secs(901);
    assert!(matches!(check(signed(""), now() + quarter), Err(AuthError::Expired(_))));
    assert!(matches!(check(signed(""), now() - quarter), Err(AuthError::NotYetCurrent(_))));
    assert_eq!(check(get("/"), now()), Err(AuthError::Missing));
}

#[test]
fn an_unsigned_target_is_refused() {
    let mut request = sign(get("/"), &credentials(None), "us-east-1", "service", now()).expect("signable");
    request.headers_mut().insert("x-amz-target", "Evil.Operation".parse().expect("a header value"));
    assert!(matches!(check(request, now()), Err(AuthError::Incomplete(_))));
}

#[test]
fn an_unsigned_payload_is_told() {
    let mut request = request("PUT", "/layer", "bytes");
    request.headers_mut().insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().expect("a header value"));
    let signed = sign(request, &credentials(None), "us-east-1", "service", now()).expect("signable");
    assert!(!check(signed, now()).expect("right").payload_signed);
}

#[test]
fn temporary_credentials_need_their_token() {
    let session = |request: Request<Bytes>, at| {
        let (parts, body) = request.into_parts();
        let key = |_: &str| {
            let end = now() + std::time::Duration::from_secs(60);
            Some(Key { secret: Secret::new(SECRET), session: Some((Secret::new(TOKEN), end)) })
        };
        verify(&parts, &body, "service", key, at)
    };
    let signed =
        |token, at| sign(get("/"), &credentials(token), "us-east-1", "service", at).expect("signable");
    assert!(session(signed(Some(TOKEN), now()), now()).is_ok());
    assert_eq!(session(signed(None, now()), now()), Err(AuthError::WrongToken));
    assert_eq!(session(signed(Some("other"), now()), now()), Err(AuthError::WrongToken));
    let late = now() + std::time::Duration::from_secs(60);
    assert_eq!(session(signed(Some(TOKEN), late), late), Err(AuthError::ExpiredToken));
}

#[test]
fn each_protocol_has_its_own_codes() {
    let code = |protocol| AuthError::UnknownKey.into_api(protocol);
    assert_eq!((&*code(Protocol::Query).code, code(Protocol::Query).status), ("InvalidClientTokenId", 403));
    assert_eq!(
        (&*code(Protocol::Json).code, code(Protocol::Json).status),
        ("UnrecognizedClientException", 403)
    );
    assert_eq!((&*code(Protocol::Ec2).code, code(Protocol::Ec2).status), ("AuthFailure", 401));
}

proptest::proptest! {
    #[test]
    fn nothing_in_a_request_makes_it_panic(
        authorization in "(AWS4-HMAC-SHA256 )?(Credential=[a-z0-9/]{0,40}, ?)?(SignedHeaders=[a-z;-]{0,20}, ?)?\\PC{0,40}",
        date in "\\PC{0,20}|[0-9]{8}T[0-9]{6}Z",
        query in "(X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature)=[A-Za-z0-9%/-]{0,30}&){0,8}",
        header in proptest::bool::ANY,
    ) {
        let Ok(mut request) = Request::builder().uri(format!("/?{query}")).body(Bytes::new()) else { return Ok(()) };
        for (name, value) in [("authorization", &authorization), ("x-amz-date", &date)] {
            if let (true, Ok(value)) = (header, http::HeaderValue::from_bytes(value.as_bytes())) {
                request.headers_mut().insert(name, value);
            }
        }
        let _ = check(request, now());
    }
}
