//! ticketctl against a real LocalStack, without the gateway: what its open line holds, and what is said of the rest.

mod server;

use serde_json::json;

use server::Server;
use ticketctl::aws::{Context, Target};

/// What LocalStack 4.14 lacks of `stacks/dev.yaml`, as it is told.
const GAPS: [&str; 11] = [
    "LocalStack 4.14.0 has no autoscaling: group-web, scaling-web-cpu",
    "LocalStack 4.14.0 has no elasticache: cache, cache-parameters, cache-subnets",
    "LocalStack 4.14.0 has no elbv2: listener-80, load-balancer, target-group-web",
    "LocalStack 4.14.0 has no rds: database, database-1, database-2, db-cluster-parameters, db-parameters, db-subnets",
    "needs alarm-cache-1-memory: dashboard",
    "needs cache: alarm-cache-1-memory, alarm-cache-2-memory, parameter-app-redis-endpoint",
    "needs database: parameter-app-database-endpoint, parameter-app-database-reader-endpoint, \
     parameter-app-database-secret-arn",
    "needs database-1: alarm-database-1-connections, alarm-database-1-cpu, alarm-database-1-free-local-storage, \
     alarm-database-1-read-latency, alarm-database-1-write-latency",
    "needs database-2: alarm-database-2-connections, alarm-database-2-cpu, alarm-database-2-free-local-storage, \
     alarm-database-2-read-latency, alarm-database-2-write-latency",
    "needs group-web: alarm-web-cpu, alarm-web-cpu-warning",
    "needs load-balancer: alarm-web-healthy-hosts, alarm-web-target-5xx",
];

/// The lines of a text that begin with `start`, without it.
fn lines<'a>(text: &'a str, start: &'a str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(start)).collect()
}

async fn clients(server: &Server, region: &str) -> Context {
    let target = Target { endpoint_url: Some(server.url()), local_credentials: true, ..Target::default() };
    Context::load("outside", region, &target).await
}

/// That nothing of the stack is left, for ticketctl and for others.
async fn destroyed(server: &Server, stack: &str, region: &str) {
    let ran = server.on(stack, "destroy", &["--yes"]).exits(0);
    assert!(ran.out.contains("nothing of the stack is left"), "{}\n{}", ran.out, ran.err);
    assert_eq!(server.on(stack, "resources", &["--json"]).exits(0).json(), json!([]));
    let cx = clients(server, region).await;
    let vpcs = cx.ec2.describe_vpcs().send().await.expect("vpcs");
    assert!(vpcs.vpcs().iter().all(|vpc| vpc.is_default() == Some(true)), "{vpcs:?}");
    let addresses = cx.ec2.describe_addresses().send().await.expect("addresses");
    assert!(addresses.addresses().is_empty(), "{addresses:?}");
    let queues = cx.sqs.list_queues().send().await.expect("queues");
    assert!(queues.queue_urls().is_empty(), "{queues:?}");
    let topics = cx.sns.list_topics().send().await.expect("topics");
    assert!(topics.topics().is_empty(), "{topics:?}");
    let secrets = cx.secrets.list_secrets().send().await.expect("secrets");
    assert!(secrets.secret_list().is_empty(), "{secrets:?}");
    let roles = cx.iam.list_roles().path_prefix("/ticketctl/").send().await.expect("roles");
    assert!(roles.roles().is_empty(), "{roles:?}");
    let alarms = cx.cloudwatch.describe_alarms().send().await.expect("alarms");
    assert!(alarms.metric_alarms().is_empty(), "{alarms:?}");
    let buckets = cx.s3.list_buckets().send().await.expect("buckets");
    let names: Vec<_> = buckets.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert!(names.iter().all(|name| name.starts_with("ticketctl-")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_stack_lives_its_whole_life() {
    let server = Server::start();
    let stack = "localstack.yaml";
    // Loaded one by one before they are all needed at once: two at a time can break one for good.
    server.on(stack, "doctor", &[]).exits(0);
    let health = server.health().expect("an answer");
    let body = health.split_once("\r\n\r\n").expect("a body").1;
    let states: serde_json::Value = serde_json::from_str(body).expect("JSON");
    for service in ["ec2", "iam", "s3", "sqs", "sns", "ssm", "secretsmanager", "logs", "cloudwatch", "sts", "acm"] {
        assert_eq!(states["services"][service], "running", "{service} in {health}");
    }

    let planned = server.on(stack, "plan", &["--detailed-exitcode", "--format", "json"]).exits(2).json();
    assert!(planned.get("omitted").is_none(), "{planned}");
    let all = &planned["summary"]["create"];
    let told = server.on(stack, "doctor", &[]).exits(0);
    let url = server.url();
    assert_eq!(
        told.out,
        format!(
            "endpoint  LocalStack 4.14.0 at {url}\nregion    us-east-1\naccount   000000000000\n\
             ✓ it can hold {all} of the stack's {all} resources\n"
        )
    );

    server.on(stack, "apply", &["--yes"]).exits(0);
    server.on(stack, "plan", &["--detailed-exitcode"]).exits(0);
    server.on(stack, "drift", &["--detailed-exitcode"]).exits(0);
    let outputs = server.on(stack, "output", &["--json"]).exits(0).json();
    let bucket = outputs["bucket_name"].as_str().expect("a bucket");

    // Somebody else's hands: a queue's attribute, an alarm, the bucket's versions.
    let cx = clients(&server, "us-east-1").await;
    let queue = outputs["queue_url"].as_str().expect("a queue");
    let hidden = aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
    cx.sqs.set_queue_attributes().queue_url(queue).attributes(hidden, "7").send().await.expect("changed");
    cx.cloudwatch.delete_alarms().alarm_names("ticketing-local/alarm-queue-age").send().await.expect("deleted");
    let drift = server.on(stack, "drift", &["--detailed-exitcode", "--format", "json"]).exits(2).json();
    let moved: Vec<_> = drift["changes"].as_array().expect("changes").iter().map(|change| &change["id"]).collect();
    assert_eq!(moved, ["queue", "alarm-queue-age"], "{drift}");
    server.on(stack, "apply", &["--yes"]).exits(0);
    server.on(stack, "plan", &["--detailed-exitcode"]).exits(0);

    // What lies in the bucket goes with it: the stack allows that.
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"a ticket");
    cx.s3.put_object().bucket(bucket).key("ticket").body(body).send().await.expect("an object");
    destroyed(&server, stack, "us-east-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_cant_hold_is_told_and_left_out() {
    let server = Server::start();
    let stack = "dev.yaml";
    let told = server.on(stack, "doctor", &[]).exits(0);
    assert_eq!(lines(&told.out, "· "), GAPS);
    let findings = server.on(stack, "doctor", &["--json"]).exits(0).json();
    assert_eq!(findings["omitted"].as_array().expect("a list").len(), 35, "{findings}");
    let all = findings["resources"].as_u64().expect("a number");
    let held = format!("✓ it can hold {} of the stack's {all} resources\n", all - 35);
    assert!(told.out.contains(&held), "{}", told.out);

    let planned = server.on(stack, "plan", &["--detailed-exitcode"]).exits(2);
    let left_out = planned.out.split_once("Left out, because the endpoint can't hold it:\n").expect("a warning").1;
    assert_eq!(lines(left_out, "  "), GAPS);
    let applied = server.on(stack, "apply", &["--yes", "--json"]).exits(0);
    assert_eq!(lines(&applied.err, "warning: left out: "), GAPS);
    server.on(stack, "plan", &["--detailed-exitcode"]).exits(0);
    server.on(stack, "drift", &["--detailed-exitcode"]).exits(0);
    let outputs = server.on(stack, "output", &["--json"]).exits(0).json();
    for missing in ["alb_url", "db_endpoint", "redis_endpoint", "dashboard_url"] {
        assert!(outputs.get(missing).is_none(), "{missing} in {outputs}");
    }
    assert!(outputs["vpc_id"].as_str().is_some_and(|id| id.starts_with("vpc-")), "{outputs}");

    // LocalStack lists instance profiles of every path: those of another stack aren't taken for one's own.
    let other = server.on("localstack.yaml", "plan", &["--format", "json"]).exits(0).json();
    assert_eq!(other["summary"]["delete"], 0, "{other}");
    destroyed(&server, stack, "ap-northeast-2").await;
}
