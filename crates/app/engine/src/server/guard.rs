//! Who may talk to the API at all. It listens on loopback, yet a web page in the user's browser can send requests
//! there too; a page is told by what every browser adds and no SDK sends.

use http::HeaderMap;
use http::uri::Authority;

/// Why a request is turned away, or `None`.
pub(crate) fn refuse(headers: &HeaderMap, authority: Option<&Authority>, path: &str) -> Option<&'static str> {
    refuse_host(headers, authority, path).or_else(|| refuse_page(headers, authority))
}

/// The same without a look at the page that the request comes from.
pub(crate) fn refuse_host(
    headers: &HeaderMap,
    authority: Option<&Authority>,
    path: &str,
) -> Option<&'static str> {
    let Some(host) = named_host(headers, authority) else { return Some("the request has no Host header") };
    // AWS's own names of registries are nobody's to point elsewhere, and container tools send them.
    let registry = path.starts_with("/v2/") && pileus_registry::is_host(host);
    if !registry && !is_local(host) {
        return Some(
            "the Host header does not name this machine (localhost, *.localhost or a loopback address)",
        );
    }
    None
}

fn refuse_page(headers: &HeaderMap, authority: Option<&Authority>) -> Option<&'static str> {
    let host = named_host(headers, authority).unwrap_or_default();
    if let Some(origin) = headers.get(http::header::ORIGIN) {
        let same = origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(host));
        if !same {
            return Some("the request comes from a web page of another origin");
        }
    }
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Some("the request comes from a web page of another origin");
    }
    None
}

fn named_host<'a>(headers: &'a HeaderMap, authority: Option<&'a Authority>) -> Option<&'a str> {
    match authority {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(http::header::HOST).and_then(|host| host.to_str().ok()),
    }
}

/// The same for a request from a VPC, where the APIs have the names that they have on AWS.
pub(crate) fn refuse_from_vpc(headers: &HeaderMap, authority: Option<&Authority>) -> Option<&'static str> {
    let name = named_host(headers, authority)
        .unwrap_or_default()
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let known = name.trim_end_matches('.').ends_with(".amazonaws.com");
    (!known).then_some("the Host header does not name an AWS API (*.amazonaws.com)")
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    if let Ok(address) = name.parse::<std::net::IpAddr>() {
        return address.is_loopback();
    }
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn local_clients_pass() {
        for host in [
            "localhost:4566",
            "127.0.0.1:4566",
            "[::1]:4566",
            "000000000000.dkr.ecr.us-east-1.localhost:4566",
            "LOCALHOST",
        ] {
            assert_eq!(refuse(&headers(&[("host", host)]), None, "/"), None, "{host}");
        }
        assert_eq!(
            refuse(&headers(&[("host", "localhost:1"), ("origin", "http://localhost:1")]), None, "/"),
            None
        );
    }

    #[test]
    fn tasks_name_the_apis_as_on_aws() {
        for (host, passes) in [
            ("sts.us-east-1.amazonaws.com:443", true),
            ("bucket.s3.us-east-1.amazonaws.com", true),
            ("198.18.0.254", false),
            ("localhost:4566", false),
            ("amazonaws.com.evil.example", false),
        ] {
            assert_eq!(refuse_from_vpc(&headers(&[("host", host)]), None).is_none(), passes, "{host}");
        }
    }

    #[test]
    fn web_pages_and_rebound_names_do_not() {
        for pairs in [
            &[("host", "evil.example")][..],
            &[("host", "localhost.evil.example:4566")],
            &[("host", "10.0.0.1:4566")],
            &[("host", "localhost:4566"), ("origin", "http://evil.example")],
            &[("host", "localhost:4566"), ("origin", "null")],
            &[("host", "localhost:4566"), ("sec-fetch-site", "cross-site")],
            &[],
        ] {
            assert!(refuse(&headers(pairs), None, "/v2/").is_some(), "{pairs:?}");
        }
    }

    #[test]
    fn a_registry_is_reached_by_the_name_that_aws_gives_it() {
        let host = headers(&[("host", "000000000000.dkr.ecr.us-east-1.amazonaws.com")]);
        assert_eq!(refuse(&host, None, "/v2/web/tags/list"), None);
        assert!(refuse(&host, None, "/").is_some(), "the APIs have other names");
        let other = headers(&[("host", "000000000000.dkr.ecr.us-east-1.amazonaws.com.evil.example")]);
        assert!(refuse(&other, None, "/v2/").is_some());
    }
}
