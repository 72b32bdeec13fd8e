//! One SDK configuration, one client per service.

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::OnceCell;

use super::{Emulator, Error, Result, fence::Fenced, fence::Permit, localstack};

/// Where to send calls and as whom: what the command line says over the SDK's default chain.
#[derive(Clone, Debug, Default)]
pub struct Target {
    pub region: Option<String>,
    pub profile: Option<String>,
    /// Another endpoint than AWS's: an emulator. `AWS_ENDPOINT_URL` counts too, through the SDK.
    pub endpoint_url: Option<String>,
    /// Credentials that mean nothing, for the built-in local cloud alone.
    pub local_credentials: bool,
}

/// The clients of all services for one stack in one account and region.
#[derive(Clone, Debug)]
pub struct Context {
    /// `<project>-<environment>`: the value of the stack tag and the start of every name.
    pub stack: String,
    pub region: String,
    /// The emulator's address, or none for AWS itself.
    pub endpoint_url: Option<String>,
    /// What answers there; none for AWS itself.
    pub emulator: Option<Emulator>,
    pub ec2: aws_sdk_ec2::Client,
    pub autoscaling: aws_sdk_autoscaling::Client,
    pub elb: aws_sdk_elasticloadbalancingv2::Client,
    pub rds: aws_sdk_rds::Client,
    pub elasticache: aws_sdk_elasticache::Client,
    pub iam: aws_sdk_iam::Client,
    pub s3: aws_sdk_s3::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub sns: aws_sdk_sns::Client,
    pub ssm: aws_sdk_ssm::Client,
    pub secrets: aws_sdk_secretsmanager::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub sts: aws_sdk_sts::Client,
    pub quotas: aws_sdk_servicequotas::Client,
    pub acm: aws_sdk_acm::Client,
    /// Prices are told in three regions for all others.
    pub pricing: aws_sdk_pricing::Client,
    account: Arc<OnceCell<String>>,
    config: SdkConfig,
}

impl Context {
    /// Loads the SDK's default chain, with `target` over it.
    pub async fn load(stack: impl Into<String>, region: &str, target: &Target) -> Context {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(target.region.clone().unwrap_or_else(|| region.to_owned())))
            // Not the SDK's adaptive mode: its rate limit falls to a call in two seconds when a third of them is throttled, and a look
            // takes a minute. Growing pauses with jitter are enough for the few hundred calls of a run.
            .retry_config(RetryConfig::standard().with_max_attempts(8).with_max_backoff(Duration::from_secs(10)))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .operation_attempt_timeout(Duration::from_secs(60))
                    .build(),
            );
        if let Some(profile) = &target.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &target.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if target.local_credentials {
            loader = loader.credentials_provider(aws_sdk_sts::config::Credentials::new(
                "local",
                "local",
                None,
                None,
                "ticketctl-local",
            ));
        }
        let mut cx = Context::new(stack.into(), &loader.load().await, None);
        if let Some(url) = &cx.endpoint_url {
            let emulator = Emulator::identify(url).await;
            if let Emulator::LocalStack { asleep, .. } = &emulator {
                localstack::wake(&cx, asleep).await;
            }
            cx.emulator = Some(emulator);
        }
        cx
    }

    fn new(stack: String, config: &SdkConfig, permit: Option<&Permit>) -> Context {
        macro_rules! client {
            ($sdk:ident $(, $set:ident = $value:expr)?) => {{
                let builder = $sdk::config::Builder::from(config);
                $(let builder = builder.$set($value);)?
                $sdk::Client::from_conf(match permit {
                    Some(permit) => builder.interceptor(Fenced(permit.clone())).build(),
                    None => builder.build(),
                })
            }};
        }
        let endpoint_url = config.endpoint_url().map(str::to_owned);
        Context {
            stack,
            region: config.region().map(ToString::to_string).unwrap_or_default(),
            // Emulators answer on one host name for every bucket.
            s3: client!(aws_sdk_s3, force_path_style = endpoint_url.is_some()),
            endpoint_url,
            emulator: None,
            ec2: client!(aws_sdk_ec2),
            autoscaling: client!(aws_sdk_autoscaling),
            elb: client!(aws_sdk_elasticloadbalancingv2),
            rds: client!(aws_sdk_rds),
            elasticache: client!(aws_sdk_elasticache),
            iam: client!(aws_sdk_iam),
            sqs: client!(aws_sdk_sqs),
            sns: client!(aws_sdk_sns, retry_classifier = TooManyRequests),
            ssm: client!(aws_sdk_ssm),
            secrets: client!(aws_sdk_secretsmanager),
            logs: client!(aws_sdk_cloudwatchlogs),
            cloudwatch: client!(aws_sdk_cloudwatch),
            sts: client!(aws_sdk_sts),
            quotas: client!(aws_sdk_servicequotas),
            acm: client!(aws_sdk_acm),
            pricing: client!(aws_sdk_pricing, region = Region::new(price_region(config))),
            account: Arc::new(OnceCell::new()),
            config: config.clone(),
        }
    }

    /// The same clients, but each call is sent once: for whoever must know what became of it before sending it again.
    pub fn without_retries(&self) -> Context {
        self.sent_once(None)
    }

    /// The same, and each call asks for leave before it is sent: one operation makes several, and its lock may be lost between
    /// two of them.
    pub fn fenced(&self, permit: Permit) -> Context {
        self.sent_once(Some(&permit))
    }

    fn sent_once(&self, permit: Option<&Permit>) -> Context {
        let config = self.config.to_builder().retry_config(RetryConfig::disabled()).build();
        Context {
            account: self.account.clone(),
            emulator: self.emulator.clone(),
            ..Context::new(self.stack.clone(), &config, permit)
        }
    }

    /// Why the endpoint can't hold a kind, if it is an emulator with a known gap there. Never on AWS.
    pub fn gap(&self, kind: &str) -> Option<String> {
        self.emulator.as_ref()?.gap(kind)
    }

    /// The account's twelve digits; asked once.
    pub async fn account(&self) -> Result<&str> {
        let account = self
            .account
            .get_or_try_init(|| async {
                let identity = self.sts.get_caller_identity().send().await?;
                identity
                    .account
                    .ok_or_else(|| Error::unexpected("sts", "GetCallerIdentity", "the answer names no account"))
            })
            .await?;
        Ok(account)
    }

    /// Takes the account from somewhere else than a call, unless it is known already.
    pub fn remember_account<'a>(&'a self, account: &'a str) -> &'a str {
        // Losing against another answer is no harm: it is the same.
        let _ = self.account.set(account.to_owned());
        account
    }

    /// The ARN of something in this account and region.
    pub async fn arn(&self, service: &str, resource: &str) -> Result<String> {
        Ok(format!("arn:{}:{service}:{}:{}:{resource}", partition(&self.region), self.region, self.account().await?))
    }
}

/// SNS throttles with the code `Throttled`, which the SDK doesn't know, and the status 429, which tells the same.
/// Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors>
#[derive(Debug)]
struct TooManyRequests;

impl ClassifyRetry for TooManyRequests {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().map(|response| response.status().as_u16()) {
            Some(429) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "too many requests"
    }
}

/// The partition that a region belongs to, as in ARNs.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
pub fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}

/// The region whose endpoint has the prices of a region: each has those of all of them, but for China.
/// Source: <https://docs.aws.amazon.com/general/latest/gr/billing.html>
fn price_region(config: &SdkConfig) -> &'static str {
    match config.region().and_then(|region| region.as_ref().split('-').next()) {
        Some("cn") => "cn-northwest-1",
        Some("ap") => "ap-south-1",
        Some("eu" | "me" | "af" | "il") => "eu-central-1",
        _ => "us-east-1",
    }
}

/// What AWS's host names in a region end with.
/// Source: <https://docs.aws.amazon.com/general/latest/gr/rande.html>
pub fn dns_suffix(region: &str) -> &'static str {
    match partition(region) {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}
