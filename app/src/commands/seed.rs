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

fn events() -> [NewEvent; 6] {
    let in_days = |days| OffsetDateTime::now_utc() + Duration::days(days);
    let no_queue = QueueSettings { enabled: false, admit_per_second: 10.0, max_inside: 200 };
    let tiers = [("VIP", 150_000), ("R", 110_000), ("S", 70_000)];
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
            seats: theatre_seats(),
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
        NewEvent {
            name: "뮤지컬 〈한여름 밤의 서울〉".into(),
            venue: "예술의전당 오페라극장".into(),
            description: "10열 140석, VIP·R·S석".into(),
            event_date: in_days(40),
            sale_opens_at: None,
            total_seats: 0,
            seats: theatre_seats(),
            price: 0,
            price_tiers: tiers.map(|(grade, price)| PriceTier { grade: grade.into(), price }).into(),
            max_per_order: 4,
            max_per_user: Some(8),
            queue: no_queue,
        },
        NewEvent {
            name: "별빛 콘서트: 마지막 앙코르".into(),
            venue: "고척스카이돔".into(),
            description: "스탠딩, 대기열을 통해 순서대로 입장합니다".into(),
            event_date: in_days(75),
            sale_opens_at: None,
            total_seats: 16_000,
            seats: Vec::new(),
            price: 132_000,
            price_tiers: Vec::new(),
            max_per_order: 2,
            max_per_user: Some(2),
            queue: QueueSettings { enabled: true, admit_per_second: 20.0, max_inside: 300 },
        },
        NewEvent {
            name: "대학로 소극장 즉흥극의 밤".into(),
            venue: "대학로 아르코예술극장".into(),
            description: "전석 자유석, 30석 한정".into(),
            event_date: in_days(14),
            sale_opens_at: None,
            total_seats: 30,
            seats: Vec::new(),
            price: 25_000,
            price_tiers: Vec::new(),
            max_per_order: 4,
            max_per_user: None,
            queue: no_queue,
        },
    ]
}

/// Ten rows of fourteen seats: VIP in front, then R, then S.
fn theatre_seats() -> Vec<NewSeat> {
    let grade = |row: char| match row {
        'A' | 'B' => "VIP",
        'C'..='F' => "R",
        _ => "S",
    };
    let row = |row: char| {
        (1..=14).map(move |number| NewSeat {
            id: format!("{row}-{number}"),
            row: row.to_string(),
            number,
            grade: grade(row).to_owned(),
        })
    };
    ('A'..='J').flat_map(row).collect()
}
