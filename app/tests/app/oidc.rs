//! Logging in at an OpenID provider: a certified one (panva's oidc-provider), which `scripts/setup test` installs.

use crate::support::{Answer, App, User};
use crate::webdriver::{Browser, DESKTOP, PHONE, Screen};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use ticketing::accounts::{self, Role};
use ticketing::local::{Guarded, free_port, wait_for_port};

const SECRET: &str = "a secret that only the two of us know";

/// A running provider.
struct Provider {
    issuer: String,
    directory: TempDir,
    _process: Guarded,
}

/// Where `scripts/setup test` installs it.
fn modules() -> PathBuf {
    let told = std::env::var_os("TICKETING_OIDC_PROVIDER").map(PathBuf::from);
    let directory = told.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/oidc-provider"));
    assert!(
        directory.join("node_modules/oidc-provider").is_dir(),
        "run scripts/setup test: no {}",
        directory.display()
    );
    directory
}

/// A key, and a certificate for 127.0.0.1 that nobody else trusts.
fn certificate(directory: &Path) -> [PathBuf; 2] {
    let files = ["key.pem", "certificate.pem"].map(|name| directory.join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=provider", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .args([files[0].as_os_str(), "-out".as_ref(), files[1].as_os_str()])
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    files
}

impl Provider {
    /// One that sends browsers back to the service at `url`.
    fn start(url: &str, tls: bool) -> Self {
        let directory = TempDir::with_prefix("ticketing-oidc-").expect("a directory");
        let port = free_port().expect("a port");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/provider.mjs");
        let mut args = vec![script.display().to_string(), port.to_string(), modules().display().to_string()];
        args.push(format!("{url}/api/auth/oidc/callback"));
        if tls {
            args.extend(certificate(directory.path()).map(|file| file.display().to_string()));
        }
        let log = directory.path().join("log");
        let process = Guarded::start("node", &args, &log).expect("node starts; install the package nodejs");
        wait_for_port(port, "the OpenID provider", &log).expect("it listens");
        let scheme = if tls { "https" } else { "http" };
        Self { issuer: format!("{scheme}://127.0.0.1:{port}"), directory, _process: process }
    }
}

/// A service whose users can log in at a provider of its own.
async fn app_with_provider(tls: bool) -> (App, Provider) {
    // The provider must know the service's address, and the service the provider's.
    let first = App::start().await;
    let url = first.url();
    let provider = tokio::task::spawn_blocking(move || Provider::start(&url, tls)).await.expect("a provider");
    let options = options(&provider, &first.url());
    let app = first.again_with(&options.iter().map(String::as_str).collect::<Vec<_>>()).await;
    (app, provider)
}

fn options(provider: &Provider, url: &str) -> Vec<String> {
    let mut options = vec![
        "--oidc-issuer".into(),
        provider.issuer.clone(),
        "--oidc-client-id".into(),
        "ticketing".into(),
        "--oidc-client-secret".into(),
        SECRET.into(),
        "--public-url".into(),
        url.to_owned(),
    ];
    if provider.issuer.starts_with("https") {
        options
            .extend(["--oidc-ca-file".into(), provider.directory.path().join("certificate.pem").display().to_string()]);
    }
    options
}

/// A browser without a window: follows redirects by hand and keeps cookies by host, name and path.
#[derive(Default)]
struct Visitor {
    cookies: BTreeMap<(String, String), String>,
}

struct Page {
    status: StatusCode,
    location: Option<String>,
    text: String,
}

impl Visitor {
    async fn send(&mut self, method: Method, url: &str, form: Option<&str>) -> Page {
        let uri: hyper::Uri = url.parse().expect("an address");
        let authority = uri.authority().expect("an authority").to_string();
        let cookies = self.cookies.iter().filter(|((host, _), value)| *host == authority && !value.is_empty());
        let cookies: Vec<String> = cookies.map(|((_, name), value)| format!("{name}={value}")).collect();
        let mut request = hyper::Request::builder().method(method).uri(url).header("cookie", cookies.join("; "));
        if form.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let body = Full::from(form.unwrap_or_default().to_owned());
        let (parts, body) =
            client.request(request.body(body).expect("a request")).await.expect("an answer").into_parts();
        for cookie in parts.headers.get_all("set-cookie") {
            let pair = cookie.to_str().expect("text").split(';').next().expect("a pair");
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert((authority.clone(), name.to_owned()), value.to_owned());
        }
        let location = parts.headers.get("location").map(|value| value.to_str().expect("text"));
        let location =
            location.map(|to| if to.starts_with('/') { format!("http://{authority}{to}") } else { to.into() });
        let text = String::from_utf8_lossy(&body.collect().await.expect("a body").to_bytes()).into_owned();
        Page { status: parts.status, location, text }
    }

    /// Goes on until there is a page to see, or the browser would be back at the service's page.
    async fn follow(&mut self, mut page: Page, home: &str) -> Page {
        while let Some(to) = page.location.clone().filter(|to| !to.starts_with(&format!("{home}/?"))) {
            page = self.send(Method::GET, &to, None).await;
        }
        page
    }

    /// Sends the form on a page of the provider.
    async fn submit(&mut self, page: &Page, fields: &str, home: &str) -> Page {
        let action = page.text.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
        let sent = self.send(Method::POST, action, Some(fields)).await;
        self.follow(sent, home).await
    }

    /// From the service's link to the provider, through its pages, and back to the service's page.
    async fn log_in(&mut self, home: &str, name: &str) -> Page {
        let begun = self.send(Method::GET, &format!("{home}/api/auth/oidc/start?back=%2F%23%2Fmine"), None).await;
        assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.text);
        let form = self.follow(begun, home).await;
        let consent = self.submit(&form, &format!("prompt=login&login={name}&password=any"), home).await;
        self.submit(&consent, "prompt=consent", home).await
    }

    async fn session(&mut self, app: &App) -> Answer {
        let cookies = self.cookies.iter().filter(|(_, value)| !value.is_empty());
        let cookies: Vec<String> = cookies.map(|((_, name), value)| format!("{name}={value}")).collect();
        app.send(Method::POST, "/api/auth/oidc/session", None, &[("cookie", &cookies.join("; "))], None).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_link_to_a_session() {
    let (app, _provider) = app_with_provider(false).await;
    let home = app.url();
    let offered = app.get("/api/auth/providers", None).await.expect(200);
    assert_eq!(offered, json!([{"name": "Google", "startPath": "/api/auth/oidc/start"}]));

    let mut kim = Visitor::default();
    kim.session(&app).await.problem(401, "login_needed");
    let back = kim.log_in(&home, "kim").await.location.expect("a redirect");
    assert_eq!(back, format!("{home}/?login=done#/mine"));
    let session = kim.session(&app).await.expect(200);
    assert_eq!(
        (session["user"]["email"].as_str(), session["user"]["role"].as_str()),
        (Some("kim@example.com"), Some("USER"))
    );
    assert_eq!(session["user"]["name"], "kim of the provider");
    kim.session(&app).await.problem(401, "login_needed");
    let id = session["user"]["userId"].as_str().expect("an id").to_owned();
    let me = User { id: id.clone(), token: session["accessToken"].as_str().expect("a token").into() };
    assert_eq!(app.get("/api/auth/me", Some(&me)).await.expect(200)["userId"], id.as_str());
    let wallet = app.get(&format!("/api/wallets/{id}"), Some(&me)).await.expect(200);
    assert_eq!(wallet["balance"], 0);
    app.post("/api/auth/refresh", None, json!({"refreshToken": session["refreshToken"]})).await.expect(200);

    // The same person has the same account, even with another address; there is no password to guess.
    sqlx::query("UPDATE users SET email = 'moved@example.com' WHERE id = ?")
        .bind(&id)
        .execute(&app.db)
        .await
        .expect("moved");
    let mut again = Visitor::default();
    again.log_in(&home, "kim").await;
    assert_eq!(again.session(&app).await.expect(200)["user"]["userId"], id.as_str());
    let guess = json!({"email": "moved@example.com", "password": ""});
    app.post("/api/auth/login", None, guess).await.problem(401, "bad_credentials");

    // Who is known by an address only that nobody verified is not let in.
    let mut stranger = Visitor::default();
    let back = stranger.log_in(&home, "unverified-lee").await.location.expect("a redirect");
    assert_eq!(back, format!("{home}/?login=oidc_email#/mine"));
    stranger.session(&app).await.problem(401, "login_needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_an_address_gets_the_account_and_nobody_else_keeps_it() {
    let (app, _provider) = app_with_provider(false).await;
    // Somebody signed up with Lee's address, and waits.
    let squatter = json!({"email": "lee@example.com", "password": "a password of mine", "name": "Lee?"});
    let made = app.post("/api/auth/signup", None, squatter.clone()).await.expect(201);
    let waiting = app.post("/api/auth/login", None, squatter.clone()).await.expect(200);
    // An administrator made Park's account.
    let park =
        accounts::upsert(&app.db, "park@example.com", "a password of hers", "Park", Role::Staff).await.expect("made");

    let mut lee = Visitor::default();
    lee.log_in(&app.url(), "lee").await;
    let session = lee.session(&app).await.expect(200);
    assert_eq!(session["user"]["userId"], made["userId"]);
    app.post("/api/auth/login", None, squatter).await.problem(401, "bad_credentials");
    let stolen = json!({"refreshToken": waiting["refreshToken"]});
    app.post("/api/auth/refresh", None, stolen).await.problem(401, "bad_refresh_token");
    app.post("/api/auth/refresh", None, json!({"refreshToken": session["refreshToken"]})).await.expect(200);

    let mut visitor = Visitor::default();
    visitor.log_in(&app.url(), "park").await;
    let session = visitor.session(&app).await.expect(200);
    assert_eq!(
        (session["user"]["userId"].as_str(), session["user"]["role"].as_str()),
        (Some(&*park.user_id), Some("STAFF"))
    );
    let login = json!({"email": "park@example.com", "password": "a password of hers"});
    app.post("/api/auth/login", None, login).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_counts_only_in_the_browser_that_asked() {
    let (app, _provider) = app_with_provider(false).await;
    let home = app.url();
    // Mallory logs in, but keeps the answer, and gives it to Kim: a login that Kim did not begin.
    let mut mallory = Visitor::default();
    let begun = mallory.send(Method::GET, &format!("{home}/api/auth/oidc/start"), None).await;
    let asked = begun.location.clone().expect("a redirect");
    for part in ["code_challenge_method=S256", "nonce=", "state=", "scope=openid+email+profile"] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    let form = mallory.follow(begun, &home).await;
    let consent = mallory.submit(&form, "prompt=login&login=mallory&password=any", &home).await;
    let action = consent.text.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    let mut page = mallory.send(Method::POST, action, Some("prompt=consent")).await;
    let answer = loop {
        let to = page.location.expect("a redirect");
        if to.starts_with(&home) {
            break to;
        }
        page = mallory.send(Method::GET, &to, None).await;
    };
    let mut kim = Visitor::default();
    let refused = |page: Page| assert_eq!(page.location.as_deref(), Some(&*format!("{home}/?login=oidc_failed")));
    refused(kim.send(Method::GET, &answer, None).await);
    // Not even when Kim has begun a login of her own.
    kim.send(Method::GET, &format!("{home}/api/auth/oidc/start"), None).await;
    refused(kim.send(Method::GET, &answer, None).await);
    // A code that was made up, or used before, is refused by the provider.
    let state = answer.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state");
    let made_up = format!("{home}/api/auth/oidc/callback?code=made-up&state={state}");
    refused(mallory.send(Method::GET, &made_up, None).await);
    // Who does not agree is not logged in.
    let mut choosy = Visitor::default();
    let begun = choosy.send(Method::GET, &format!("{home}/api/auth/oidc/start"), None).await;
    let form = choosy.follow(begun, &home).await;
    let abort = form.text.split("href=\"").find(|rest| rest.contains("/abort")).and_then(|rest| rest.split('"').next());
    let aborted = choosy.send(Method::GET, abort.expect("a link"), None).await;
    let back = choosy.follow(aborted, &home).await;
    assert_eq!(back.location.as_deref(), Some(&*format!("{home}/?login=oidc_denied")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_only_with_a_certificate_that_is_trusted() {
    let (app, provider) = app_with_provider(true).await;
    let begun = Visitor::default().send(Method::GET, &format!("{}/api/auth/oidc/start", app.url()), None).await;
    let to = begun.location.expect("a redirect");
    assert!(to.starts_with(&format!("{}/auth?", provider.issuer)), "{to}");

    // The system's authorities know nothing of it.
    let mut strange = options(&provider, &app.url());
    strange.truncate(8);
    let other = app.another_with(&strange.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let begun = Visitor::default().send(Method::GET, &format!("{}/api/auth/oidc/start", other.url()), None).await;
    assert_eq!(begun.location, Some(format!("{}/?login=oidc_unavailable", other.url())));

    let without = App::start().await;
    assert_eq!(without.get("/api/auth/providers", None).await.expect(200), json!([]));
    without.get("/api/auth/oidc/start", None).await.problem(404, "not_found");
}

/// The whole way in a real browser, from the button to the reservations.
async fn in_a_browser(language: &str, screen: Screen) {
    let (app, _provider) = app_with_provider(false).await;
    let label = format!("{language}-{}-provider", screen.name);
    let browser = Browser::open(&format!("{}/#/mine", app.url()), &label, language, screen).await;
    browser.click("#login").await;
    browser.find("[data-provider=Google]").await;
    browser.look("login").await;
    browser.click("[data-provider=Google]").await;
    browser.keys("[name=login]", "choi").await;
    browser.keys("[name=password]", "any").await;
    browser.shot("provider").await;
    browser.click("[type=submit]").await;
    browser.find("[value=consent]").await;
    browser.click("[type=submit]").await;
    browser.find("#logout").await;
    assert_eq!(browser.text(".who").await, "choi of the provider");
    assert_eq!(browser.run("return location.pathname + location.search + location.hash").await, "/#/mine");
    browser.look("logged-in").await;
    browser.run("location.reload()").await;
    browser.find("#logout").await;
    browser.click("#logout").await;
    browser.go(&format!("{}/?login=oidc_email", app.url())).await;
    browser.find("#problem-dialog").await;
    browser.look("refused").await;
    browser.check_console().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_browser_in_english_on_a_desktop() {
    in_a_browser("en", DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_browser_in_korean_on_a_phone() {
    in_a_browser("ko", PHONE).await;
}
