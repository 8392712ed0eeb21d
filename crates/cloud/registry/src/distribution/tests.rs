//! The protocol as clients speak it, from request to response.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Response;
use pileus_kit::Cloud;
use pileus_state::Tx;

use super::*;
use crate::testing::{cloud, digest, layer, manifest, push, repository, token};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A client that has signed in.
struct Client {
    cloud: Cloud,
    token: String,
}

impl Client {
    fn new() -> Self {
        let mut cloud = cloud();
        repository(&mut cloud, "web");
        let token = token(&mut cloud);
        Self { cloud, token }
    }

    /// A request as a server carries it out.
    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        self.exchange(method, path, headers, body).unwrap_or_else(Into::into)
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Response<Body>, Refusal> {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.token.is_empty() {
            let pair = STANDARD.encode(format!("AWS:{}", self.token));
            request = request.header("authorization", format!("Basic {pair}"));
        }
        let (parts, ()) = request.header("content-length", body.len()).body(()).unwrap().into_parts();
        let request = Request::parse(&parts)?;
        let principal = authenticate(&self.cloud.state, &request, self.cloud.now)?;
        let cloud = &mut self.cloud;
        cloud.scope = principal.scope;
        let content = match request.work() {
            Work::Read => Content::None,
            Work::Write => Content::Bytes(body.as_bytes()),
            Work::Receive => {
                let tx = Tx::new(&cloud.state, cloud.scope.clone());
                match receive(&tx, &cloud.bulk, &request, &mut body.as_bytes())? {
                    Received::Answer(answer) => return Ok(answer),
                    Received::Stored(stored) => Content::Stored(stored),
                }
            }
        };
        cloud.write(|cx| handle(cx, &request, content))
    }

    fn begin(&mut self) -> String {
        let begun = self.send("POST", "/v2/web/blobs/uploads/", &[], "");
        assert_eq!(begun.status(), 202);
        header(&begun, "location")
    }
}

fn header(response: &Response<Body>, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn bytes(response: Response<Body>) -> Vec<u8> {
    match response.into_body() {
        Body::Bytes(bytes) => bytes,
        Body::File { path, first, length } => {
            std::fs::read(path).unwrap()[first as usize..][..length as usize].to_vec()
        }
    }
}

fn refused(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let document: serde_json::Value = serde_json::from_slice(&bytes(response)).unwrap();
    (status, document["errors"][0]["code"].as_str().unwrap().to_owned())
}

#[test]
fn an_image_is_pushed_and_pulled() {
    let mut client = Client::new();
    let blob = digest("one");
    assert_eq!(client.send("HEAD", &format!("/v2/web/blobs/{blob}"), &[], "").status(), 404);
    let location = client.begin();
    let done = client.send("PUT", &format!("{location}?digest={}", blob.replace(':', "%3A")), &[], "one");
    assert_eq!((done.status().as_u16(), header(&done, "docker-content-digest")), (201, blob.clone()));
    let head = client.send("HEAD", &format!("/v2/web/blobs/{blob}"), &[], "");
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, "3".into()));
    assert!(bytes(head).is_empty());
    assert_eq!(bytes(client.send("GET", &header(&done, "location"), &[], "")), b"one");
    let text = manifest("one");
    let put = client.send("PUT", "/v2/web/manifests/latest", &[("content-type", MANIFEST)], &text);
    assert_eq!((put.status().as_u16(), header(&put, "docker-content-digest")), (201, digest(&text)));
    // Once more, by tag and by digest: nothing changes.
    for reference in ["latest".to_owned(), digest(&text)] {
        let path = format!("/v2/web/manifests/{reference}");
        assert_eq!(client.send("PUT", &path, &[("content-type", MANIFEST)], &text).status(), 201);
        let got = client.send("GET", &path, &[], "");
        assert_eq!(
            (header(&got, "content-type"), bytes(got)),
            (MANIFEST.to_owned(), text.clone().into_bytes())
        );
    }
    let head = client.send("HEAD", "/v2/web/manifests/latest", &[], "");
    assert_eq!(header(&head, "content-length"), text.len().to_string());
    assert!(bytes(head).is_empty());
}

#[test]
fn chunks_follow_one_another() {
    let mut client = Client::new();
    let location = client.begin();
    let first = client.send("PATCH", &location, &[("content-range", "0-1")], "he");
    assert_eq!((first.status().as_u16(), header(&first, "range")), (202, "0-1".into()));
    let wrong = client.send("PATCH", &location, &[("content-range", "5-6")], "xx");
    assert_eq!(header(&wrong, "range"), "0-1");
    assert_eq!(refused(wrong), (416, "BLOB_UPLOAD_INVALID".into()));
    let asked = client.send("GET", &location, &[], "");
    assert_eq!((asked.status().as_u16(), header(&asked, "range")), (204, "0-1".into()));
    assert_eq!(client.send("PATCH", &location, &[], "llo").status(), 202);
    let done = client.send("PUT", &format!("{location}?digest={}", digest("hello")), &[], "");
    assert_eq!(done.status(), 201);
    assert_eq!(refused(client.send("PATCH", &location, &[], "x")), (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[test]
fn a_wrong_digest_makes_no_blob() {
    let mut client = Client::new();
    let location = client.begin();
    let code = |response| refused(response).1;
    assert_eq!(code(client.send("PUT", &location, &[], "hello")), "DIGEST_INVALID");
    assert_eq!(code(client.send("PUT", &format!("{location}?digest=md5:x"), &[], "hello")), "DIGEST_INVALID");
    let path = format!("{location}?digest={}", digest("bye"));
    client.send("PATCH", &location, &[], "he");
    assert_eq!(refused(client.send("PUT", &path, &[], "llo")), (400, "DIGEST_INVALID".into()));
    assert_eq!(client.cloud.bulk.blobs.list(), Ok(Vec::new()));
    // The upload is as it was before: the same end with the right digest completes it.
    let path = format!("{location}?digest={}", digest("hello"));
    assert_eq!(client.send("PUT", &path, &[], "llo").status(), 201);
}

#[test]
fn an_upload_can_be_abandoned() {
    let mut client = Client::new();
    let location = client.begin();
    client.send("PATCH", &location, &[], "hello");
    assert_eq!(client.send("DELETE", &location, &[], "").status(), 204);
    assert_eq!(client.send("GET", &location, &[], "").status(), 404);
}

#[test]
fn unknown_things_have_their_codes() {
    let mut client = Client::new();
    layer(&mut client.cloud, "web", "one");
    let text = manifest("two");
    for (method, path, body, status, code) in [
        ("GET", "/v2/api/manifests/latest".to_owned(), "", 404, "NAME_UNKNOWN"),
        ("POST", "/v2/api/blobs/uploads/".to_owned(), "", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/web/manifests/v1".to_owned(), "", 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/web/blobs/{}", digest("x")), "", 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/web/blobs/x".to_owned(), "", 404, "BLOB_UNKNOWN"),
        ("PUT", "/v2/web/manifests/v1".to_owned(), &text, 400, "MANIFEST_BLOB_UNKNOWN"),
        ("PUT", "/v2/web/manifests/v1".to_owned(), "{", 400, "MANIFEST_INVALID"),
        ("PUT", format!("/v2/web/manifests/{}", digest("x")), &manifest("one"), 400, "DIGEST_INVALID"),
        ("PUT", "/v2/web/manifests/-v1".to_owned(), &manifest("one"), 400, "TAG_INVALID"),
        ("DELETE", "/v2/web/manifests/v1".to_owned(), "", 404, "MANIFEST_UNKNOWN"),
        ("DELETE", format!("/v2/web/blobs/{}", digest("one")), "", 405, "UNSUPPORTED"),
        ("GET", "/v2/web/tags/list?n=x".to_owned(), "", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET", "/v2/web/referrers/x".to_owned(), "", 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/{}/tags/list", "a/".repeat(600)), "", 404, "NAME_INVALID"),
        ("GET", "/v2/_catalog".to_owned(), "", 404, "UNSUPPORTED"),
    ] {
        assert_eq!(
            refused(client.send(method, &path, &[], body)),
            (status, code.to_owned()),
            "{method} {path}"
        );
    }
}

#[test]
fn a_blob_of_another_repository_is_not_there() {
    let mut client = Client::new();
    repository(&mut client.cloud, "api");
    layer(&mut client.cloud, "api", "one");
    let path = format!("/v2/web/blobs/{}", digest("one"));
    assert_eq!(client.send("GET", &path, &[], "").status(), 404);
}

#[test]
fn tags_are_listed_in_pages() {
    let mut client = Client::new();
    for tag in ["v1", "v2", "v3"] {
        push(&mut client.cloud, "web", tag, Some(tag));
    }
    let first = client.send("GET", "/v2/web/tags/list?n=2", &[], "");
    assert_eq!(header(&first, "link"), "</v2/web/tags/list?n=2&last=v2>; rel=\"next\"");
    assert_eq!(bytes(first), br#"{"name":"web","tags":["v1","v2"]}"#);
    let second = client.send("GET", "/v2/web/tags/list?n=2&last=v2", &[], "");
    assert_eq!(header(&second, "link"), "");
    assert_eq!(bytes(second), br#"{"name":"web","tags":["v3"]}"#);
}

#[test]
fn one_must_sign_in() {
    let mut client = Client::new();
    assert_eq!(client.send("GET", "/v2/", &[], "").status(), 200);
    let good = std::mem::take(&mut client.token);
    let challenge = client.send("GET", "/v2/", &[], "");
    assert!(header(&challenge, "www-authenticate").starts_with("Basic "));
    assert_eq!(refused(challenge), (401, "UNAUTHORIZED".into()));
    for bad in ["Bearer x", "Basic !", "Basic eDp5", "Basic"] {
        assert_eq!(client.send("GET", "/v2/", &[("authorization", bad)], "").status(), 401, "{bad}");
    }
    client.token = format!("{good}x");
    assert_eq!(client.send("GET", "/v2/", &[], "").status(), 401);
    client.token = good;
    let own = ("host", "000000000000.dkr.ecr.us-east-1.localhost:4566");
    assert_eq!(client.send("GET", "/v2/", &[own], "").status(), 200);
}

#[test]
fn the_host_names_the_registry_in_both_forms() {
    let mut client = Client::new();
    push(&mut client.cloud, "web", "one", Some("v1"));
    for (host, status) in [
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com", 200),
        ("000000000000.dkr.ecr.us-east-1.localhost:4566", 200),
        ("000000000000.dkr.ecr.eu-west-1.amazonaws.com", 404),
        ("111111111111.dkr.ecr.us-east-1.amazonaws.com", 404),
        ("localhost:4566", 200),
    ] {
        let response = client.send("GET", "/v2/web/manifests/v1", &[("host", host)], "");
        assert_eq!(response.status(), status, "{host}");
        client.cloud.scope = pileus_core::Scope::new("000000000000", "us-east-1");
    }
}

#[test]
fn a_whole_layer_comes_with_the_request_that_begins_it() {
    let mut client = Client::new();
    let path = |content| format!("/v2/web/blobs/uploads/?digest={}", digest(content));
    assert_eq!(refused(client.send("POST", &path("bye"), &[], "hello")), (400, "DIGEST_INVALID".into()));
    let done = client.send("POST", &path("hello"), &[], "hello");
    assert_eq!(done.status(), 201);
    assert_eq!(bytes(client.send("GET", &header(&done, "location"), &[], "")), b"hello");
}

#[test]
fn a_layer_is_taken_from_another_repository() {
    let mut client = Client::new();
    repository(&mut client.cloud, "api");
    layer(&mut client.cloud, "api", "one");
    let mount = |from: &str| format!("/v2/web/blobs/uploads/?mount={}&from={from}", digest("one"));
    for other in ["none", "web"] {
        let begun = client.send("POST", &mount(other), &[], "");
        assert_eq!(begun.status(), 202, "an ordinary upload begins");
        assert!(header(&begun, "location").starts_with("/v2/web/blobs/uploads/"));
    }
    let mounted = client.send("POST", &mount("api"), &[], "");
    assert_eq!((mounted.status().as_u16(), header(&mounted, "docker-content-digest")), (201, digest("one")));
    let got = client.send("GET", &format!("/v2/web/blobs/{}", digest("one")), &[], "");
    assert_eq!(got.status(), 200);
}

#[test]
fn a_part_of_a_blob_is_served() {
    let mut client = Client::new();
    layer(&mut client.cloud, "web", "hello");
    let path = format!("/v2/web/blobs/{}", digest("hello"));
    let part = client.send("GET", &path, &[("range", "bytes=1-3")], "");
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, "bytes 1-3/5".into()));
    assert_eq!((header(&part, "content-length"), bytes(part)), ("3".into(), b"ell".to_vec()));
    let beyond = client.send("GET", &path, &[("range", "bytes=9-")], "");
    assert_eq!((beyond.status().as_u16(), header(&beyond, "content-range")), (416, "bytes */5".into()));
}

#[test]
fn images_and_tags_are_deleted() {
    let mut client = Client::new();
    let image = push(&mut client.cloud, "web", "one", Some("v1"));
    let put = client.send("PUT", "/v2/web/manifests/v2", &[("content-type", MANIFEST)], &manifest("one"));
    assert_eq!(put.status(), 201);
    assert_eq!(client.send("DELETE", "/v2/web/manifests/v1", &[], "").status(), 202);
    assert_eq!(client.send("GET", "/v2/web/manifests/v1", &[], "").status(), 404);
    let path = format!("/v2/web/manifests/{image}");
    assert_eq!(client.send("GET", &path, &[], "").status(), 200);
    assert_eq!(client.send("DELETE", &path, &[], "").status(), 202);
    assert_eq!(client.send("GET", "/v2/web/manifests/v2", &[], "").status(), 404);
}

#[test]
fn referrers_are_listed_by_kind() {
    let mut client = Client::new();
    let image = push(&mut client.cloud, "web", "one", Some("v1"));
    let subject = format!(r#""artifactType":"a/b","subject":{{"digest":"{image}","size":1}},"layers""#);
    let signature = manifest("one").replace(r#""layers""#, &subject);
    let path = format!("/v2/web/manifests/{}", digest(&signature));
    let put = client.send("PUT", &path, &[("content-type", MANIFEST)], &signature);
    assert_eq!((put.status().as_u16(), header(&put, "oci-subject")), (201, image.clone()));
    for (query, count, applied) in
        [("", 1, ""), ("?artifactType=a%2Fb", 1, "artifactType"), ("?artifactType=c", 0, "artifactType")]
    {
        let listed = client.send("GET", &format!("/v2/web/referrers/{image}{query}"), &[], "");
        assert_eq!(header(&listed, "oci-filters-applied"), applied);
        let index: serde_json::Value = serde_json::from_slice(&bytes(listed)).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), count, "{query}");
    }
    let none = client.send("GET", &format!("/v2/web/referrers/{}", digest("x")), &[], "");
    assert_eq!(none.status(), 200);
}

#[test]
fn a_pull_is_noted() {
    let mut client = Client::new();
    push(&mut client.cloud, "web", "one", Some("v1"));
    let pulled = |client: &mut Client| {
        let input =
            pileus_aws::ecr::DescribeImagesRequest { repository_name: "web".into(), ..Default::default() };
        let details = client.cloud.ok::<pileus_aws::ecr::ops::DescribeImages>(input).image_details.unwrap();
        details[0].last_recorded_pull_time
    };
    client.send("HEAD", "/v2/web/manifests/v1", &[], "");
    assert_eq!(pulled(&mut client), None);
    client.send("GET", "/v2/web/manifests/v1", &[], "");
    assert_eq!(pulled(&mut client), Some(client.cloud.now));
}

#[test]
fn the_address_of_a_layer_opens_that_layer_only() {
    let mut client = Client::new();
    layer(&mut client.cloud, "web", "one");
    layer(&mut client.cloud, "web", "two");
    let input = pileus_aws::ecr::GetDownloadUrlForLayerRequest {
        registry_id: None,
        repository_name: "web".into(),
        layer_digest: digest("one"),
    };
    let url = client.cloud.ok::<pileus_aws::ecr::ops::GetDownloadUrlForLayer>(input).download_url.unwrap();
    let path = url.split_once(":4566").unwrap().1.to_owned();
    client.token.clear();
    assert_eq!(bytes(client.send("GET", &path, &[], "")), b"one");
    let other = path.replace(&digest("one"), &digest("two"));
    assert_eq!(refused(client.send("GET", &other, &[], "")), (403, "DENIED".into()));
    client.cloud.advance(std::time::Duration::from_secs(3600));
    assert_eq!(client.send("GET", &path, &[], "").status(), 401);
}
