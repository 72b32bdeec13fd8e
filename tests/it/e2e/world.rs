//! A cloud of the test's own and the binary run against it, with nothing from the outside.

use aws_sdk_acm::primitives::Blob;
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, MetricDatum},
};
use serde_json::{Map, Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use ticketctl::{aws::Context, resource::elb::metric_dimension, stack};

use crate::support::{Endpoint, Ran};

/// The smallest stack: a network and nothing in it.
pub const NETWORK: &str = "
project: shop
environment: test
region: ap-northeast-2
network: {zones: [a, c], nat: single}
";

/// An emulator behind the gateway, a home folder, and the binary.
pub struct World {
    cloud: Endpoint,
    home: tempfile::TempDir,
}

impl World {
    /// Call it inside a tokio runtime with more than one thread: the gateway lives there.
    pub async fn new() -> World {
        World { cloud: Endpoint::start().await, home: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A stack file of the repository, laid under one that gives its services a small program to run, and no time for
    /// watching releases.
    pub fn stack(&self, name: &str) -> PathBuf {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks").join(name);
        let services = stack::load(&base, &[]).expect("a ready stack").stack.services;
        let brisk = json!({"artifact": "program", "rollout": {"bake": "0s"}});
        let services: Map<_, _> = services.into_keys().map(|name| (name, brisk.clone())).collect();
        self.program(0);
        // JSON is YAML, too.
        self.write(name, &json!({"extends": base, "services": services}).to_string())
    }

    /// Builds a program that runs everywhere, does nothing, and is another one with each number.
    pub fn program(&self, number: u8) -> PathBuf {
        let mut content = std::fs::read("/bin/true").expect("every Linux has it");
        content.push(number);
        let path = self.path("program");
        std::fs::write(&path, content).expect("a writable folder");
        path
    }

    /// The binary with `arguments`, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL", self.cloud.url())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.finish(self.command(arguments)).await
    }

    /// Runs a command to its end.
    pub async fn finish(&self, mut command: Command) -> Ran {
        // The gateway runs on this test's threads, so none of them may be blocked.
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        Ran::new(output.expect("the binary starts"))
    }

    /// Runs `ticketctl VERB -f STACK REST…`.
    pub async fn on(&self, stack: &Path, verb: &str, rest: &[&str]) -> Ran {
        let stack = stack.to_str().expect("a path in UTF-8");
        self.run(&[&[verb, "-f", stack], rest].concat()).await
    }

    /// The SDK's clients against the same cloud, to look at it from outside.
    pub async fn clients(&self) -> Context {
        self.clients_of("outside").await
    }

    /// The same as ticketctl has them for a stack.
    pub async fn clients_of(&self, stack: &str) -> Context {
        self.cloud.context(stack).await
    }

    /// The ARN of a new certificate in ACM.
    pub async fn request_certificate(&self) -> String {
        let request = self.clients().await.acm.request_certificate().domain_name("shop.example.com").send().await;
        request.expect("a certificate").certificate_arn.expect("its ARN")
    }

    /// The ARN of a certificate that somebody brought to ACM, good until the day `days` from now, and that day.
    pub async fn import_certificate(&self, days: i64) -> (String, String) {
        let end = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date() + jiff::Span::new().days(days);
        let number = |number: i8| u8::try_from(number).expect("a part of a date");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut wish = rcgen::CertificateParams::new(["shop.example.com".to_owned()]).expect("a name");
        wish.not_after = rcgen::date_time_ymd(end.year().into(), number(end.month()), number(end.day()));
        let pem = wish.self_signed(&key).expect("a certificate").pem();
        let call = self.clients().await.acm.import_certificate().certificate(Blob::new(pem));
        let made = call.private_key(Blob::new(key.serialize_pem())).send().await;
        (made.expect("imported").certificate_arn.expect("its ARN"), end.to_string())
    }

    /// Lets a target group have answered with 5xx: how often, at which time in seconds.
    pub async fn server_errors(&self, target_group: &str, counts: &[(i64, f64)]) {
        let cx = self.clients().await;
        let balancers = cx.elb.describe_load_balancers().send().await.expect("load balancers");
        let balancer = balancers.load_balancers()[0].load_balancer_arn().expect("an ARN");
        let dimension = |name: &str, arn: &str| Dimension::builder().name(name).value(metric_dimension(arn)).build();
        let datum = |(time, count): &(i64, f64)| {
            let datum = MetricDatum::builder().metric_name("HTTPCode_Target_5XX_Count").value(*count);
            let datum = datum.timestamp(DateTime::from_secs(*time)).dimensions(dimension("LoadBalancer", balancer));
            datum.dimensions(dimension("TargetGroup", target_group)).build()
        };
        let data = counts.iter().map(datum).collect();
        let put = cx.cloudwatch.put_metric_data().namespace("AWS/ApplicationELB").set_metric_data(Some(data));
        put.send().await.expect("taken");
    }

    /// Writes a file into the home folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).expect("a writable folder");
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Keeps the cloud as it is now, for [`World::back`].
    pub async fn keep(&self) {
        self.cloud.keep().await;
    }

    /// The cloud is again as it was when it was kept, and undisturbed.
    pub async fn back(&self) {
        self.disturb(json!([])).await;
        self.cloud.back().await;
    }

    /// Each call takes so much longer from now on.
    pub async fn slow_down(&self, milliseconds: u64) {
        self.disturb(json!([{"kind": "delay", "milliseconds": milliseconds}])).await;
    }

    /// These faults strike from now on, in place of those before.
    pub async fn disturb(&self, faults: Value) {
        let (status, said) = self.cloud.control("POST", "faults", &json!({"faults": faults}).to_string()).await;
        assert_eq!(status, 200, "{said}");
    }

    /// Keeps whole requests from now on.
    pub async fn keep_requests(&self) {
        let (status, said) = self.cloud.control("POST", "requests", "").await;
        assert_eq!(status, 200, "{said}");
    }

    /// The requests kept since then.
    pub async fn requests(&self) -> Vec<Value> {
        let (_, told) = self.cloud.control("DELETE", "requests", "").await;
        told["requests"].as_array().cloned().unwrap_or_else(|| panic!("{told}"))
    }

    /// The same, with chances that can be repeated.
    pub async fn disturb_by_chance(&self, seed: u64, faults: Value) {
        let faults = json!({"seed": seed, "faults": faults});
        let (status, said) = self.cloud.control("POST", "faults", &faults.to_string()).await;
        assert_eq!(status, 200, "{said}");
    }

    /// The calls since the last time this was asked.
    pub async fn calls(&self) -> Vec<Value> {
        let calls = self.calls_so_far().await;
        self.cloud.control("DELETE", "calls", "").await;
        calls
    }

    /// The same, and they will be told again.
    pub async fn calls_so_far(&self) -> Vec<Value> {
        let (_, told) = self.cloud.control("GET", "calls", "").await;
        told["calls"].as_array().cloned().unwrap_or_else(|| panic!("{told}"))
    }
}
