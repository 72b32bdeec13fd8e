//! A service as a stack has it, made through the API: a load balancer, a target group and a group of instances whose user data
//! installs a small program.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;

use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use aws_sdk_ec2::types::RequestLaunchTemplateData;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, LoadBalancerTypeEnum, Matcher, ProtocolEnum, TargetGroupAttribute,
    TargetTypeEnum,
};
use ticketctl::aws::Context;

use super::backend::get;
use super::world::World;

pub const GROUP: &str = "shop-test-web";

/// Answers each request with the host's name; `/exit` ends it, `/slow` takes its time. On SIGTERM it ends what it is at.
const PROGRAM: &str = r#"
import http.server, os, signal, socket, threading, time
host, port = os.environ["TICKETING_LISTEN"].rsplit(":", 1)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/exit":
            os._exit(3)
        if self.path == "/slow":
            time.sleep(0.3)
        body = f"{socket.gethostname()} {os.environ['GREETING']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, text, *values):
        print(text % values, flush=True)

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

server = Server((host, int(port)), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("serving", flush=True)
server.serve_forever()
server.server_close()
"#;

/// A boot script in the way of ours.
fn user_data() -> String {
    format!(
        r#"#!/bin/bash
set -euo pipefail
exec > >(tee -p -a /var/log/user-data.log > >(logger -t user-data)) 2>&1
echo "boot as $(id -u) on $(hostname), $(aws --version | cut -d/ -f1)"
install -d -m 0755 /opt/shop /var/log/shop
cat > /opt/shop/program.py << 'END'
{PROGRAM}
END
printf '%s\n' 'GREETING="hello \"shop\""' 'TICKETING_LISTEN="0.0.0.0:8080"' > /etc/shop.env
cat > /etc/systemd/system/shop.service << 'END'
[Unit]
Description=a shop

[Service]
ExecStart=/usr/bin/env python3 "/opt/shop/program.py"
EnvironmentFile=/etc/shop.env
Restart=always
RestartSec=1
TimeoutStopSec=30
StandardOutput=append:/var/log/shop/shop.log
StandardError=inherit
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable shop
systemctl restart shop
echo "shop is $(systemctl is-active shop)"
"#
    )
}

/// What was made.
pub struct Service {
    pub balancer: String,
    pub target_group: String,
}

impl Service {
    /// Makes everything, with so many instances.
    pub async fn make(cx: &Context, desired: i32, max: i32) -> Self {
        let vpc = cx.ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.expect("a VPC");
        let vpc = vpc.vpc().and_then(|vpc| vpc.vpc_id()).expect("its id").to_owned();
        let mut subnets = Vec::new();
        for (zone, cidr) in [("a", "10.0.1.0/24"), ("c", "10.0.2.0/24")] {
            let call = cx.ec2.create_subnet().vpc_id(&vpc).cidr_block(cidr);
            let made = call.availability_zone(format!("{}{zone}", cx.region)).send().await.expect("a subnet");
            subnets.push(made.subnet().and_then(|subnet| subnet.subnet_id()).expect("its id").to_owned());
        }
        let balancer = cx.elb.create_load_balancer().name("shop-test-alb").r#type(LoadBalancerTypeEnum::Application);
        let balancer = balancer.set_subnets(Some(subnets.clone())).send().await.expect("a load balancer");
        let balancer = balancer.load_balancers()[0].load_balancer_arn().expect("its ARN").to_owned();
        let target_group = target_group(cx, &vpc).await;
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&target_group).build();
        let listener = cx.elb.create_listener().load_balancer_arn(&balancer).port(80).protocol(ProtocolEnum::Http);
        listener.default_actions(forward).send().await.expect("a listener");

        let images = cx.ec2.describe_images().owners("amazon").send().await.expect("images");
        let data = RequestLaunchTemplateData::builder()
            .image_id(images.images()[0].image_id().expect("its id"))
            .user_data(BASE64_STANDARD.encode(user_data()))
            .build();
        let template = cx.ec2.create_launch_template().launch_template_name(GROUP).launch_template_data(data);
        let template = template.send().await.expect("a launch template");
        let template = template.launch_template().and_then(|it| it.launch_template_id()).expect("its id").to_owned();
        let version = LaunchTemplateSpecification::builder().launch_template_id(&template).version("1").build();
        cx.autoscaling
            .create_auto_scaling_group()
            .auto_scaling_group_name(GROUP)
            .launch_template(version)
            .vpc_zone_identifier(subnets.join(","))
            .min_size(1)
            .max_size(max)
            .desired_capacity(desired)
            .target_group_arns(&target_group)
            .health_check_type("ELB")
            .health_check_grace_period(300)
            .default_instance_warmup(30)
            .send()
            .await
            .expect("a group");
        Self { balancer, target_group }
    }

    /// Adds a listener for HTTPS. Which certificate AWS has for it makes no difference here.
    pub async fn listen_securely(&self, cx: &Context) {
        let pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----";
        let call = cx.iam.upload_server_certificate().server_certificate_name("shop").certificate_body(pem);
        let made = call.private_key(pem).send().await.expect("a certificate");
        let certificate = made.server_certificate_metadata.expect("a certificate").arn;
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&self.target_group).build();
        let listener = cx.elb.create_listener().load_balancer_arn(&self.balancer).port(443);
        let certificate = Certificate::builder().certificate_arn(certificate).build();
        let listener = listener.protocol(ProtocolEnum::Https).certificates(certificate).default_actions(forward);
        listener.send().await.expect("a listener");
    }

    /// The address that stands for the load balancer's name, once there is one.
    pub async fn url(&self, world: &World) -> String {
        loop {
            let told = world.cx.elb.describe_load_balancers().load_balancer_arns(&self.balancer).send().await;
            let told = told.expect("the load balancer");
            let name = told.load_balancers()[0].dns_name().expect("a name").to_owned();
            if name.starts_with("127.77.") {
                return format!("http://{name}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// What DescribeTargetHealth says, by instance.
    pub async fn health(&self, world: &World) -> BTreeMap<String, String> {
        let told = world.cx.elb.describe_target_health().target_group_arn(&self.target_group).send().await;
        let told = told.expect("the health").target_health_descriptions.unwrap_or_default();
        let pairs = told.into_iter().filter_map(|told| {
            let state = told.target_health?.state?.as_str().to_owned();
            Some((told.target?.id?, state))
        });
        pairs.collect()
    }

    /// Waits until so many instances are healthy, and no other is registered; answers with their ids.
    pub async fn healthy(&self, world: &World, count: usize) -> Vec<String> {
        let begun = std::time::Instant::now();
        loop {
            let health = self.health(world).await;
            if health.len() == count && health.values().all(|state| state == "healthy") {
                return health.into_keys().collect();
            }
            let status = world.status();
            assert!(begun.elapsed().as_secs() < 240, "not {count} healthy targets: {health:?}\n{status:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Deletes all that makes processes.
    pub async fn delete(&self, cx: &Context) {
        let group = cx.autoscaling.delete_auto_scaling_group().auto_scaling_group_name(GROUP).force_delete(true);
        group.send().await.expect("the group goes");
        cx.elb.delete_load_balancer().load_balancer_arn(&self.balancer).send().await.expect("the load balancer goes");
    }
}

async fn target_group(cx: &Context, vpc: &str) -> String {
    let made = cx
        .elb
        .create_target_group()
        .name("shop-test-web-8080")
        .vpc_id(vpc)
        .target_type(TargetTypeEnum::Instance)
        .protocol(ProtocolEnum::Http)
        .port(8080)
        .health_check_path("/readyz")
        .health_check_interval_seconds(5)
        .health_check_timeout_seconds(4)
        .healthy_threshold_count(2)
        .unhealthy_threshold_count(2)
        .matcher(Matcher::builder().http_code("200").build())
        .send()
        .await
        .expect("a target group");
    let arn = made.target_groups()[0].target_group_arn().expect("its ARN").to_owned();
    let delay = TargetGroupAttribute::builder().key("deregistration_delay.timeout_seconds").value("20").build();
    let modify = cx.elb.modify_target_group_attributes().target_group_arn(&arn).attributes(delay);
    modify.send().await.expect("its attributes");
    arn
}

/// The host names that answer at an address, asked a few times.
pub async fn hosts(url: &str) -> Vec<String> {
    let mut hosts = Vec::new();
    for _ in 0..8 {
        let (status, body) = get(url).await;
        assert_eq!(status, 200, "{body}");
        let (host, greeting) = body.split_once(' ').expect("two words");
        assert_eq!(greeting, "hello \"shop\"");
        hosts.push(host.to_owned());
    }
    hosts.sort();
    hosts.dedup();
    hosts
}
