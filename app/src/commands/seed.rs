//! `ticketing seed`: events and accounts to try things with.

use crate::accounts::{self, Role};
use crate::config::DatabaseArgs;
use crate::db;
use crate::events::store::{self, NewEvent, NewSeat};
use crate::events::{PriceTier, QueueSettings};
use crate::wallet;
use clap::Args;
use sqlx::MySqlPool;
use time::{Duration, OffsetDateTime};

/// Options of `ticketing seed`.
#[derive(Args)]
pub struct SeedArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Password of the demo accounts
    #[arg(long, env = "TICKETING_SEED_PASSWORD", default_value = DEMO_PASSWORD)]
    password: String,
}

/// Password of the demo accounts unless said otherwise.
pub const DEMO_PASSWORD: &str = "demo-password";

const ACCOUNTS: [(&str, &str, Role); 4] = [
    ("kim@example.com", "Kim", Role::User),
    ("lee@example.com", "Lee", Role::User),
    ("staff@example.com", "Door staff", Role::Staff),
    ("admin@example.com", "Administrator", Role::Admin),
];

/// What is in a demo account's wallet.
const DEMO_MONEY: u64 = 1_000_000;

pub async fn run(args: &SeedArgs) -> anyhow::Result<()> {
    let pool = db::pool_for(&args.database).await?;
    seed(&pool, &args.password).await?;
    for (email, ..) in ACCOUNTS {
        println!("{email}");
    }
    Ok(())
}

/// Makes the demo accounts and events that are not there yet.
pub async fn seed(pool: &MySqlPool, password: &str) -> anyhow::Result<()> {
    for (email, name, role) in ACCOUNTS {
        let user = accounts::upsert(pool, email, password, name, role).await?;
        wallet::charge(pool, &user.user_id, DEMO_MONEY, Some("seed")).await?;
    }
    for event in events() {
        let exists: Option<u64> =
            sqlx::query_scalar("SELECT id FROM events WHERE name = ?").bind(&event.name).fetch_optional(pool).await?;
        if exists.is_none() {
            store::insert(pool, &event).await?;
        }
    }
    Ok(())
}

fn events() -> [NewEvent; 3] {
    let in_days = |days| OffsetDateTime::now_utc() + Duration::days(days);
    let no_queue = QueueSettings { enabled: false, admit_per_second: 10.0, max_inside: 200 };
    let tiers = [("VIP", 150_000), ("R", 110_000), ("S", 70_000)];
    let theatre = |row: char| match row {
        'A' | 'B' => "VIP",
        'C'..='F' => "R",
        _ => "S",
    };
    [
        NewEvent {
            name: "Winter Concert".into(),
            venue: "Olympic Hall".into(),
            description: "Standing, free of charge".into(),
            event_date: in_days(30),
            sale_opens_at: None,
            total_seats: 1_000,
            seats: Vec::new(),
            price: 0,
            price_tiers: Vec::new(),
            max_per_order: 4,
            max_per_user: None,
            queue: no_queue,
        },
        NewEvent {
            name: "A Musical Evening".into(),
            venue: "Arts Centre".into(),
            description: "Ten rows of fourteen seats".into(),
            event_date: in_days(45),
            sale_opens_at: None,
            total_seats: 0,
            seats: ('A'..='J')
                .flat_map(|row| {
                    (1..=14).map(move |number| NewSeat {
                        id: format!("{row}-{number}"),
                        row: row.to_string(),
                        number,
                        grade: theatre(row).to_owned(),
                    })
                })
                .collect(),
            price: 0,
            price_tiers: tiers.map(|(grade, price)| PriceTier { grade: grade.into(), price }).into(),
            max_per_order: 4,
            max_per_user: Some(8),
            queue: no_queue,
        },
        NewEvent {
            name: "Farewell Tour".into(),
            venue: "World Cup Stadium".into(),
            description: "Everybody wants to go: there is a waiting queue".into(),
            event_date: in_days(60),
            sale_opens_at: None,
            total_seats: 5_000,
            seats: Vec::new(),
            price: 99_000,
            price_tiers: Vec::new(),
            max_per_order: 2,
            max_per_user: Some(2),
            queue: QueueSettings { enabled: true, admit_per_second: 5.0, max_inside: 100 },
        },
    ]
}
