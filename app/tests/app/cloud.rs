//! SNS, SQS, SSM and Secrets Manager, against moto.

use crate::process::{Cloud, Running, service};
use crate::support::{App, Servers, User};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use ticketing::accounts::Role;
use ticketing::local::free_port;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(60);

/// A queue's address and ARN. What fails three times goes to its dead letters.
struct Queue {
    url: String,
    arn: String,
}

async fn queue(sqs: &aws_sdk_sqs::Client, name: &str, dead: Option<&Queue>) -> Queue {
    let mut call = sqs.create_queue().queue_name(name);
    if let Some(dead) = dead {
        let policy = json!({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 3}).to_string();
        call = call.attributes(QueueAttributeName::RedrivePolicy, policy);
    }
    let url = call.send().await.expect("a queue").queue_url().expect("an address").to_owned();
    let known = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
    let known = known.send().await.expect("attributes");
    let arn = known.attributes().and_then(|all| all.get(&QueueAttributeName::QueueArn)).expect("an ARN").clone();
    Queue { url, arn }
}

async fn topic(sns: &aws_sdk_sns::Client, name: &str) -> String {
    sns.create_topic().name(name).send().await.expect("a topic").topic_arn().expect("an ARN").to_owned()
}

async fn subscribe(sns: &aws_sdk_sns::Client, topic: &str, queue: &Queue, raw: bool) {
    let call = sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(&queue.arn);
    call.attributes("RawMessageDelivery", raw.to_string()).send().await.expect("subscribed");
}

/// Waits for a notification of a kind.
async fn notified(app: &App, user: &User, kind: &str) -> Value {
    let started = Instant::now();
    loop {
        let list = app.get("/api/notifications", Some(user)).await.expect(200);
        if let Some(found) = list.as_array().expect("a list").iter().find(|one| one["kind"] == kind) {
            return found.clone();
        }
        assert!(started.elapsed() < PATIENCE, "no {kind} in {list}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn waiting(sqs: &aws_sdk_sqs::Client, queue: &Queue) -> u32 {
    let names =
        [QueueAttributeName::ApproximateNumberOfMessages, QueueAttributeName::ApproximateNumberOfMessagesNotVisible];
    let call = sqs.get_queue_attributes().queue_url(&queue.url).set_attribute_names(Some(names.to_vec()));
    let known = call.send().await.expect("attributes");
    names.iter().map(|name| known.attributes().expect("some")[name].parse::<u32>().expect("a number")).sum()
}

async fn order(app: &App, user: &User, event: u64) {
    let body = json!({"eventId": event, "userId": user.id, "quantity": 1});
    app.post("/api/reservations", Some(user), body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_through_sns_and_sqs_and_count_once() {
    let (app, cloud) = (App::with(&["--role", "api"]).await, Cloud::start().await);
    let (sns, sqs) = (aws_sdk_sns::Client::new(&cloud.config), aws_sdk_sqs::Client::new(&cloud.config));
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({})).await;
    let topic = topic(&sns, "events").await;
    // One worker gets SNS's envelopes, the other one the messages as they are.
    let queues = [queue(&sqs, "wrapped", None).await, queue(&sqs, "raw", None).await];
    let mut workers = Vec::new();
    for (queue, raw) in queues.iter().zip([false, true]) {
        subscribe(&sns, &topic, queue, raw).await;
        let options = ["--role", "worker", "--sns-topic-arn", &topic, "--sqs-queue-url", &queue.url];
        workers.push(service(&app, &cloud.environment(), &options).await);
    }
    for _ in 0..3 {
        order(&app, &kim, event).await;
    }
    let started = Instant::now();
    loop {
        let list = app.get("/api/notifications", Some(&kim)).await.expect(200);
        let told = list.as_array().expect("a list").len();
        let left = waiting(&sqs, &queues[0]).await + waiting(&sqs, &queues[1]).await;
        let unsent = app.count("SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?", event).await;
        if (told, left, unsent) == (3, 0, 0) {
            break;
        }
        assert!(told <= 3, "each message counts once: {list}");
        let logs: Vec<String> = workers.iter().map(Running::log).collect();
        assert!(started.elapsed() < PATIENCE, "{told} told, {left} in queues, {unsent} unsent: {logs:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_three_times_is_put_aside() {
    let (app, cloud) = (App::with(&["--role", "api"]).await, Cloud::start().await);
    let sqs = aws_sdk_sqs::Client::new(&cloud.config);
    let dead = queue(&sqs, "dead", None).await;
    let queue = queue(&sqs, "work", Some(&dead)).await;
    sqs.send_message().queue_url(&queue.url).message_body("hello").send().await.expect("sent");
    let options = ["--role", "worker", "--sqs-queue-url", &queue.url];
    let worker = service(&app, &cloud.environment(), &options).await;
    let started = Instant::now();
    while waiting(&sqs, &dead).await == 0 {
        assert!(started.elapsed() < PATIENCE, "{}", worker.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(worker.log().matches("a message failed").count(), 3, "{}", worker.log());
    assert_eq!(waiting(&sqs, &queue).await, 0);
}

/// The emulator at another port, which refuses everybody before.
async fn open_gate(port: u16, cloud: &Cloud) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("listens");
    let emulator = cloud.url.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&emulator).await.expect("connects");
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_sns_costs_no_message() {
    let (app, cloud) = (App::with(&["--role", "api"]).await, Cloud::start().await);
    let (sns, sqs) = (aws_sdk_sns::Client::new(&cloud.config), aws_sdk_sqs::Client::new(&cloud.config));
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({})).await;
    let (topic, queue) = (topic(&sns, "outage").await, queue(&sqs, "outage", None).await);
    subscribe(&sns, &topic, &queue, true).await;
    order(&app, &kim, event).await;
    let location = request(&app, &kim, event).await;
    let gate = free_port().expect("a port");
    let mut environment = cloud.environment();
    environment.push(("AWS_ENDPOINT_URL".into(), format!("http://127.0.0.1:{gate}")));
    let options = ["--role", "worker", "--sns-topic-arn", &topic, "--sqs-queue-url", &queue.url];
    let worker = service(&app, &environment, &options).await;
    let started = Instant::now();
    while worker.log().matches("messages wait until").count() < 4 {
        assert!(started.elapsed() < PATIENCE, "{}", worker.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let aside: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM dead_letters").fetch_one(&app.db).await.expect("a count");
    assert_eq!(aside, 0, "{}", worker.log());
    assert_eq!(app.get(&location, Some(&kim)).await.expect(200)["status"], "ACCEPTED");

    open_gate(gate, &cloud).await;
    assert_eq!(decided(&app, &kim, &location, &worker).await["status"], "CONFIRMED");
    notified(&app, &kim, "reservation.confirmed").await;
    assert_eq!(app.check_event(event).await, 3);
}

/// Asks for a reservation; returns where to look what became of it.
async fn request(app: &App, user: &User, event: u64) -> String {
    app.order_later(user, json!({"eventId": event, "userId": user.id, "quantity": 2})).await
}

/// Waits until a request is decided.
async fn decided(app: &App, user: &User, location: &str, worker: &Running) -> Value {
    let decided = app.decided(user, location, PATIENCE.as_secs()).await;
    decided.unwrap_or_else(|request| panic!("{request}: {}", worker.log()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_sqs_delivers_in_vain_is_decided() {
    let (app, cloud) = (App::with(&["--role", "api"]).await, Cloud::start().await);
    let (sns, sqs) = (aws_sdk_sns::Client::new(&cloud.config), aws_sdk_sqs::Client::new(&cloud.config));
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({})).await;
    // Without dead letters, which would take it after the third time.
    let (topic, queue) = (topic(&sns, "vain").await, queue(&sqs, "vain", None).await);
    subscribe(&sns, &topic, &queue, true).await;
    let location = request(&app, &kim, event).await;
    sqlx::query("UPDATE reservation_requests SET body = '{}'").execute(&app.db).await.expect("nobody can read it");
    let options = ["--role", "worker", "--sns-topic-arn", &topic, "--sqs-queue-url", &queue.url];
    let worker = service(&app, &cloud.environment(), &options).await;
    let request = decided(&app, &kim, &location, &worker).await;
    assert_eq!(request["status"], "REJECTED");
    assert!(request["problem"].as_str().expect("a reason").starts_with("internal"), "{request}");
    assert_eq!(worker.log().matches("a message failed").count(), 3, "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_runs_out_of_attempts_while_the_database_is_away() {
    let mut servers = tokio::task::spawn_blocking(Servers::own).await.expect("servers");
    let (app, cloud) = (App::on(&servers, &["--role", "api"]).await, Cloud::start().await);
    let sqs = aws_sdk_sqs::Client::new(&cloud.config);
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({})).await;
    let queue = queue(&sqs, "patient", None).await;
    let location = request(&app, &kim, event).await;
    sqlx::query("DELETE FROM outbox_batches").execute(&app.db).await.expect("as if it were published");
    let worker = service(&app, &cloud.environment(), &["--role", "worker", "--sqs-queue-url", &queue.url]).await;
    servers.database.kill();
    while !worker.log().contains("the database is unavailable") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A look at the queue that began before ends without a message.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let id = location.rsplit('/').next();
    let message = json!({"id": 1, "kind": "reservation.requested", "eventId": event, "payload": {"requestId": id}});
    sqs.send_message().queue_url(&queue.url).message_body(message.to_string()).send().await.expect("sent");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!worker.log().contains("a message failed"), "{}", worker.log());
    tokio::task::block_in_place(|| servers.database.restart()).expect("the database starts");
    assert_eq!(decided(&app, &kim, &location, &worker).await["status"], "CONFIRMED", "{}", worker.log());
}

/// What an operator's command prints.
fn command(app: &App, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticketing"));
    command.args(arguments).env("TICKETING_DATABASE_URL", app.args.database.url.as_deref().expect("an address"));
    let ended = tokio::task::block_in_place(|| command.output()).expect("it runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sns_refuses_is_put_aside_and_can_be_tried_again() {
    let (app, cloud) = (App::with(&["--role", "api"]).await, Cloud::start().await);
    let sns = aws_sdk_sns::Client::new(&cloud.config);
    let topic = topic(&sns, "refusals").await;
    // No message is as long as this, which SNS takes none of.
    let insert = "INSERT INTO outbox_batches (kind, event_id, payloads) VALUES ('reservation.confirmed', 1, ?)";
    let payloads = format!("[{{}}, \"{}\", {{}}]", "x".repeat(270_000));
    sqlx::query(insert).bind(payloads).execute(&app.db).await.expect("inserted");
    let worker = service(&app, &cloud.environment(), &["--role", "worker", "--sns-topic-arn", &topic]).await;
    let started = Instant::now();
    while app.count("SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?", 1).await > 0 {
        assert!(started.elapsed() < PATIENCE, "{}", worker.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(worker.log().matches("a message will be tried again").count(), 2, "{}", worker.log());
    drop(worker);

    let listed = command(&app, &["dead-letters", "list"]);
    let letter: Value = serde_json::from_str(&listed).expect("one line of JSON");
    assert!(letter["error"].as_str().expect("an error").contains("too long"), "{}", letter["error"]);
    let id = letter["id"].to_string();
    assert_eq!(command(&app, &["dead-letters", "requeue", "999999"]), "0 requeued\n");
    assert_eq!(command(&app, &["dead-letters", "requeue", &id]), "1 requeued\n");
    assert_eq!(command(&app, &["dead-letters", "requeue", "--all"]), "0 requeued\n");
    assert_eq!(command(&app, &["dead-letters", "list"]), "");
    let waiting: (u64, u32) =
        sqlx::query_as("SELECT first_id, attempts FROM outbox_batches").fetch_one(&app.db).await.expect("the message");
    assert_eq!(waiting, (letter["id"].as_u64().expect("a number"), 0), "the same message, as if it had never failed");
}

/// What moto keeps of a kind: it tells what it pushed nowhere else.
async fn kept(cloud: &Cloud, app: &App, kind: &str) -> Value {
    let all = app.elsewhere(&cloud.url).get("/moto-api/data.json", None).await.expect(200);
    all["sns"][kind].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_get_push_messages() {
    let (app, cloud) = (App::with(&["--role", "staff"]).await, Cloud::start().await);
    let sns = aws_sdk_sns::Client::new(&cloud.config);
    let call = sns.create_platform_application().name("app").platform("GCM").attributes("PlatformCredential", "key");
    let platform = call.send().await.expect("an application").platform_application_arn().expect("an ARN").to_owned();
    let running = service(&app, &cloud.environment(), &["--sns-platform-arn", &platform]).await;
    let app = app.elsewhere(&format!("http://127.0.0.1:{}", running.port));
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({"queue": {"enabled": true, "admitPerSecond": 5.0, "maxInside": 1}})).await;
    app.post("/api/notifications/devices", Some(&kim), json!({"deviceToken": "kims-phone"})).await.expect(204);
    // Registering again is no error.
    app.post("/api/notifications/devices", Some(&kim), json!({"deviceToken": "kims-phone"})).await.expect(204);

    app.post(&format!("/api/queue/{event}/enter"), Some(&kim), json!({})).await.expect(200);
    let ready = notified(&app, &kim, "queue.ready").await;
    assert_eq!(ready["eventId"], event);
    while notified(&app, &kim, "queue.ready").await["push"] != "SENT" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let endpoints = kept(&cloud, &app, "PlatformEndpoint").await;
    assert_eq!(endpoints.as_array().map(Vec::len), Some(1), "{endpoints}");
    let pushed: Vec<&str> =
        endpoints[0]["messages"].as_object().expect("messages").values().filter_map(Value::as_str).collect();
    assert!(pushed.iter().any(|message| message.contains("It is your turn")), "{pushed:?}");

    // A device that is gone is forgotten.
    let arn = endpoints[0]["arn"].as_str().expect("an ARN");
    sns.set_endpoint_attributes().endpoint_arn(arn).attributes("Enabled", "false").send().await.expect("set");
    let body = json!({"eventId": event, "userId": kim.id, "quantity": 1});
    app.post("/api/reservations", Some(&admin), body).await.expect(201);
    while notified(&app, &kim, "reservation.confirmed").await["push"] != "FAILED" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let devices: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM devices").fetch_one(&app.db).await.expect("a count");
    assert_eq!(devices, 0, "{}", running.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_it_gets_e_mail() {
    let (app, cloud) = (App::with(&["--role", "staff"]).await, Cloud::start().await);
    let (sns, sqs) = (aws_sdk_sns::Client::new(&cloud.config), aws_sdk_sqs::Client::new(&cloud.config));
    let topic = topic(&sns, "email").await;
    let running = service(&app, &cloud.environment(), &["--sns-email-topic-arn", &topic]).await;
    let app = app.elsewhere(&format!("http://127.0.0.1:{}", running.port));
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let lee = app.user(Role::User).await;
    let event = app.event(&admin, 10, json!({})).await;
    let put = async |user| app.send(hyper::Method::PUT, "/api/notifications/email", Some(user), &[], None).await;
    put(&kim).await.expect(202);
    let listed = sns.list_subscriptions_by_topic().topic_arn(&topic).send().await.expect("subscriptions");
    let [subscription] = listed.subscriptions() else { panic!("one subscription: {listed:?}") };
    assert_eq!(subscription.endpoint(), Some(&*format!("{}@example.com", kim.id)));
    let arn = subscription.subscription_arn().expect("an ARN");
    let attributes = sns.get_subscription_attributes().subscription_arn(arn).send().await.expect("attributes");
    let policy = attributes.attributes().and_then(|all| all.get("FilterPolicy")).expect("a filter");
    assert_eq!(serde_json::from_str::<Value>(policy).expect("JSON"), json!({"user": [kim.id]}));

    // What an inbox would get that is subscribed like Kim's.
    let inbox = queue(&sqs, "inbox", None).await;
    let call = sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(&inbox.arn);
    call.attributes("FilterPolicy", policy).send().await.expect("subscribed");
    for user in [&lee, &kim] {
        order(&app, user, event).await;
        notified(&app, user, "reservation.confirmed").await;
    }
    let mail = sqs.receive_message().queue_url(&inbox.url).max_number_of_messages(10).wait_time_seconds(10);
    let mail = mail.send().await.expect("messages");
    assert_eq!(mail.messages().len(), 1, "{mail:?}: {}", running.log());
    assert!(mail.messages()[0].body().expect("a body").contains("is confirmed"), "{mail:?}");

    app.delete("/api/notifications/email", Some(&kim)).await.expect(204);
    app.delete("/api/notifications/email", Some(&kim)).await.problem(404, "not_found");
    let listed = sns.list_subscriptions_by_topic().topic_arn(&topic).send().await.expect("subscriptions");
    assert_eq!(listed.subscriptions().len(), 1, "the inbox only: {listed:?}");
}

/// A Redis that speaks TLS with a certificate of its own, and wants a password.
async fn redis_with_tls() -> Running {
    Running::start(Path::new("redis-server"), &[], |port, directory| {
        let file = |name: &str| directory.join(name).display().to_string();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &file("key.pem"), "-out", &file("certificate.pem")])
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let options = format!(
            "--port 0 --tls-port {port} --bind 127.0.0.1 --tls-auth-clients no --save  --requirepass the#pass --dir {}",
            directory.display()
        );
        let mut all: Vec<String> = options.split(' ').map(str::to_owned).collect();
        all.extend(["--tls-cert-file".into(), file("certificate.pem"), "--tls-key-file".into(), file("key.pem")]);
        all
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_finds_out_what_it_was_not_told() {
    let servers = tokio::task::spawn_blocking(Servers::own).await.expect("servers");
    let (cloud, redis) = (Cloud::start().await, redis_with_tls().await);
    let secrets = aws_sdk_secretsmanager::Client::new(&cloud.config);
    let ssm = aws_sdk_ssm::Client::new(&cloud.config);
    let address = servers.database.url("ticketing");
    let rest = address.strip_prefix("mysql://").expect("an address");
    let (login, endpoint) = rest.split_once('@').expect("a login");
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let endpoint = endpoint.split('/').next().expect("an endpoint");

    let mut environment = cloud.environment();
    environment.push(("TICKETCTL_PARAMETERS".into(), "/ticketctl/shop-test".into()));
    environment.push(("TICKETING_DATABASE_OPTIONS".into(), "ssl-mode=PREFERRED".into()));
    let trusted = redis.directory.path().join("certificate.pem");
    environment.push(("SSL_CERT_FILE".into(), trusted.display().to_string()));
    let program = Path::new(env!("CARGO_BIN_EXE_ticketing"));
    let running = Running::start(program, &environment, |port, _| {
        ["serve", "--listen", &format!("127.0.0.1:{port}")].map(str::to_owned).to_vec()
    })
    .await;
    let app = App::on(&servers, &[]).await.elsewhere(&format!("http://127.0.0.1:{}", running.port));

    // It is there before its stack is: it lives, and waits.
    assert_eq!(app.get("/livez", None).await.text, "alive");
    app.get("/readyz", None).await.problem(503, "starting");

    let secret = async |name: &str, value: String| {
        let made = secrets.create_secret().name(name).secret_string(value).send().await.expect("a secret");
        made.arn().expect("an ARN").to_owned()
    };
    let database = secret("database", json!({"username": user, "password": password}).to_string()).await;
    let parameters = [
        ("database/endpoint", endpoint.to_owned()),
        ("database/name", "ticketing".to_owned()),
        ("database/secret-arn", database),
        ("redis/endpoint", format!("127.0.0.1:{}", redis.port)),
        ("redis/secret-arn", secret("redis", "the#pass".into()).await),
        ("oidc/issuer", "https://accounts.google.com".to_owned()),
        ("oidc/client-id", "ticketing".to_owned()),
        ("oidc/secret-arn", secret("oidc", "between Google and us".into()).await),
        ("public-url", "https://tickets.example.com".to_owned()),
        // The last one that it needs: it has found all others then.
        ("jwt/secret-arn", secret("jwt", "thirty-two characters, and then some".into()).await),
    ];
    for (name, value) in parameters {
        let call = ssm.put_parameter().name(format!("/ticketctl/shop-test/{name}")).value(value);
        call.r#type(aws_sdk_ssm::types::ParameterType::String).send().await.expect("a parameter");
    }
    let started = Instant::now();
    loop {
        let health = app.get("/api/health", None).await;
        if health.status.as_u16() == 200 && health.body["status"] == "UP" {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{}: {}", health.text, running.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // It brought the schema up to date by itself.
    let account = json!({"email": "kim@example.com", "password": "correct horse", "name": "Kim"});
    app.post("/api/auth/signup", None, account).await.expect(201);
    let providers = app.get("/api/auth/providers", None).await.expect(200);
    assert_eq!(providers[0]["name"], "Google");
    let log = running.log();
    for secret in ["the#pass", "between Google and us", "thirty-two characters", "the%23pass"] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}
