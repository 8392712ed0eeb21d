//! Generated structs: to a value and back, to their stored form and back, and what they show of themselves.

use pileus_aws::{ecr, ecs};
use pileus_core::Timestamp;
use pileus_model::{Problem, ShapeError, Structure as _, Value};

fn part() -> ecr::UploadLayerPartRequest {
    ecr::UploadLayerPartRequest {
        repository_name: "web".to_owned(),
        layer_part_blob: vec![0, 255],
        part_last_byte: 1,
        ..Default::default()
    }
}

#[test]
fn a_value_and_back() {
    assert_eq!(ecr::UploadLayerPartRequest::from_value(part().to_value()), Ok(part()));
}

#[test]
fn a_wrong_value_says_where() {
    let mut value = part().to_value();
    if let Value::Structure(members) = &mut value {
        members.retain(|(name, _)| *name != "uploadId");
    }
    let error = ecr::UploadLayerPartRequest::from_value(value).expect_err("a member is missing");
    let expected =
        ShapeError { structure: "UploadLayerPartRequest", member: "uploadId", problem: Problem::Missing };
    assert_eq!(error, expected);
    assert_eq!(error.to_string(), "UploadLayerPartRequest.uploadId is missing");
}

#[test]
fn the_stored_form_has_the_models_names() {
    let stored = serde_json::to_string(&part()).expect("it can be stored");
    assert_eq!(
        stored,
        r#"{"repositoryName":"web","uploadId":"","partFirstByte":0,"partLastByte":1,"layerPartBlob":"AP8="}"#
    );
    assert_eq!(serde_json::from_str::<ecr::UploadLayerPartRequest>(&stored).expect("it can be read"), part());
}

#[test]
fn a_stored_member_that_is_gone_is_passed_over() {
    let stored = r#"{"name":"c","gone":[{"a":null}],"cpu":1}"#;
    let container: ecs::ContainerDefinition = serde_json::from_str(stored).expect("it can be read");
    assert_eq!((container.name.as_deref(), container.cpu), (Some("c"), Some(1)));
}

#[test]
fn timestamps_are_stored_to_the_millisecond() {
    let task =
        ecs::Task { created_at: Some(Timestamp::from_millis(1_795_377_600_123)), ..Default::default() };
    let stored = serde_json::to_string(&task).expect("it can be stored");
    assert_eq!(stored, r#"{"createdAt":1795377600123}"#);
    assert_eq!(serde_json::from_str::<ecs::Task>(&stored).expect("it can be read"), task);
}

#[test]
fn debug_hides_what_is_sensitive() {
    let pair = ecs::KeyValuePair { name: Some("PASSWORD".to_owned()), value: Some("hunter2".to_owned()) };
    let container = ecs::ContainerDefinition {
        name: Some("c".to_owned()),
        environment: Some(vec![pair]),
        ..Default::default()
    };
    assert_eq!(format!("{container:?}"), r#"ContainerDefinition { name: "c", environment: *** }"#);
}
