//! The load balancer in front of servers of the test's own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};
use ticketctl::local::plane::balancer::{
    Action, Balancer, Health, HealthCheck, Listener, Redirect, Rule, TargetGroup, Wanted,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::backend::{Backend, ask, get, whole};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn free_port() -> u16 {
    std::net::TcpListener::bind((LOOPBACK, 0)).and_then(|socket| socket.local_addr()).expect("a free port").port()
}

fn group(targets: &[&Backend]) -> TargetGroup {
    let check = HealthCheck {
        path: "/readyz".into(),
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        healthy: 2,
        unhealthy: 2,
        matcher: "200".into(),
    };
    let targets = targets.iter().map(|target| (target.key(), target.address)).collect();
    TargetGroup { check, deregistration_delay: Duration::from_secs(30), targets }
}

fn forward(groups: &[(&str, u32)]) -> Action {
    Action::Forward(groups.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect())
}

/// A load balancer with one listener that forwards to `all`.
struct World {
    balancer: Balancer,
    wanted: Wanted,
    url: String,
}

impl World {
    async fn of(targets: &[&Backend]) -> Self {
        Self::with(forward(&[("all", 1)]), Vec::new(), [("all", group(targets))]).await
    }

    async fn with<const N: usize>(default: Action, rules: Vec<Rule>, groups: [(&str, TargetGroup); N]) -> Self {
        let port = free_port();
        let wanted = Wanted {
            address: LOOPBACK,
            idle_timeout: Duration::from_secs(60),
            listeners: BTreeMap::from([(port, Listener { tls: None, rules, default })]),
            groups: groups.into_iter().map(|(name, group)| (name.to_owned(), group)).collect(),
        };
        let mut world = Self { balancer: Balancer::new(), wanted, url: format!("http://127.0.0.1:{port}") };
        world.apply().await;
        world.settle(Health::Healthy).await;
        world
    }

    async fn apply(&mut self) {
        self.balancer.apply(self.wanted.clone()).await.expect("a port to listen on");
    }

    fn all(&mut self) -> &mut TargetGroup {
        self.wanted.groups.get_mut("all").expect("the group")
    }

    /// Waits until all targets are in a state.
    async fn settle(&self, state: Health) {
        self.until("the targets' health", || {
            let health = self.balancer.health();
            health.values().flatten().all(|target| target.state == state)
        })
        .await;
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {:?}", self.balancer.health());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(&format!("{}{path}", self.url)).await
    }
}

#[tokio::test]
async fn healthy_targets_are_asked_in_turn_and_learn_who_asks() {
    let one = Backend::named("one").await;
    let two = Backend::answering("two", |request| async move {
        let header = |name: &str| request.headers()[name].to_str().expect("text").to_owned();
        let told = ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"].map(header).join(" ");
        assert!(!request.headers().contains_key("x-hop") && request.headers().contains_key("x-amzn-trace-id"));
        Response::new(whole(format!("{told} {}", request.uri())))
    })
    .await;
    let world = World::of(&[&one, &two]).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        let request = Request::get(format!("{}/a?b=c", world.url)).header("host", "shop.example").header("x-hop", "1");
        let request = request.header("connection", "x-hop").body(whole("")).expect("a request");
        answers.push(ask(request).await.2);
    }
    assert_eq!((one.asked(), two.asked()), (5, 5));
    let port = world.url.rsplit(':').next().expect("a port");
    assert!(answers.contains(&format!("shop.example 127.0.0.1 http {port} /a?b=c")), "{answers:?}");
    let counts = &world.balancer.counts()["all"];
    assert_eq!((counts.requests, counts.answers[&2], counts.by_target[&one.key()]), (10, 10, 5));
}

#[tokio::test]
async fn paths_weights_redirects_and_fixed_answers_are_as_the_rules_say() {
    let (old, new, api) = (Backend::named("old").await, Backend::named("new").await, Backend::named("api").await);
    let rule = |path: &str, action| Rule { paths: vec![path.to_owned()], action };
    let away = Redirect {
        permanent: true,
        protocol: "HTTPS".into(),
        host: "#{host}".into(),
        port: "443".into(),
        path: "/#{path}".into(),
        query: "#{query}".into(),
    };
    let rules = vec![
        rule("/api/*", forward(&[("api", 1)])),
        rule("/away", Action::Redirect(away)),
        rule("/none", Action::Fixed { status: 404, content_type: "text/plain".into(), body: "nothing".into() }),
    ];
    let groups = [("old", group(&[&old])), ("new", group(&[&new])), ("api", group(&[&api]))];
    let mut world = World::with(forward(&[("old", 50), ("new", 50)]), rules, groups).await;
    assert_eq!(world.get("/api/x").await, (200, "api".to_owned()));
    assert_eq!(world.get("/none").await, (404, "nothing".to_owned()));
    let (status, headers, _) = ask(Request::get(format!("{}/away?a=b", world.url)).body(whole("")).expect("one")).await;
    assert_eq!((status, headers["location"].as_str()), (301, "https://127.0.0.1/away?a=b"));
    for _ in 0..40 {
        assert_eq!(world.get("/").await.0, 200);
    }
    // Either of them being left out of forty even throws would be a wonder.
    assert!(old.asked() > 0 && new.asked() > 0 && old.asked() + new.asked() == 40);

    let port = *world.wanted.listeners.keys().next().expect("a listener");
    world.wanted.listeners.get_mut(&port).expect("it").default = forward(&[("old", 0), ("new", 100)]);
    world.apply().await;
    let before = old.asked();
    for _ in 0..20 {
        assert_eq!(world.get("/").await, (200, "new".to_owned()));
    }
    assert_eq!(old.asked(), before);
}

#[tokio::test]
async fn who_fails_its_health_checks_gets_no_requests_until_it_is_back() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let world = World::of(&[&one, &two]).await;
    let state = |backend: &Backend| {
        let health = world.balancer.health();
        health["all"].iter().find(|target| target.target == backend.key()).cloned().expect("it is registered")
    };
    one.health.store(503, Ordering::SeqCst);
    world.until("one is ill", || state(&one).state == Health::Unhealthy).await;
    let reason = state(&one).reason.expect("a reason");
    assert_eq!(reason.code, "Target.ResponseCodeMismatch");
    assert_eq!(reason.description, "Health checks failed with these codes: [503]");
    let before = one.asked();
    for _ in 0..6 {
        assert_eq!(world.get("/").await, (200, "two".to_owned()));
    }
    assert_eq!(one.asked(), before);
    // When nobody is healthy, everybody is asked.
    two.health.store(503, Ordering::SeqCst);
    world.settle(Health::Unhealthy).await;
    for _ in 0..4 {
        assert_eq!(world.get("/").await.0, 200);
    }
    assert_eq!(one.asked(), before + 2);
    one.health.store(200, Ordering::SeqCst);
    two.health.store(200, Ordering::SeqCst);
    world.settle(Health::Healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_taken_out_under_load_loses_no_request() {
    let slow = |name| {
        Backend::answering(name, move |_| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Response::new(whole(name))
        })
    };
    let (one, two) = (slow("one").await, slow("two").await);
    let mut world = World::of(&[&one, &two]).await;
    let (stop, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients = (0..8).map(|_| {
        let (url, stop, done) = (world.url.clone(), stop.clone(), done.clone());
        tokio::spawn(async move {
            while stop.load(Ordering::SeqCst) == 0 {
                let (status, body) = get(&url).await;
                assert_eq!(status, 200, "{body}");
                done.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    world.until("load on both", || one.asked() > 10 && two.asked() > 10).await;
    world.all().targets.remove(&one.key());
    world.apply().await;
    let asked = one.asked();
    assert!(!world.balancer.is_drained("i-one"), "eight clients were waiting for it");
    let draining = world.balancer.health();
    let draining = draining["all"].iter().find(|target| target.target == one.key()).expect("it drains");
    assert_eq!(draining.state, Health::Draining);
    world.until("one is drained", || world.balancer.is_drained("i-one")).await;
    // Nothing is in flight to it any more: from here on the server could end.
    let (before, address) = (done.load(Ordering::SeqCst), one.address);
    drop(one);
    world.until("load on the other", || done.load(Ordering::SeqCst) > before + 20).await;
    stop.store(1, Ordering::SeqCst);
    for ended in join_all(clients).await {
        ended.expect("no request was lost");
    }
    let counts = world.balancer.counts()["all"].clone();
    let to_one = counts.by_target.iter().find(|(key, _)| key.id == "i-one").map(|(_, count)| *count);
    assert!(to_one <= Some(asked as u64 + 8), "{to_one:?} requests went to {address}, {asked} before it was taken out");
    assert_eq!(world.balancer.own_errors(), BTreeMap::new());
}

#[tokio::test]
async fn what_outlasts_the_deregistration_delay_is_cut() {
    let endless = Backend::answering("endless", |_| async {
        let beats = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok(Frame::data(Bytes::from_static(b"data: beat\n\n"))), ()))
        });
        Response::new(StreamBody::new(Box::pin(beats)).boxed())
    })
    .await;
    let mut world = World::of(&[&endless]).await;
    let client: Client<_, super::backend::Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(world.url.parse().expect("a URL")).await.expect("an answer");
    world.all().deregistration_delay = Duration::from_millis(300);
    world.all().targets.clear();
    let begun = Instant::now();
    world.apply().await;
    assert!(answer.into_body().collect().await.is_err(), "an endless answer ended well");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    world.until("it is drained", || world.balancer.is_drained("i-endless")).await;
    assert_eq!(world.get("/").await.0, 503);
    assert_eq!(world.balancer.own_errors(), BTreeMap::from([(503, 1)]));
}

#[tokio::test]
async fn events_come_through_as_they_happen_and_big_bodies_whole() {
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
    let receive = Arc::new(tokio::sync::Mutex::new(receive));
    let target = Backend::answering("target", move |request| {
        let receive = receive.clone();
        async move {
            if request.uri().path() == "/events" {
                let events = futures::stream::unfold(receive.lock_owned().await, |mut receive| async {
                    let event = receive.recv().await?;
                    Some((Ok(Frame::data(event)), receive))
                });
                return Response::new(StreamBody::new(Box::pin(events)).boxed());
            }
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let digest = hex::encode(Sha256::digest(&body));
            Response::builder().header("x-digest", digest).body(whole(body)).expect("an answer")
        }
    })
    .await;
    let world = World::of(&[&target]).await;
    let client: Client<_, super::backend::Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(format!("{}/events", world.url).parse().expect("a URL")).await.expect("an answer");
    let mut events = answer.into_body();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        // The next one is only sent when this one has arrived.
        send.send(event.into()).await.expect("somebody listens");
        let frame = tokio::time::timeout(Duration::from_secs(30), events.frame()).await.expect("it comes at once");
        let data = frame.expect("a frame").expect("no error").into_data().expect("data");
        assert_eq!(data, event);
    }
    drop(events);

    let big: Vec<u8> = (0..32 << 20).map(|number: u32| (number % 251) as u8).collect();
    let digest = hex::encode(Sha256::digest(&big));
    let request = Request::post(format!("{}/echo", world.url)).body(whole(big)).expect("a request");
    let answer = client.request(request).await.expect("an answer");
    assert_eq!(answer.headers()["x-digest"], digest);
    let back = answer.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!((back.len(), hex::encode(Sha256::digest(&back))), (32 << 20, digest));
}

#[tokio::test]
async fn broken_and_silent_targets_are_told_as_aws_tells_them_and_nothing_sent_is_repeated() {
    let breaking = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = breaking.local_addr().expect("an address");
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = breaking.accept().await {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            if request[..read].starts_with(b"GET /readyz") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("an answer");
            } else {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let silent = Backend::answering("silent", |_| std::future::pending()).await;
    let mut world = World::of(&[&silent]).await;
    world.wanted.idle_timeout = Duration::from_millis(300);
    world.apply().await;
    assert_eq!(world.get("/").await.0, 504);

    let mut two = group(&[&silent]);
    *two.targets.values_mut().next().expect("a target") = at;
    world.wanted.groups.insert("all".to_owned(), two);
    world.apply().await;
    world.settle(Health::Healthy).await;
    let (status, page) = world.get("/").await;
    assert!(status == 502 && page.contains("502 Bad Gateway"), "{status} {page}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    assert_eq!(world.balancer.own_errors(), BTreeMap::from([(502, 1), (504, 1)]));
    server.abort();
}

#[tokio::test]
async fn a_request_that_found_no_connection_goes_to_another_target() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let mut world = World::of(&[&one, &two]).await;
    // Long enough apart that no health check finds out in between.
    world.all().check.interval = Duration::from_secs(600);
    world.apply().await;
    let gone = one.address;
    drop(one);
    for _ in 0..6 {
        let (status, body) = world.get("/").await;
        // A connection that was kept may break; a new one is refused, and then the other is asked.
        assert_eq!((status, body.as_str()), (200, "two"), "{gone} is gone");
    }
    assert!(world.balancer.counts()["all"].connection_errors > 0);
}

#[tokio::test]
async fn https_is_served_with_the_listeners_certificate() {
    let one = Backend::named("one").await;
    let pair = rcgen::generate_simple_self_signed(["shop.test".to_owned()]).expect("a certificate");
    let certificate = pair.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).expect("a key");
    let server = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a configuration");
    let mut world = World::of(&[&one]).await;
    let port = *world.wanted.listeners.keys().next().expect("a listener");
    world.wanted.listeners.get_mut(&port).expect("it").tls = Some(Arc::new(server));
    world.apply().await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let client = rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let at = SocketAddr::new(LOOPBACK, port);
    let stream = tokio::net::TcpStream::connect(at).await.expect("it listens");
    let name = "shop.test".try_into().expect("a name");
    let mut stream =
        tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("the certificate fits");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("one"), "{answer}");
}
