//! Known secrets are nowhere in what ticketctl writes: searched for in everything that a whole life of a stack leaves behind.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ticketctl::aws::Context;

use crate::e2e::world::World;

/// The credentials that ticketctl is called with.
const PLANTED: [(&str, &str); 2] = [
    ("AWS_SECRET_ACCESS_KEY", "planted/secret+access+key/0123456789abcd"),
    ("AWS_SESSION_TOKEN", "planted-session-token-0123456789abcdef"),
];

/// Texts by where they were found.
type Written = BTreeMap<String, Vec<u8>>;

/// Runs ticketctl as talkative as it gets, and keeps what it says.
async fn run(world: &World, written: &mut Written, arguments: &[&str], code: i32) {
    let stack = world.stack("dev.yaml");
    let mut command = world.command(&[arguments, &["-vv", "-f", stack.to_str().expect("UTF-8")]].concat());
    command.envs(PLANTED);
    let ran = world.finish(command).await.exits(code);
    written.insert(format!("standard output of {arguments:?}"), ran.out.into_bytes());
    written.insert(format!("standard error of {arguments:?}"), ran.err.into_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_is_written() {
    let world = World::new().await;
    let plan = world.path("plan.json");
    let file = plan.to_str().expect("UTF-8");
    let mut written = Written::new();
    run(&world, &mut written, &["plan", "--out", file], 0).await;
    run(&world, &mut written, &["apply", "--plan", file, "--json"], 0).await;
    let cx = world.clients().await;
    plant_master_password(&cx).await;
    let all: [&[&str]; 9] = [
        &["plan", "--set", "database.name=other", "--format", "json"],
        &["plan", "--set", "database.name=other", "--format", "markdown", "--log-format", "json"],
        &["apply", "--set", "services.web.instances.max=30", "--yes"],
        &["resources"],
        &["output"],
        &["drift"],
        &["history"],
        &["doctor"],
        &["config", "show"],
    ];
    for arguments in all {
        run(&world, &mut written, arguments, 0).await;
    }
    let refused = serde_json::json!([{"kind": "refuse", "code": "UnrecognizedClientException", "status": 403}]);
    world.disturb(refused).await;
    run(&world, &mut written, &["apply", "--yes"], 1).await;
    world.disturb(serde_json::json!([])).await;

    let secrets = secrets(&cx).await;
    in_cloud(&cx, &mut written).await;
    files(&world.path(""), &mut written);
    run(&world, &mut written, &["destroy", "--yes"], 0).await;
    for place in ["user-data of version", "/runs/", "plan.json", "dashboard"] {
        assert!(written.keys().any(|key| key.contains(place)), "no {place} in {:?}", written.keys());
    }
    for (name, secret) in &secrets {
        assert!(secret.len() >= 16, "{name} is no secret that could be told from other text");
        let found: Vec<_> = written.iter().filter(|(_, text)| holds(text, secret)).map(|(place, _)| place).collect();
        assert!(found.is_empty(), "{name} is in {found:?}");
    }
}

/// The emulator's own is too short to be told from other text.
async fn plant_master_password(cx: &Context) {
    let clusters = cx.rds.describe_db_clusters().send().await.expect("clusters");
    let secret = clusters.db_clusters()[0].master_user_secret().and_then(|secret| secret.secret_arn());
    let text = r#"{"username": "admin", "password": "planted-master-password"}"#;
    cx.secrets
        .put_secret_value()
        .secret_id(secret.expect("a secret"))
        .secret_string(text)
        .send()
        .await
        .expect("planted");
}

/// As it is, and as it would be in user-data.
fn holds(text: &[u8], secret: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains(secret) || text.contains(BASE64_STANDARD.encode(secret).trim_end_matches('='))
}

/// Every secret there is: the planted ones, and all that Secrets Manager has.
async fn secrets(cx: &Context) -> BTreeMap<String, String> {
    let mut secrets: BTreeMap<_, _> = PLANTED.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let all = cx.secrets.list_secrets().send().await.expect("secrets");
    for secret in all.secret_list() {
        let name = secret.name().unwrap_or_default();
        let value = cx.secrets.get_secret_value().secret_id(name).send().await.expect("its value");
        let text = value.secret_string().expect("a text");
        // RDS keeps user and password together.
        let password = serde_json::from_str::<serde_json::Value>(text).ok();
        let password = password.and_then(|json| json["password"].as_str().map(str::to_owned));
        secrets.insert(name.to_owned(), password.unwrap_or_else(|| text.to_owned()));
    }
    assert!(secrets.len() >= PLANTED.len() + 2, "the stack makes secrets: {:?}", secrets.keys());
    secrets
}

/// What stands in AWS where others than the service can read it.
async fn in_cloud(cx: &Context, written: &mut Written) {
    let bucket = format!("ticketctl-{}-{}", cx.account().await.expect("an account"), cx.region);
    let versions = cx.s3.list_object_versions().bucket(&bucket).send().await.expect("the control bucket");
    for version in versions.versions() {
        let (key, id) = (version.key().unwrap_or_default(), version.version_id().unwrap_or_default());
        let object = cx.s3.get_object().bucket(&bucket).key(key).version_id(id).send().await.expect("an object");
        written.insert(format!("{key} {id}"), object.body.collect().await.expect("its text").to_vec());
    }
    let templates = cx.ec2.describe_launch_templates().send().await.expect("launch templates");
    for template in templates.launch_templates().iter().filter_map(|template| template.launch_template_id()) {
        let all =
            cx.ec2.describe_launch_template_versions().launch_template_id(template).send().await.expect("versions");
        for version in all.launch_template_versions() {
            let data = version.launch_template_data().expect("data");
            let place = format!("version {:?} of {template}", version.version_number());
            let script = BASE64_STANDARD.decode(data.user_data().unwrap_or_default()).expect("base64");
            written.insert(format!("user-data of {place}"), script);
            written.insert(place, format!("{data:?}").into_bytes());
        }
    }
    let parameters = cx.ssm.get_parameters_by_path().path("/ticketctl").recursive(true).into_paginator().send();
    let parameters: Vec<_> = parameters.try_collect().await.expect("parameters");
    written.insert("parameters".to_owned(), format!("{parameters:?}").into_bytes());
    let tags = cx.ec2.describe_tags().send().await.expect("tags");
    written.insert("tags".to_owned(), format!("{tags:?}").into_bytes());
    for dashboard in cx.cloudwatch.list_dashboards().send().await.expect("dashboards").dashboard_entries() {
        let name = dashboard.dashboard_name().unwrap_or_default();
        let body = cx.cloudwatch.get_dashboard().dashboard_name(name).send().await.expect("a dashboard");
        written.insert(format!("dashboard {name}"), body.dashboard_body().unwrap_or_default().into());
    }
}

/// Everything below a folder: plans, logs, caches.
fn files(folder: &Path, written: &mut Written) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, written);
        } else {
            written.insert(path.display().to_string(), std::fs::read(&path).expect("a file"));
        }
    }
}
