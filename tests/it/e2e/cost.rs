//! What the stack costs by AWS's own prices, against a price list at the wire.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{checks::requests::fit_the_models, support::Ran};

/// How many products an answer holds; AWS's hold a hundred.
const PAGE: usize = 2;

/// A product as `GetProducts` tells it, one text each.
fn product(service: &str, family: Option<&str>, usage: &str, more: Value, unit: &str, tiers: &[(&str, &str)]) -> Value {
    let mut attributes = json!({
        "servicecode": service, "usagetype": usage, "locationType": "AWS Region", "location": "Asia Pacific (Seoul)",
        "regionCode": "ap-northeast-2",
    });
    for (name, value) in more.as_object().expect("attributes") {
        attributes[name] = value.clone();
    }
    let tier = |(begin, price): &(&str, &str)| {
        let code = format!("SKU.JRTCKXETXF.{begin}");
        let tier = json!({
            "unit": unit, "beginRange": begin, "endRange": "Inf", "description": format!("${price} per {unit}"),
            "appliesTo": [], "rateCode": code, "pricePerUnit": {"USD": price},
        });
        (code, tier)
    };
    let dimensions: serde_json::Map<_, _> = tiers.iter().map(tier).collect();
    let mut product = json!({
        "product": {"attributes": attributes, "sku": "SKU"},
        "serviceCode": service,
        "terms": {"OnDemand": {"SKU.JRTCKXETXF": {
            "priceDimensions": dimensions, "sku": "SKU", "effectiveDate": "2026-11-01T00:00:00Z",
            "offerTermCode": "JRTCKXETXF", "termAttributes": {},
        }}},
        "version": "20261112083000", "publicationDate": "2026-11-12T08:30:00Z",
    });
    if let Some(family) = family {
        product["product"]["productFamily"] = family.into();
    }
    product
}

/// A part of AWS's list: some of what `dev.yaml` needs, and neighbours that are easily mistaken for it.
fn products() -> Vec<Value> {
    let none = || json!({});
    let hour = |price| [("0", price)];
    let elb = Some("Load Balancer-Application");
    let machine = |name: &str| {
        json!({
            "instanceType": name, "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
            "capacitystatus": "Used",
        })
    };
    let windows = json!({
        "instanceType": "t3.medium", "operatingSystem": "Windows", "tenancy": "Shared", "preInstalledSw": "NA",
        "capacitystatus": "Used",
    });
    let database = |engine: &str| json!({"instanceType": "db.t3.medium", "databaseEngine": engine});
    let dashboard = json!({"regionCode": "", "location": "Any", "locationType": "Other"});
    let instance = Some("Compute Instance");
    vec![
        product("AmazonEC2", Some("NAT Gateway"), "APN2-NatGateway-Bytes", none(), "GB", &hour("0.0590000000")),
        product("AmazonEC2", Some("NAT Gateway"), "APN2-NatGateway-Prvd-Hours", none(), "Hrs", &hour("9.0")),
        product("AmazonEC2", Some("NAT Gateway"), "APN2-NatGateway-Hours", none(), "Hrs", &hour("0.0610000000")),
        product("AWSELB", elb, "APN2-TS-LoadBalancerUsage", none(), "Hrs", &hour("0.0056000000")),
        product("AWSELB", elb, "APN2-LCUUsage", none(), "LCU-Hrs", &hour("0.0090000000")),
        product("AWSELB", elb, "APN2-LoadBalancerUsage", none(), "Hrs", &hour("0.0235000000")),
        product("AmazonVPC", None, "APN2-PublicIPv4:IdleAddress", none(), "Hrs", &hour("7.0")),
        product("AmazonVPC", None, "APN2-PublicIPv4:InUseAddress", none(), "Hrs", &hour("0.0060000000")),
        product("AmazonEC2", instance, "APN2-BoxUsage:t3.medium", windows, "Hrs", &hour("8.0")),
        product("AmazonEC2", instance, "APN2-BoxUsage:t3.medium", machine("t3.medium"), "Hrs", &hour("0.0530000000")),
        product("AmazonEC2", instance, "APN2-BoxUsage:c8g.large", machine("c8g.large"), "Hrs", &hour("0.0900000000")),
        product(
            "AmazonRDS",
            Some("Database Instance"),
            "APN2-InstanceUsage:db.t3.medium",
            database("Aurora PostgreSQL"),
            "Hrs",
            &hour("6.0"),
        ),
        product(
            "AmazonRDS",
            Some("Database Instance"),
            "APN2-InstanceUsage:db.t3.medium",
            database("Aurora MySQL"),
            "Hrs",
            &hour("0.1300000000"),
        ),
        product(
            "AmazonCloudWatch",
            Some("Metric"),
            "APN2-CW:MetricMonitorUsage",
            none(),
            "Metrics",
            &[("0", "0.3100000000"), ("10000", "0.1000000000")],
        ),
        product(
            "AmazonCloudWatch",
            Some("Dashboard"),
            "DashboardsUsageHour",
            dashboard,
            "Dashboards",
            &[("0", "0.0000000000"), ("3", "3.0000000000")],
        ),
    ]
}

/// Whether a product has what all filters of a request ask for.
fn fits(product: &Value, request: &Value) -> bool {
    let described = &product["product"];
    let has = |filter: &Value| {
        let field = filter["Field"].as_str().expect("a field");
        let value = if field == "productFamily" { &described[field] } else { &described["attributes"][field] };
        assert_eq!(filter["Type"], "TERM_MATCH");
        *value == filter["Value"]
    };
    let filters = request["Filters"].as_array().expect("filters");
    product["serviceCode"] == request["ServiceCode"] && filters.iter().all(has)
}

/// The answer to one request: a page of the products that fit, or a refusal.
fn answer(request: &Value, refuses: bool) -> (u16, Value) {
    if refuses {
        let message = "User: arn:aws:iam::123456789012:user/kim is not authorized to perform: pricing:GetProducts";
        return (400, json!({"__type": "AccessDeniedException", "Message": message}));
    }
    let from: usize = request["NextToken"].as_str().map_or(0, |token| token.parse().expect("a token of ours"));
    let fitting: Vec<Value> = products().into_iter().filter(|product| fits(product, request)).collect();
    let page: Vec<String> = fitting.iter().skip(from).take(PAGE).map(Value::to_string).collect();
    let mut answer = json!({"FormatVersion": "aws_v1", "PriceList": page});
    if fitting.len() > from + PAGE {
        answer["NextToken"] = (from + PAGE).to_string().into();
    }
    (200, answer)
}

/// The Price List API on a free port, and the requests that it was sent.
struct Prices {
    url: String,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Prices {
    async fn start(refuses: bool) -> Prices {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, kept.clone(), refuses));
            }
        });
        Prices { url, requests }
    }

    async fn cost(&self, more: &[&str]) -> Ran {
        let stack = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stacks/dev.yaml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
        command.args(["cost", "--live", "-f"]).arg(stack).args(more).env_clear().stdin(Stdio::null());
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("AWS_ENDPOINT_URL", &self.url).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        Ran::new(output.expect("the binary starts"))
    }
}

/// One request of a connection, and its answer.
async fn serve(mut stream: TcpStream, kept: Arc<Mutex<Vec<Value>>>, refuses: bool) {
    let mut text = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut text).await.expect("a request") == 0 {
            return;
        }
        let said = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = said.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head, body.to_owned());
        }
    };
    // Anything else is the question what kind of endpoint this is.
    let (status, answer) = if head.contains("x-amz-target: awspricelistservice.getproducts") {
        kept.lock().expect("no panic").push(json!({
            "service": "pricing", "operation": "GetProducts", "protocol": "json", "path": "/", "query": "",
            "headers": {}, "body": STANDARD.encode(&body),
        }));
        answer(&serde_json::from_str(&body).expect("JSON"), refuses)
    } else {
        (404, Value::Null)
    };
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    // Whoever has gone away doesn't need it.
    let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
}

fn month(estimate: &Value, id: &str, what: &str) -> f64 {
    let lines = estimate["lines"].as_array().expect("lines").iter();
    let mut of = lines.filter(|line| line["id"] == id && line["what"].as_str().is_some_and(|text| text.contains(what)));
    of.next().and_then(|line| line["month"]["now"].as_f64()).unwrap_or_else(|| panic!("{id}, {what}: {estimate}"))
}

fn names(estimate: &Value, of: &str) -> Vec<String> {
    serde_json::from_value(estimate["sources"][of].clone()).expect("names")
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_aws_s_own_and_each_that_it_lacks_is_named() {
    let prices = Prices::start(false).await;
    let estimate = prices.cost(&["--json"]).await.exits(0).json();
    let near = |id: &str, what: &str, each: f64| {
        let told = month(&estimate, id, what);
        assert!((told - each).abs() < 0.001, "{id}, {what}: {told}, not {each}");
    };
    near("nat-a", "NAT gateway", 730.0 * 0.061);
    near("load-balancer", "load balancer", 730.0 * 0.0235);
    near("load-balancer", "capacity unit", 730.0 * 0.009);
    near("load-balancer", "addresses", 730.0 * 2.0 * 0.006);
    near("group-web", "t3.medium", 730.0 * 2.0 * 0.053);
    near("group-web", "metrics", 2.0 * 9.0 * 0.31);
    near("database-1", "Aurora", 730.0 * 0.13);
    near("dashboard", "dashboard", 3.0);
    // These the stub doesn't have; the list has them.
    near("cache", "Redis", 730.0 * 2.0 * 0.025);
    let listed = ["gp3 storage", "Aurora storage", "alarm", "secret", "Redis cache.t3.micro"];
    assert_eq!(names(&estimate, "listed"), listed);
    assert_eq!(names(&estimate, "live").len(), 8, "{estimate}");
    assert_eq!(estimate["sources"]["published"], "2026-11-12");
    fit_the_models(&prices.requests.lock().expect("no panic"));

    let text = prices.cost(&[]).await.exits(0).out;
    assert!(text.contains("Asked of AWS, published until 2026-11-12: NAT gateway, "), "{text}");
    assert!(text.contains("ticketctl's of 2025-05 stands: gp3 storage, Aurora storage, "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_list_has_stays_without_a_price_and_a_refusal_says_what_it_needs() {
    let prices = Prices::start(false).await;
    // A machine that ticketctl's list doesn't have, and a region of which neither list has anything but the dashboard.
    let machine = prices.cost(&["--set", "services.web.instances.type=c8g.large", "--json"]).await.exits(0).json();
    assert!((month(&machine, "group-web", "c8g.large") - 730.0 * 2.0 * 0.09).abs() < 0.001, "{machine}");
    assert_eq!(names(&machine, "missing"), Vec::<String>::new());
    let region = prices.cost(&["--region", "eu-west-3", "--json"]).await.exits(0).json();
    assert_eq!((names(&region, "live"), names(&region, "listed")), (vec!["dashboard".to_owned()], vec![]));
    assert!(names(&region, "missing").contains(&"NAT gateway".to_owned()), "{region}");
    assert_eq!(region["month"]["now"], 3.0);

    let refused = Prices::start(true).await.cost(&[]).await.exits(1);
    assert!(
        refused.err.contains("is not authorized to perform") && refused.err.contains("leave out --live"),
        "{}",
        refused.err
    );
    let local = prices.cost(&["--local"]).await.exits(1);
    assert!(local.err.contains("the local cloud has no prices"), "{}", local.err);
}
