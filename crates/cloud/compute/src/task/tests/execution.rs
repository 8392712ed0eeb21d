//! What is done as the execution role, and what would fail on AWS.

use super::*;

/// Takes the policies of the execution role away and gives it this one.
pub(super) fn restrict(cloud: &mut Cloud, policy: &str) {
    cloud.ok::<iam::ops::DetachRolePolicy>(iam::DetachRolePolicyRequest {
        role_name: "execution".into(),
        policy_arn: "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy".into(),
    });
    cloud.ok::<iam::ops::PutRolePolicy>(iam::PutRolePolicyRequest {
        role_name: "execution".into(),
        policy_name: "only".into(),
        policy_document: format!(r#"{{"Version":"2012-10-17","Statement":[{policy}]}}"#),
    });
}

#[test]
fn images_are_pulled_and_logs_opened_as_the_execution_role() {
    let allow = |actions: &str, resource: &str| {
        format!(r#"{{"Effect":"Allow","Action":[{actions}],"Resource":"{resource}"}}"#)
    };
    let token = allow(r#""ecr:GetAuthorizationToken""#, "*");
    let fetch = allow(
        r#""ecr:BatchGetImage","ecr:GetDownloadUrlForLayer""#,
        "arn:aws:ecr:us-east-1:000000000000:repository/web",
    );
    let logs = allow(
        r#""logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents""#,
        "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web*",
    );
    for (policy, expected) in [
        (logs.clone(), "ecr:GetAuthorizationToken on resource: *"),
        (token.clone(), "403 Forbidden"),
        ([token.clone(), fetch.clone()].join(","), "failed to create Cloudwatch log stream"),
    ] {
        let (mut cloud, place) = ready();
        register_logging(&mut cloud, "true");
        restrict(&mut cloud, &policy);
        let task = run(&mut cloud, request(&place));
        let stopped = shown(&mut cloud, &task);
        assert_eq!(stopped.stop_code.as_deref(), Some("TaskFailedToStart"));
        let reason = stopped.stopped_reason.unwrap();
        assert!(reason.contains(expected), "{reason}");
        assert!(
            reason.contains("AccessDeniedException: User: arn:aws:sts::000000000000:assumed-role/execution/")
        );
    }
    let (mut cloud, place) = ready();
    register_logging(&mut cloud, "true");
    restrict(&mut cloud, &[token, fetch, logs].join(","));
    let task = run(&mut cloud, request(&place));
    assert_eq!(shown(&mut cloud, &task).last_status.as_deref(), Some("PENDING"));
    assert_eq!(log_routes(&cloud.state).len(), 1);
}

#[test]
fn secrets_are_read_as_the_execution_role_and_shown_nowhere() {
    let (mut cloud, place) = ready();
    let secret = pileus_aws::secretsmanager::CreateSecretRequest {
        name: "db".into(),
        secret_string: Some(r#"{"password":"open-sesame"}"#.to_owned()),
        ..Default::default()
    };
    let arn = cloud.ok::<pileus_aws::secretsmanager::ops::CreateSecret>(secret).arn.unwrap();
    let mut web = definition();
    web.container_definitions[0].secrets =
        Some(vec![ecs::Secret { name: "PASSWORD".into(), value_from: format!("{arn}:password::") }]);
    cloud.ok::<ops::RegisterTaskDefinition>(web);
    let task = run(&mut cloud, request(&place));
    let denied = crate::secrets(&cloud.state, &task, cloud.now).unwrap_err().to_string();
    let expected = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval \
                    failed: unable to retrieve secret from asm";
    assert!(denied.starts_with(expected), "{denied}");
    assert!(denied.contains("secretsmanager:GetSecretValue"), "{denied}");
    cloud.ok::<iam::ops::PutRolePolicy>(iam::PutRolePolicyRequest {
        role_name: "execution".into(),
        policy_name: "secrets".into(),
        policy_document: format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"secretsmanager:GetSecretValue",
            "Resource":"{arn}"}}]}}"#
        ),
    });
    let read = crate::secrets(&cloud.state, &task, cloud.now).unwrap();
    let namespace = |interface: &str| PathBuf::from(interface);
    let spec = task_spec(&cloud.state, &task, &namespace, None, read).unwrap();
    assert_eq!(spec.containers[0].secrets["PASSWORD"].reveal(), "open-sesame");
    assert!(!format!("{spec:?}").contains("open-sesame"));
    assert!(!format!("{:?}", shown(&mut cloud, &task)).contains("open-sesame"));
    let keyed = |name: &str| spec.containers[0].environment.contains_key(name);
    assert!(keyed("AWS_ENDPOINT_URL_SECRETS_MANAGER") && !keyed("PASSWORD"));
}

#[test]
fn what_would_fail_on_aws_is_told_once_and_fails_where_the_engine_is_strict() {
    let (mut cloud, place) = ready();
    cloud.ok::<ops::CreateService>(ecs::CreateServiceRequest {
        load_balancers: None,
        ..crate::testing::service(&place, 2)
    });
    // The tasks are made, and then their interfaces are there.
    step(&mut cloud);
    step(&mut cloud);
    let warnings = |cloud: &mut Cloud| {
        let input = ecs::DescribeServicesRequest { services: vec!["web".into()], ..Default::default() };
        let services = cloud.ok::<ops::DescribeServices>(input).services.unwrap();
        let events = services[0].events.clone().unwrap_or_default().into_iter();
        events
            .filter_map(|event| event.message)
            .filter(|it| it.contains("would fail on AWS"))
            .collect::<Vec<_>>()
    };
    let told = warnings(&mut cloud);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("api.ecr.us-east-1.amazonaws.com"), "{told:?}");
    let pending = || Some("PENDING".to_owned());
    let lenient = run(&mut cloud, request(&place));
    assert_eq!(shown(&mut cloud, &lenient).last_status, pending(), "here it starts");
    cloud.write(|cx| pileus_security::set_strict(cx.tx, true));
    let strict = run(&mut cloud, request(&place));
    let reason = shown(&mut cloud, &strict).stopped_reason.unwrap();
    let expected = "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry \
                    auth from Amazon ECR: There is a connection issue";
    assert!(reason.starts_with(expected), "{reason}");
}
