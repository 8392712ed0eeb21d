//! What goes over the wire, byte for byte, where a client depends on it.

use bytes::Bytes;
use http::Request;
use pileus_core::ApiError;
use pileus_model::{Operation, Protocol, Structure as _, Value};
use pileus_wire::{Call, Dialect, Rejection, decode, decode_response, detect, encode_error, encode_response};

fn call(headers: &[(&str, &str)], uri: &str, body: &str) -> Result<Call, Rejection> {
    let mut request = Request::builder().method("POST").uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    detect(pileus_aws::SERVICES, &parts, &Bytes::from(body.to_owned()))
}

fn scoped(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

fn query(service: &str, body: &str) -> Result<Call, Rejection> {
    call(&[("authorization", &scoped(service))], "/", body)
}

fn json(target: &str, body: &str) -> Result<Call, Rejection> {
    call(&[("x-amz-target", target), ("content-type", "application/x-amz-json-1.1")], "/", body)
}

fn code(result: Result<Call, Rejection>) -> (String, u16) {
    let error = match result {
        Err(rejection) => rejection.error,
        Ok(call) => decode(&call).expect_err("the request is wrong"),
    };
    (error.code.into_owned(), error.status)
}

fn body(response: &http::Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).expect("text")
}

fn dialect(protocol: Protocol) -> Dialect {
    Dialect { protocol, json_version: "1.1" }
}

#[test]
fn the_scope_tells_services_with_the_same_action_apart() {
    let tags = |service, version| {
        let body = format!("Action=DescribeTags&Version={version}&ResourceArns.member.1=arn");
        query(service, &body).map(|call| call.operation.service.name)
    };
    assert_eq!(tags("elasticloadbalancing", "2015-12-01").expect("elbv2"), "elbv2");
    assert_eq!(tags("ec2", "2016-11-15").expect("ec2"), "ec2");
    assert_eq!(
        code(query("elasticloadbalancing", "Action=DescribeTags&Version=2012-06-01")).0,
        "InvalidAction"
    );
}

#[test]
fn what_pileus_does_not_have_is_named() {
    let fleet = query("ec2", "Action=CreateFleet&Version=2016-11-15").expect_err("not implemented");
    assert_eq!(fleet.error, ApiError::not_implemented("ec2:CreateFleet"));
    assert_eq!((fleet.error.status, fleet.dialect.protocol), (400, Protocol::Ec2));
    assert_eq!(code(query("ec2", "Action=Frobnicate&Version=2016-11-15")), ("InvalidAction".to_owned(), 400));
    assert_eq!(code(query("ec2", "Foo=1")), ("MissingAction".to_owned(), 400));
    let ecs = "AmazonEC2ContainerServiceV20141113";
    assert_eq!(code(json(&format!("{ecs}.Frobnicate"), "{}")).0, "UnknownOperationException");
    assert_eq!(code(json("Nobody.RunTask", "{}")).0, "UnknownOperationException");
    let newer = json(&format!("{ecs}.RunTask"), "{\"taskDefinition\":\"a\",\"teleport\":true}");
    assert_eq!(code(newer).0, "UnsupportedOperation");
    assert_eq!(code(query("ec2", "Action=DeleteVpc&VpcId=vpc-1&Force=1")).0, "UnknownParameter");
}

#[test]
fn malformed_values_are_refused_in_the_protocols_words() {
    let target = "AmazonEC2ContainerServiceV20141113.RunTask";
    let wrong = decode(&json(target, "{\"taskDefinition\":\"a\",\"count\":\"two\"}").expect("a call"));
    let error = wrong.expect_err("count is no number");
    assert_eq!(error.message, "STRING_VALUE can not be converted to Integer (at 'count')");
    assert_eq!(code(json(target, "{")).0, "SerializationException");
    assert_eq!(code(json(target, "[]")).0, "SerializationException");
    assert_eq!(
        code(json(target, "{\"taskDefinition\":\"a\",\"count\":3000000000}")).0,
        "SerializationException"
    );
    assert_eq!(code(query("ec2", "Action=DescribeVpcs&MaxResults=many")).0, "InvalidParameterValue");
    assert_eq!(code(query("iam", "Action=ListRoles&MaxItems=many")).0, "MalformedInput");
    assert_eq!(code(query("ec2", "Action=DescribeVpcs&VpcId.one=vpc-1")).0, "MalformedQueryString");
    assert_eq!(code(query("ec2", "Action=DescribeVpcs&VpcId.1=%ff")).0, "MalformedQueryString");
    assert_eq!(code(query("ec2", "Action=DeleteVpc&VpcId=a&VpcId=b")).0, "MalformedQueryString");
}

#[test]
fn members_that_ask_for_nothing_are_no_use_of_an_unsupported_one() {
    let target = "AmazonEC2ContainerServiceV20141113.RunTask";
    let input = |member: &str| {
        decode(&json(target, &format!("{{\"taskDefinition\":\"a\",{member}}}")).expect("a call"))
            .expect("well-formed")
    };
    assert_eq!(input("\"placementConstraints\":[]").get("placementConstraints"), None);
    assert_eq!(input("\"placementConstraints\":null").get("placementConstraints"), None);
    let used = input("\"placementConstraints\":[{\"type\":\"distinctInstance\"}]");
    let error =
        pileus_model::validate(pileus_aws::ecs::ops::RunTask::SCHEMA, &used).expect_err("unsupported");
    assert_eq!(error.message, "Pileus does not implement the parameter placementConstraints of ecs:RunTask.");
}

#[test]
fn the_ec2_envelopes() {
    let operation = pileus_aws::ec2::ops::DescribeVpcs::SCHEMA;
    let vpc = pileus_aws::ec2::Vpc {
        vpc_id: Some("vpc-1".to_owned()),
        is_default: Some(false),
        ..Default::default()
    };
    let output = pileus_aws::ec2::DescribeVpcsResult { vpcs: Some(vec![vpc]), ..Default::default() };
    let response = encode_response(operation, dialect(Protocol::Ec2), &output.to_value(), "req-1");
    assert_eq!(
        body(&response),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeVpcsResponse \
         xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15\"><requestId>req-1</requestId><vpcSet><item>\
         <isDefault>false</isDefault><vpcId>vpc-1</vpcId></item></vpcSet></DescribeVpcsResponse>"
    );
    let delete = pileus_aws::ec2::ops::DeleteVpc::SCHEMA;
    let done = encode_response(delete, dialect(Protocol::Ec2), &Value::Structure(vec![]), "req-2");
    assert!(body(&done).contains("<return>true</return>"));
    let error = ApiError::client("InvalidVpcID.NotFound", "The vpc ID 'vpc-9' does not exist");
    let response = encode_error(Some(delete), dialect(Protocol::Ec2), &error, "req-3");
    assert_eq!(
        body(&response),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>InvalidVpcID.NotFound</Code>\
         <Message>The vpc ID 'vpc-9' does not exist</Message></Error></Errors><RequestID>req-3</RequestID></Response>"
    );
}

#[test]
fn the_query_envelopes() {
    let operation = pileus_aws::iam::ops::DeleteRole::SCHEMA;
    let done = encode_response(operation, dialect(Protocol::Query), &Value::Structure(vec![]), "req-1");
    assert_eq!(
        body(&done),
        "<DeleteRoleResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ResponseMetadata>\
         <RequestId>req-1</RequestId></ResponseMetadata></DeleteRoleResponse>"
    );
    let error = ApiError::new("NoSuchEntity", 404, "The role with name a<b cannot be found.");
    let response = encode_error(Some(operation), dialect(Protocol::Query), &error, "req-2");
    assert_eq!(response.status(), 404);
    assert_eq!(
        body(&response),
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
         <Code>NoSuchEntity</Code><Message>The role with name a&lt;b cannot be found.</Message></Error>\
         <RequestId>req-2</RequestId></ErrorResponse>"
    );
}

#[test]
fn one_error_has_the_name_of_each_protocol() {
    let operation = pileus_aws::cloudwatch::ops::PutMetricData::SCHEMA;
    let error = ApiError::client("InvalidParameterValue", "The value is bad");
    for (protocol, expected) in [
        (Protocol::Json, "InvalidParameterValueException"),
        (Protocol::Query, "<Code>InvalidParameterValue</Code>"),
    ] {
        let response = encode_error(Some(operation), dialect(protocol), &error, "id");
        assert!(body(&response).contains(expected), "{}", body(&response));
        assert_eq!(response.headers()["x-amzn-query-error"], "InvalidParameterValue;Sender");
    }
    for protocol in operation.service.protocols {
        let (parts, body) = encode_error(Some(operation), dialect(*protocol), &error, "id").into_parts();
        let decoded = decode_response(operation, parts.status, &parts.headers, &body);
        assert_eq!(decoded, Err(error.clone()), "{protocol:?}");
    }
}

#[test]
fn a_cbor_response_without_output_has_no_body() {
    let operation = pileus_aws::cloudwatch::ops::PutMetricData::SCHEMA;
    let response = encode_response(operation, dialect(Protocol::Cbor), &Value::Structure(vec![]), "id");
    assert!(response.body().is_empty() && !response.headers().contains_key("content-type"));
    assert_eq!(response.headers()["smithy-protocol"], "rpc-v2-cbor");
}

#[test]
fn a_presigned_get_is_a_query_call() {
    let uri = "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Credential=AKID%2F20260101%2Fus-east-1%2Fsts%2F\
               aws4_request&X-Amz-Signature=0";
    let call = call(&[], uri, "").expect("a call");
    assert_eq!(call.operation.name, "GetCallerIdentity");
    assert_eq!(decode(&call), Ok(Value::Structure(vec![])));
}

#[test]
fn what_the_server_cannot_be_is_a_malformed_response() {
    let operation = pileus_aws::ec2::ops::DescribeVpcs::SCHEMA;
    let headers = http::HeaderMap::new();
    let page = decode_response(operation, http::StatusCode::BAD_GATEWAY, &headers, b"<html>no</html>");
    assert_eq!(page.map_err(|error| error.code.into_owned()), Err("MalformedResponse".to_owned()));
}
