//! What a running service needs to know: flags, or the environment variables of the same meaning.

use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How to reach the database.
#[derive(Args, Clone, Debug, Default)]
pub struct DatabaseArgs {
    /// MySQL address: mysql://user:password@host:3306/database[?ssl-mode=VERIFY_CA&ssl-ca=FILE]
    #[arg(
        id = "database-url",
        long = "database-url",
        env = "TICKETING_DATABASE_URL",
        hide_env_values = true,
        required_unless_present = "parameters"
    )]
    pub url: Option<String>,
    /// Connections to keep at most
    #[arg(id = "database-connections", long = "database-connections", env = "TICKETING_DATABASE_CONNECTIONS",
          default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub connections: u32,
    #[command(flatten)]
    pub discovery: DiscoveryArgs,
}

/// Where an instance finds out what it was not told.
#[derive(Args, Clone, Debug, Default)]
pub struct DiscoveryArgs {
    /// Prefix of SSM parameters that tell addresses, and ARNs of secrets, for what is not given otherwise
    #[arg(long, env = "TICKETCTL_PARAMETERS")]
    pub parameters: Option<String>,
    /// Options of a database address that is put together from parameters
    #[arg(long, env = "TICKETING_DATABASE_OPTIONS", default_value = "ssl-mode=VERIFY_IDENTITY")]
    pub database_options: String,
}

/// How to reach Redis.
#[derive(Args, Clone, Debug, Default)]
pub struct RedisArgs {
    /// Redis address: redis://[user:password@]host:6379/0, or rediss:// for TLS
    #[arg(
        id = "redis-url",
        long = "redis-url",
        env = "TICKETING_REDIS_URL",
        hide_env_values = true,
        required_unless_present = "parameters"
    )]
    pub url: Option<String>,
}

/// What tokens are signed with.
#[derive(Args, Clone, Debug, Default)]
pub struct SecretArgs {
    /// Secret that signs access tokens, passes and tickets: the same on every instance, at least 32 characters
    #[arg(long = "jwt-secret", env = "TICKETING_JWT_SECRET", hide_env_values = true, value_parser = parse_secret,
          required_unless_present = "parameters")]
    pub jwt_secret: Option<String>,
}

fn parse_secret(value: &str) -> Result<String, String> {
    if value.len() < 32 {
        return Err(format!(
            "{} characters are too few, 32 are needed; make one with: openssl rand -hex 32",
            value.len()
        ));
    }
    Ok(value.to_owned())
}

/// Which part of the service this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything in one process
    All,
    /// Accounts, events, sales, wallet
    Api,
    /// The waiting queue
    Queue,
    /// Look-up and check-in at the door
    Staff,
    /// No API: publishes the outbox, consumes messages, expires offers
    Worker,
}

impl Role {
    /// Whether this process serves what belongs to `part`.
    pub fn includes(self, part: Role) -> bool {
        self == Role::All || self == part
    }
}

/// Options of `ticketing serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub secret: SecretArgs,
    /// Address and port to listen on
    #[arg(long, env = "TICKETING_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Part of the service to run
    #[arg(long, env = "TICKETING_ROLE", value_enum, default_value_t = Role::All)]
    pub role: Role,
    /// Bring the schema up to date before serving
    #[arg(long, env = "TICKETING_MIGRATE")]
    pub migrate: bool,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub messaging: MessagingArgs,
    #[command(flatten)]
    pub oidc: OidcArgs,
}

/// An OpenID provider that people can log in at.
#[derive(Args, Clone, Debug)]
pub struct OidcArgs {
    /// Issuer, such as https://accounts.google.com; register <public-url>/api/auth/oidc/callback there
    #[arg(id = "oidc-issuer", long = "oidc-issuer", env = "TICKETING_OIDC_ISSUER")]
    pub issuer: Option<String>,
    /// What this service is called at the provider
    #[arg(id = "oidc-client-id", long = "oidc-client-id", env = "TICKETING_OIDC_CLIENT_ID")]
    pub client_id: Option<String>,
    /// The secret that the provider knows it by
    #[arg(
        id = "oidc-client-secret",
        long = "oidc-client-secret",
        env = "TICKETING_OIDC_CLIENT_SECRET",
        hide_env_values = true
    )]
    pub client_secret: Option<String>,
    /// What people know the provider as
    #[arg(id = "oidc-name", long = "oidc-name", env = "TICKETING_OIDC_NAME", default_value = "Google")]
    pub name: String,
    /// Authorities (PEM) that the provider's certificate must come from, instead of the system's
    #[arg(id = "oidc-ca-file", long = "oidc-ca-file", env = "TICKETING_OIDC_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Where browsers see this service, such as https://tickets.example.com
    #[arg(long, env = "TICKETING_PUBLIC_URL")]
    pub public_url: Option<String>,
}

/// Where messages go. Without a topic this process consumes them itself.
#[derive(Args, Clone, Debug, Default)]
pub struct MessagingArgs {
    /// SNS topic to publish to
    #[arg(long, env = "TICKETING_SNS_TOPIC_ARN")]
    pub sns_topic_arn: Option<String>,
    /// SQS queue to consume, subscribed to the topic
    #[arg(long, env = "TICKETING_SQS_QUEUE_URL")]
    pub sqs_queue_url: Option<String>,
    /// SNS platform application through which devices get push messages
    #[arg(long, env = "TICKETING_SNS_PLATFORM_ARN")]
    pub sns_platform_arn: Option<String>,
    /// SNS topic through which people who ask for it get e-mail
    #[arg(long, env = "TICKETING_SNS_EMAIL_TOPIC_ARN")]
    pub sns_email_topic_arn: Option<String>,
}

/// Times and limits that can be tuned.
#[derive(Args, Clone, Debug)]
pub struct LimitArgs {
    /// Seconds that a hold lasts
    #[arg(long, env = "TICKETING_HOLD_SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub hold_seconds: u32,
    /// Tickets that one user may hold at once for one event, unless a single order has more
    #[arg(long, env = "TICKETING_HOLD_LIMIT", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub hold_limit: u32,
    /// Seconds that an offer from the waitlist lasts
    #[arg(long, env = "TICKETING_OFFER_SECONDS", default_value_t = 900,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub offer_seconds: u32,
    /// Requests per second of one user; ADMINs have no limit. 0: no limit
    #[arg(long, env = "TICKETING_USER_RATE", default_value_t = 50)]
    pub user_rate: u32,
    /// Requests per second of one address, behind a load balancer as it tells. 0: no limit
    #[arg(long, env = "TICKETING_ADDRESS_RATE", default_value_t = 0)]
    pub address_rate: u32,
    /// What is posted to /api/auth/ (sign-ups, logins, refreshes) per second of one address, told as above, but for
    /// those of this machine. 0: no limit
    #[arg(long, env = "TICKETING_AUTH_RATE", default_value_t = 20)]
    pub auth_rate: u32,
    /// Seconds that a connection may wait for its next request: longer than a load balancer before it waits
    #[arg(long, env = "TICKETING_IDLE_SECONDS", default_value_t = 75,
          value_parser = clap::value_parser!(u64).range(5..=5_000))]
    pub idle_seconds: u64,
    /// Seconds that one request may take
    #[arg(long, env = "TICKETING_REQUEST_SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u64).range(1..=300))]
    pub request_seconds: u64,
    /// Seconds after SIGTERM in which requests are still taken, while health checks tell to send none; a second signal, and
    /// Ctrl-C, cut it short
    #[arg(long, env = "TICKETING_LINGER_SECONDS", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(0..=60))]
    pub linger_seconds: u64,
    /// Seconds that running requests get to end after that
    #[arg(long, env = "TICKETING_DRAIN_SECONDS", default_value_t = 25,
          value_parser = clap::value_parser!(u64).range(0..=300))]
    pub drain_seconds: u64,
}
