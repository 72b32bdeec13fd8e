//! Traces, as a collector gets them.

use crate::process::{Cloud, Running, environment, service};
use crate::support::App;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ticketing::accounts::Role;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

struct Collector {
    running: Running,
    file: PathBuf,
}

impl Collector {
    async fn start() -> Self {
        let python = environment("TICKETING_CHECKS_VENV", "app-checks").join("bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp/receiver.py").display().to_string();
        let running = Running::start(&python, &[], |port, directory| {
            vec![script, port.to_string(), directory.join("spans").display().to_string()]
        })
        .await;
        let file = running.directory.path().join("spans");
        Self { running, file }
    }

    /// The spans of a trace so far.
    fn spans(&self, trace: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|span| span["trace"] == trace).collect()
    }

    /// Waits for a span.
    async fn span(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let spans = self.spans(TRACE);
            if let Some(span) = spans.iter().find(|span| matches(span)) {
                return span.clone();
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no {what} in {spans:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_is_one_trace_from_the_request_to_the_worker() {
    let (app, cloud, collector) =
        (App::with(&["--role", "staff"]).await, Cloud::start().await, Collector::start().await);
    let (sns, sqs) = (aws_sdk_sns::Client::new(&cloud.config), aws_sdk_sqs::Client::new(&cloud.config));
    let topic =
        sns.create_topic().name("events").send().await.expect("a topic").topic_arn().expect("an ARN").to_owned();
    let queue = sqs.create_queue().queue_name("q").send().await.expect("a queue").queue_url().expect("one").to_owned();
    let arn = format!("arn:aws:sqs:{}:123456789012:q", crate::process::REGION);
    sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn).send().await.expect("subscribed");

    let mut environment = cloud.environment();
    let endpoint = format!("http://127.0.0.1:{}", collector.running.port);
    environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT".into(), endpoint));
    environment.push(("OTEL_BSP_SCHEDULE_DELAY".into(), "200".into()));
    let api = service(&app, &environment, &["--role", "api"]).await;
    environment.push(("OTEL_SERVICE_NAME".into(), "worker".into()));
    let options = ["--role", "worker", "--sns-topic-arn", &topic, "--sqs-queue-url", &queue];
    let _worker = service(&app, &environment, &options).await;

    let app = app.elsewhere(&format!("http://127.0.0.1:{}", api.port));
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({})).await;
    let body = json!({"eventId": event, "userId": kim.id, "quantity": 1});
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", traceparent.as_str())];
    app.send(hyper::Method::POST, "/api/reservations", Some(&kim), &headers, Some(body)).await.expect(201);

    let named = |name: &'static str| move |span: &Value| span["name"] == name;
    let request = collector.span("request", named("POST /api/reservations")).await;
    assert_eq!((request["parent"].as_str(), request["service"].as_str()), (Some(CALLER), Some("ticketing")));
    assert_eq!(request["kind"], 2, "a server's: {request}");
    assert_eq!(request["attributes"]["http.response.status_code"], "201");
    assert_eq!(request["attributes"]["http.route"], "/api/reservations");
    let sale = collector.span("sale", named("sell")).await;
    assert_eq!(sale["parent"], request["id"]);
    let inserts = |span: &Value| {
        let text = span["attributes"]["db.query.text"].as_str().unwrap_or_default();
        span["parent"] == sale["id"] && text.starts_with("INSERT INTO reservations") && !text.contains(&kim.id)
    };
    let insert = collector.span("statement of the sale", inserts).await;
    assert!(insert["nanoseconds"].as_u64().expect("a time") > 0, "{insert}");
    collector.span("Redis", |span| span["name"] == "redis" && span["kind"] == 3).await;
    let consumed = collector.span("consumer", named("consume")).await;
    assert_eq!((consumed["service"].as_str(), consumed["kind"].as_u64()), (Some("worker"), Some(5)));
    assert_eq!(consumed["attributes"]["kind"], "reservation.confirmed");
    let stores = |span: &Value| {
        let text = span["attributes"]["db.query.text"].as_str().unwrap_or_default();
        span["service"] == "worker" && text.starts_with("INSERT IGNORE INTO notifications")
    };
    collector.span("statement of the worker", stores).await;
}
