//! Settings as people write them, and the messages as people read them.

use expect_test::{Expect, expect};

use super::*;

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(text, "pileus.toml", "My App")
}

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(&parse(text).expect_err("the text is wrong").to_string());
}

#[test]
fn nothing_given_is_the_reference_architecture() {
    let manifest = parse("").unwrap();
    assert_eq!(manifest.name, "my-app");
    assert_eq!((manifest.port, manifest.cpu, manifest.memory), (3000, 256, 512));
    assert_eq!((manifest.tasks.min, manifest.tasks.max, manifest.tasks.desired()), (2, 10, 2));
    assert_eq!((manifest.health.path.as_str(), manifest.health.interval), ("/health", 30));
    assert_eq!((manifest.deploy.minimum_healthy_percent, manifest.deploy.maximum_percent), (50, 150));
    let subnets = manifest.network.subnets();
    assert_eq!(subnets.public.map(|net| net.to_string()), ["10.0.1.0/24", "10.0.2.0/24"]);
    assert_eq!(subnets.private.map(|net| net.to_string()), ["10.0.10.0/24", "10.0.11.0/24"]);
}

#[test]
fn everything_can_be_given() {
    let manifest = parse(
        r#"
        name = "shop"
        region = "eu-central-1"
        port = 8080
        cpu = 512
        memory = 1024
        tasks = { min = 3, max = 6, desired = 4 }
        health = { path = "/up?full=1", interval = 10, timeout = 3, healthy = 3, unhealthy = 4 }
        [env]
        GREETING = "hello"
        [deploy]
        minimum_healthy_percent = 100
        maximum_percent = 200
        circuit_breaker = false
        drain_seconds = 30
        [network]
        cidr = "172.20.16.0/20"
        [image]
        node = "24.x"
        install_scripts = true
        [logs]
        retention_days = 7
        "#,
    )
    .unwrap();
    assert_eq!(manifest.tasks.desired(), 4);
    assert_eq!(manifest.env["GREETING"], "hello");
    assert_eq!(manifest.network.subnets().private[1].to_string(), "172.20.27.0/24");
    assert!(!manifest.deploy.circuit_breaker && manifest.image.install_scripts);
}

#[test]
fn the_example_is_valid_and_a_directory_without_a_file_has_the_defaults() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/mashroom");
    assert_eq!(Manifest::load(&example).unwrap().name, "mashroom");
    let dir = tempfile::Builder::new().prefix("plain").tempdir().unwrap();
    assert!(Manifest::load(dir.path()).unwrap().name.starts_with("plain"));
}

#[test]
fn a_name_can_be_made_of_any_directory() {
    for (directory, name) in [
        ("mashroom", "mashroom"),
        ("My_Shop v2.0", "my-shop-v2-0"),
        ("2024-app", "app"),
        ("a-very-long-name-of-a-directory", "a-very-long-name-of"),
        ("internal-tool", "app"),
        ("日本", "app"),
        ("", "app"),
    ] {
        assert_eq!(validate::name_from(directory), name, "{directory}");
    }
}

#[test]
fn syntax_errors_show_their_place() {
    check(
        "port = 3000\nname = mashroom\n",
        &expect![[r#"
            pileus.toml:2:8: a text must be in quotes
              |
            2 | name = mashroom
              |        ^^^^^^^^"#]],
    );
    check(
        "[health\npath = \"/\"\n",
        &expect![[r#"
        pileus.toml:1:8: unclosed table, expected `]`
          |
        1 | [health
          |        ^"#]],
    );
    check(
        "port = 1\nport = 2\n",
        &expect![[r#"
        pileus.toml:2:1: duplicate key
          |
        2 | port = 2
          | ^^^^"#]],
    );
    check(
        "name = \"unfinished\n",
        &expect![[r#"
        pileus.toml:1:19: invalid basic string, expected `"`
          |
        1 | name = "unfinished
          |                   ^"#]],
    );
}

#[test]
fn unknown_settings_get_a_suggestion() {
    check(
        "prot = 3000\n",
        &expect![[r#"
        pileus.toml:1:1: there is no setting `prot` here
          |
        1 | prot = 3000
          | ^^^^
          = hint: did you mean `port`?"#]],
    );
    check(
        "port = 3000\n\n[health]\n\tintervall = 5\n",
        &expect![[r#"
        pileus.toml:4:2: there is no setting `intervall` here
          |
        4 | 	intervall = 5
          | 	^^^^^^^^^
          = hint: did you mean `interval`?"#]],
    );
    check(
        "[scaling]\ncpu = 70\n",
        &expect![[r#"
        pileus.toml:1:2: there is no setting `scaling` here
          |
        1 | [scaling]
          |  ^^^^^^^
          = hint: the settings here are: name, region, port, cpu, memory, tasks, health, env, deploy, network, image, logs"#]],
    );
    check(
        "[logs]\nretention = 70\n",
        &expect![[r#"
        pileus.toml:2:1: there is no setting `retention` here
          |
        2 | retention = 70
          | ^^^^^^^^^
          = hint: did you mean `retention_days`?"#]],
    );
}

#[test]
fn wrong_types_are_named_in_plain_words() {
    check(
        "port = \"3000\"\n",
        &expect![[r#"
        pileus.toml:1:8: invalid type: string "3000", expected a whole number from 0 to 65535
          |
        1 | port = "3000"
          |        ^^^^^^"#]],
    );
    check(
        "port = 70000\n",
        &expect![[r#"
        pileus.toml:1:8: invalid value: integer `70000`, expected a whole number from 0 to 65535
          |
        1 | port = 70000
          |        ^^^^^"#]],
    );
    check(
        "cpu = -1\n",
        &expect![[r#"
        pileus.toml:1:7: invalid value: integer `-1`, expected a whole number
          |
        1 | cpu = -1
          |       ^^"#]],
    );
    check(
        "health = \"/up\"\n",
        &expect![[r#"
        pileus.toml:1:10: invalid type: string "/up", expected a table
          |
        1 | health = "/up"
          |          ^^^^^"#]],
    );
    check(
        "[env]\nLIMIT = 5\n",
        &expect![[r#"
        pileus.toml:2:9: invalid type: integer `5`, expected a string
          |
        2 | LIMIT = 5
          |         ^
          = hint: put the value in quotes"#]],
    );
    check(
        "[network]\ncidr = \"10.0.0.0\"\n",
        &expect![[r#"
            pileus.toml:2:8: this is not a range of addresses
              |
            2 | cidr = "10.0.0.0"
              |        ^^^^^^^^^^
              = hint: such as "10.0.0.0/16""#]],
    );
}

#[test]
fn what_cannot_be_is_said_with_what_can() {
    check(
        "name = \"My Shop\"\n",
        &expect![[r#"
            pileus.toml:1:8: "My Shop" cannot be the name of an app
              |
            1 | name = "My Shop"
              |        ^^^^^^^^^
              = hint: 1 to 20 small letters, digits and single hyphens, a letter first and no hyphen last, not `internal-`; such as "my-shop""#]],
    );
    check(
        "region = \"mars\"\n",
        &expect![[r#"
        pileus.toml:1:10: "mars" is not a region
          |
        1 | region = "mars"
          |          ^^^^^^
          = hint: regions look like "us-east-1""#]],
    );
    check(
        "port = 0\n",
        &expect![[r#"
        pileus.toml:1:8: 0 is out of range
          |
        1 | port = 0
          |        ^
          = hint: port is from 1 to 65535"#]],
    );
    check(
        "cpu = 300\n",
        &expect![[r#"
        pileus.toml:1:7: Fargate has no size with 300 CPU units
          |
        1 | cpu = 300
          |       ^^^
          = hint: cpu is one of 256, 512, 1024, 2048, 4096, 8192, 16384"#]],
    );
    check(
        "cpu = 512\n",
        &expect![[r#"
        pileus.toml:1:7: Fargate has no size with 512 CPU units and 512 MiB
          |
        1 | cpu = 512
          |       ^^^
          = hint: with cpu = 512 memory is one of 1024, 2048, 3072, 4096"#]],
    );
    check(
        "cpu = 256\nmemory = 1536\n",
        &expect![[r#"
        pileus.toml:2:10: Fargate has no size with 256 CPU units and 1536 MiB
          |
        2 | memory = 1536
          |          ^^^^
          = hint: with cpu = 256 memory is one of 512, 1024, 2048"#]],
    );
    check(
        "tasks.min = 20\n",
        &expect![[r#"
        pileus.toml:1:13: at least 20 tasks and at most 10 cannot both be
          |
        1 | tasks.min = 20
          |             ^^
          = hint: tasks.min is at most tasks.max (2 and 10 if not given)"#]],
    );
    check(
        "tasks = { desired = 11 }\n",
        &expect![[r#"
        pileus.toml:1:21: 11 tasks are not between 2 and 10
          |
        1 | tasks = { desired = 11 }
          |                     ^^
          = hint: tasks.desired lies between tasks.min and tasks.max"#]],
    );
    check(
        "[health]\npath = \"health\"\n",
        &expect![[r#"
        pileus.toml:2:8: "health" is not the path of a health check
          |
        2 | path = "health"
          |        ^^^^^^^^
          = hint: a path starts with `/` and has no spaces, such as "/health""#]],
    );
    check(
        "[health]\ninterval = 5\n",
        &expect![[r#"
        pileus.toml:2:12: a timeout of 5 s is not shorter than the interval of 5 s
          |
        2 | interval = 5
          |            ^
          = hint: health.timeout must be less than health.interval (5 and 30 if not given)"#]],
    );
    check(
        "[env]\nPORT = \"80\"\n",
        &expect![[r#"
        pileus.toml:2:8: PORT is set by Pileus
          |
        2 | PORT = "80"
          |        ^^^^
          = hint: set `port = …` instead (3000 now)"#]],
    );
    check(
        "[env]\n\"a b\" = \"\"\n",
        &expect![[r#"
        pileus.toml:2:9: "a b" cannot be the name of a variable
          |
        2 | "a b" = ""
          |         ^^
          = hint: names have letters, digits and underscores, and no digit first"#]],
    );
    check(
        "[deploy]\nminimum_healthy_percent = 100\nmaximum_percent = 100\n",
        &expect![[r#"
        pileus.toml:3:19: neither fewer nor more tasks than desired may run: no task could ever be replaced
          |
        3 | maximum_percent = 100
          |                   ^^^
          = hint: lower deploy.minimum_healthy_percent or raise deploy.maximum_percent (50 and 150 if not given)"#]],
    );
    check(
        "[network]\ncidr = \"10.0.5.0/16\"\n",
        &expect![[r#"
        pileus.toml:2:8: 10.0.5.0/16 has bits beyond its prefix
          |
        2 | cidr = "10.0.5.0/16"
          |        ^^^^^^^^^^^^^
          = hint: did you mean "10.0.0.0/16"?"#]],
    );
    check(
        "[network]\ncidr = \"10.0.0.0/24\"\n",
        &expect![[r#"
        pileus.toml:2:8: a VPC of /24 cannot hold the four subnets
          |
        2 | cidr = "10.0.0.0/24"
          |        ^^^^^^^^^^^^^
          = hint: the prefix is from /16 to /20, such as "10.0.0.0/16""#]],
    );
    check(
        "[network]\ncidr = \"8.8.0.0/16\"\n",
        &expect![[r#"
        pileus.toml:2:8: 8.8.0.0/16 is not a private range
          |
        2 | cidr = "8.8.0.0/16"
          |        ^^^^^^^^^^^^
          = hint: take one within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10"#]],
    );
    check(
        "[logs]\nretention_days = 31\n",
        &expect![[r#"
        pileus.toml:2:18: CloudWatch Logs cannot keep events for 31 days
          |
        2 | retention_days = 31
          |                  ^^
          = hint: retention_days is one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653"#]],
    );
    check(
        "[image]\nbase = \"a\"\nnode = \"24\"\n",
        &expect![[r#"
        pileus.toml:3:8: a base image brings its own Node
          |
        3 | node = "24"
          |        ^^^^
          = hint: leave out either image.base or image.node"#]],
    );
    check(
        "[image]\nbase = \"a\"\ninstall_scripts = true\n",
        &expect![[r#"
        pileus.toml:3:19: install scripts cannot run for a base image
          |
        3 | install_scripts = true
          |                   ^^^^
          = hint: they would run under this host's Node, not the image's: leave out image.base or image.install_scripts"#]],
    );
}
