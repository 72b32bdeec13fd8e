//! A headless Chromium, driven by the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>) through chromedriver.
//!
//! The few commands that the tests need are sent here: the client crates would change features of shared dependencies.

use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::Method;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ticketing::local::{Guarded, free_port, wait_for_port};

/// How long the page may take to show what is waited for.
const PATIENCE: Duration = Duration::from_secs(40);
/// The key under which an element is sent (WebDriver, "Elements").
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys as WebDriver writes them.
pub const ARROW_DOWN: &str = "\u{E015}";
pub const ARROW_RIGHT: &str = "\u{E014}";
pub const ENTER: &str = "\u{E007}";
pub const ESCAPE: &str = "\u{E00C}";

/// A size of the window, in CSS pixels.
#[derive(Clone, Copy)]
pub struct Screen {
    pub name: &'static str,
    width: u32,
    height: u32,
}

pub const DESKTOP: Screen = Screen { name: "desktop", width: 1200, height: 900 };
pub const PHONE: Screen = Screen { name: "phone", width: 360, height: 740 };

/// A browser with a profile of its own. It ends when this is dropped, or when this process is killed: the driver ends
/// with us, and Chromium with the pipe to the driver.
pub struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    session: String,
    label: String,
    shots: std::cell::Cell<u32>,
    _driver: Guarded,
    _profile: TempDir,
}

impl Drop for Browser {
    /// Ends Chromium and waits for it, so that nobody writes into the profile while it is removed.
    fn drop(&mut self) {
        let Some((address, path)) = self.session.strip_prefix("http://").and_then(|url| url.split_once('/')) else {
            return;
        };
        let end = || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(stream, "DELETE /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
            // The answer comes once Chromium is gone; the driver keeps the connection open.
            stream.read_exact(&mut [0])
        };
        if let Err(error) = end() {
            eprintln!("{}: Chromium could not be ended in good order: {error}", self.label);
        }
    }
}

/// Where screenshots go: `screenshots` in the target directory.
fn screenshots() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    target.join("screenshots")
}

impl Browser {
    /// Opens a page. `label` begins the names of the screenshots.
    pub async fn open(url: &str, label: &str, language: &str, screen: Screen) -> Self {
        let profile = TempDir::with_prefix("ticketing-browser-").expect("a directory");
        let port = free_port().expect("a port");
        let log = profile.path().join("driver.log");
        let driver = Guarded::start("chromedriver", &[format!("--port={port}")], &log)
            .expect("chromedriver starts; it is in the package chromium-driver");
        let ready = log.clone();
        tokio::task::spawn_blocking(move || wait_for_port(port, "chromedriver", &ready).expect("chromedriver listens"))
            .await
            .expect("waits");
        let mut options = json!({"args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--remote-debugging-pipe", "--hide-scrollbars",
            format!("--user-data-dir={}", profile.path().join("profile").display()),
            format!("--accept-lang={language}"), format!("--window-size={},{}", screen.width, screen.height)]});
        if screen.width < 500 {
            let metrics = json!({"width": screen.width, "height": screen.height, "pixelRatio": 2, "touch": true});
            options["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let mut browser = Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            session: format!("http://127.0.0.1:{port}/session"),
            label: label.to_owned(),
            shots: std::cell::Cell::new(0),
            _driver: driver,
            _profile: profile,
        };
        let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let made = browser.send(Method::POST, "", json!({"capabilities": {"alwaysMatch": wanted}})).await;
        let made = made.expect("Chromium starts");
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().expect("a session"));
        browser.go(url).await;
        browser
    }

    /// Sends a command and returns its value, or what the driver says is wrong.
    async fn send(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let body = if method == Method::POST { body.to_string() } else { String::new() };
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .expect("a request");
        let response = self.client.request(request).await.expect("chromedriver answers");
        let status = response.status();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let mut answer: Value = serde_json::from_slice(&bytes).expect("JSON");
        let value = answer["value"].take();
        if status.is_success() { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
    }

    /// Tries until it works; fails with a screenshot.
    #[track_caller]
    fn insist(&self, what: String, method: Method, path: String, body: Value) -> impl Future<Output = Value> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let started = Instant::now();
            loop {
                match self.send(method.clone(), &path, body.clone()).await {
                    Ok(value) => return value,
                    Err(error) if started.elapsed() > PATIENCE => {
                        self.shot("failed").await;
                        let console = self.console().await;
                        panic!("{} at {caller}: {what}: {error}; the console: {console:#?}", self.label);
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
    }

    pub async fn go(&self, url: &str) {
        self.insist(format!("open {url}"), Method::POST, "/url".into(), json!({"url": url})).await;
    }

    /// Waits for an element and returns its identifier.
    #[track_caller]
    pub fn find(&self, css: &str) -> impl Future<Output = String> + '_ {
        let body = json!({"using": "css selector", "value": css});
        let found = self.insist(format!("find {css}"), Method::POST, "/element".into(), body);
        async move { found.await[ELEMENT].as_str().expect("an element").to_owned() }
    }

    /// Clicks an element as soon as there is one that can be clicked.
    #[track_caller]
    pub fn click(&self, css: &str) -> impl Future<Output = ()> + '_ {
        let (css, caller) = (css.to_owned(), std::panic::Location::caller());
        async move {
            let started = Instant::now();
            loop {
                let element = self.find(&css).await;
                match self.send(Method::POST, &format!("/element/{element}/click"), json!({})).await {
                    Ok(_) => return,
                    // It is covered, or was replaced just now.
                    Err(error) if started.elapsed() > PATIENCE => {
                        self.shot("failed").await;
                        panic!("{} at {caller}: click {css}: {error}", self.label);
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
    }

    /// Presses keys in an element.
    pub async fn keys(&self, css: &str, keys: &str) {
        let element = self.find(css).await;
        self.insist(format!("type in {css}"), Method::POST, format!("/element/{element}/value"), json!({"text": keys}))
            .await;
    }

    /// The text of an element.
    pub async fn text(&self, css: &str) -> String {
        let element = self.find(css).await;
        let text =
            self.insist(format!("read {css}"), Method::GET, format!("/element/{element}/text"), Value::Null).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Runs a script in the page, waits for its promise, and returns what it returns.
    pub async fn run(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.insist(script.to_owned(), Method::POST, "/execute/sync".into(), body).await
    }

    /// How many elements there are.
    pub async fn count(&self, css: &str) -> u64 {
        let count = self.run(&format!("return document.querySelectorAll({}).length", json!(css))).await;
        count.as_u64().expect("a number")
    }

    /// Lets requests fail whose address matches a pattern such as `*/stream`.
    pub async fn block(&self, pattern: &str) {
        for (command, params) in [("Network.enable", json!({})), ("Network.setBlockedURLs", json!({"urls": [pattern]}))]
        {
            let body = json!({"cmd": command, "params": params});
            self.insist(command.to_owned(), Method::POST, "/goog/cdp/execute".into(), body).await;
        }
    }

    /// What the page wrote into the console since the last question.
    async fn console(&self) -> Vec<String> {
        let entries = self.send(Method::POST, "/se/log", json!({"type": "browser"})).await.unwrap_or_default();
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }

    /// Saves what is to be seen.
    pub async fn shot(&self, name: &str) {
        let picture = self.send(Method::GET, "/screenshot", Value::Null).await.expect("a screenshot");
        let bytes = base64::prelude::BASE64_STANDARD.decode(picture.as_str().expect("a picture")).expect("base64");
        let number = self.shots.get() + 1;
        self.shots.set(number);
        let directory = screenshots();
        std::fs::create_dir_all(&directory).expect("a directory for screenshots");
        std::fs::write(directory.join(format!("{}-{number:02}-{name}.png", self.label)), bytes).expect("a file");
    }

    /// Saves what is to be seen, and checks that it fits the window and is in one language.
    pub async fn look(&self, name: &str) {
        self.shot(name).await;
        let wide = self.run("return [document.documentElement.scrollWidth, innerWidth]").await;
        assert!(wide[0].as_u64() <= wide[1].as_u64(), "{} {name}: wider than the window: {wide}", self.label);
        let strange = self
            .run(
                "return (async () => { const all = {en: (await import('/assets/texts.en.js')).default, ko: (await import('/assets/texts.ko.js')).default}; \
                 const own = all[document.documentElement.lang]; \
                 const other = all[document.documentElement.lang === 'ko' ? 'en' : 'ko']; \
                 const foreign = new Set(Object.keys(own).filter((key) => own[key] !== other[key]).map((key) => other[key])); \
                 const texts = [...document.querySelectorAll('body *')].flatMap((element) => \
                   [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim())); \
                 return texts.filter((text) => foreign.has(text) || ['null', 'undefined', 'false', 'NaN'].includes(text)) })()",
            )
            .await;
        assert_eq!(strange, json!([]), "{} {name}: texts that do not belong here", self.label);
    }

    /// Fails if the page did something that its security policy forbids, or a script failed.
    pub async fn check_console(&self) {
        let console = self.console().await;
        let bad = console.iter().find(|line| line.contains("Content Security Policy") || line.contains("Uncaught"));
        assert_eq!(bad, None, "{}: in the console: {console:#?}", self.label);
    }
}
