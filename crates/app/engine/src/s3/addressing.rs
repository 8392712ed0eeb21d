//! Which requests are S3's, and which bucket a Host header names.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>
//!
//! All APIs share one port. A signed request says its service; an unsigned one is told by its host, and else by what
//! only S3 uses: a path and a method of its own.

use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};
use pileus_wire::sigv4;
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// Where S3 listens, after a bucket's name or alone: `s3`, perhaps a region, and one of these.
const DOMAINS: [&str; 2] = ["localhost", "amazonaws.com"];

pub(super) struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let named = VirtualHost::new(host);
        Ok(match bucket_of_host(host) {
            Some(bucket) => named.with_bucket(bucket),
            None => named,
        })
    }
}

/// Whether a request is for S3.
pub(super) fn is_s3(parts: &Parts) -> bool {
    if let Some(scope) = sigv4::Scope::of(parts) {
        return scope.service == "s3";
    }
    let query = parts.uri.query().unwrap_or_default();
    let asks =
        |name: &str| query.split('&').any(|pair| pair.split_once('=').map_or(pair, |(name, _)| name) == name);
    if is_version_2(parts) {
        return true;
    }
    if parts.headers.contains_key(header::AUTHORIZATION)
        || parts.headers.contains_key("x-amz-target")
        || asks("Action")
    {
        return false;
    }
    let of_s3 = names_s3(host(parts));
    match parts.method {
        Method::POST => {
            let form =
                text(&parts.headers, "content-type").is_some_and(|it| it.starts_with("multipart/form-data"));
            let batch = ["uploads", "uploadId", "delete"].into_iter().any(asks);
            of_s3 || (parts.uri.path() != "/" && (form || batch))
        }
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS => {
            of_s3 || parts.uri.path() != "/" || bucket_of_host(host(parts)).is_some()
        }
        _ => of_s3,
    }
}

/// Whether the request is signed in the way that came before SigV4. Only S3 has it still, for the presigned URLs that
/// boto3 makes unless told otherwise.
fn is_version_2(parts: &Parts) -> bool {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    header.is_some_and(|header| header.starts_with("AWS "))
        || parts
            .uri
            .query()
            .is_some_and(|query| query.contains("AWSAccessKeyId=") && query.contains("Signature="))
}

/// The host and port that the client wrote.
pub(super) fn host(parts: &Parts) -> &str {
    match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => text(&parts.headers, "host").unwrap_or_default(),
    }
}

/// The bucket that a request is for, in either style.
pub(super) fn bucket(parts: &Parts) -> Option<String> {
    if let Some(bucket) = bucket_of_host(host(parts)) {
        return Some(bucket.to_owned());
    }
    let first = parts.uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    (!first.is_empty()).then(|| first.to_owned())
}

/// Whether a request is for an object, not for a bucket.
pub(super) fn has_key(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = uri.authority().map_or_else(|| text(headers, "host").unwrap_or_default(), |it| it.as_str());
    let path = uri.path().trim_start_matches('/');
    let key =
        if bucket_of_host(host).is_some() { Some(path) } else { path.split_once('/').map(|(_, key)| key) };
    key.is_some_and(|key| !key.is_empty())
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn without_port(host: &str) -> &str {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    name.map_or(host, |(name, _)| name).trim_end_matches('.')
}

/// What stands before one of S3's domains: `None` where the host is none of them.
fn before_s3(host: &str) -> Option<&str> {
    let name =
        DOMAINS.into_iter().find_map(|domain| without_port(host).strip_suffix(domain)?.strip_suffix('.'))?;
    // The region, if there is one, has no dots.
    let of_service = |name: &'_ str| name == "s3" || name.ends_with(".s3");
    let service = if of_service(name) { name } else { name.rsplit_once('.').map(|(front, _)| front)? };
    let service = service.strip_suffix(".dualstack").unwrap_or(service);
    of_service(service).then(|| service.strip_suffix("s3").unwrap_or_default().trim_end_matches('.'))
}

fn names_s3(host: &str) -> bool {
    before_s3(host).is_some()
}

/// `bucket.s3.localhost`, `bucket.s3.us-east-1.amazonaws.com`, `bucket.localhost` and the like.
fn bucket_of_host(host: &str) -> Option<&str> {
    if host.starts_with('[') || without_port(host).parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let bucket = before_s3(host).or_else(|| without_port(host).strip_suffix(".localhost"))?;
    (!bucket.is_empty()).then_some(bucket)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn hosts_name_buckets() {
        for (host, expected) in [
            ("localhost:4566", None),
            ("127.0.0.1:4566", None),
            ("[::1]:4566", None),
            ("s3.localhost:4566", None),
            ("s3.eu-west-1.localhost", None),
            ("s3.us-east-1.amazonaws.com", None),
            ("s3.dualstack.us-east-1.amazonaws.com", None),
            ("abc.s3.localhost:4566", Some("abc")),
            ("a.b.s3.us-east-1.localhost:4566", Some("a.b")),
            ("abc.localhost:4566", Some("abc")),
            ("abc.s3.amazonaws.com", Some("abc")),
            ("abc.s3.us-east-1.amazonaws.com:443", Some("abc")),
            ("ec2.us-east-1.amazonaws.com", None),
        ] {
            assert_eq!(bucket_of_host(host), expected, "{host}");
        }
    }

    fn claims(method: &str, uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_s3(&request.body(()).expect("a request").into_parts().0)
    }

    #[test]
    fn requests_are_told_apart() {
        let local = ("host", "localhost:4566");
        let signed = |service: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
            )
        };
        assert!(claims("POST", "/abc?delete", &[local, ("authorization", &signed("s3"))]));
        assert!(!claims("GET", "/abc", &[local, ("authorization", &signed("ec2"))]));
        assert!(claims(
            "GET",
            "/abc/key?X-Amz-Credential=test%2F20261122%2Fus-east-1%2Fs3%2Faws4_request",
            &[local]
        ));
        assert!(claims("GET", "/abc/key", &[local]));
        assert!(claims("GET", "/", &[("host", "abc.s3.localhost:4566")]));
        assert!(!claims("GET", "/", &[local]));
        assert!(!claims("GET", "/?Action=DescribeVpcs", &[local]));
        assert!(!claims("POST", "/", &[local]));
        assert!(!claims("POST", "/x", &[local, ("x-amz-target", "Logs.X")]));
        assert!(claims("GET", "/abc/key?AWSAccessKeyId=a&Expires=1&Signature=b", &[local]));
    }
}
