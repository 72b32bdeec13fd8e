//! The seats of an event: where they are and what they cost. They never change once the event exists.

use crate::error::Result;
use sqlx::MySqlPool;
use std::collections::HashMap;

/// A seat.
pub struct Seat {
    /// `A-1`
    pub id: String,
    /// `A`
    pub row: String,
    /// `1`
    pub number: u32,
    /// Names the price
    pub grade: String,
    /// Price in the currency's smallest unit
    pub price: u64,
}

/// All seats of an event; none for general admission.
pub struct Layout {
    /// Row by row
    pub seats: Vec<Seat>,
    /// Their places in `seats`
    pub by_id: HashMap<String, usize>,
}

/// Reads the layout from the database.
pub async fn load(pool: &MySqlPool, event_id: u64) -> Result<Layout> {
    let rows: Vec<(String, String, u32, String, u64)> = sqlx::query_as(
        "SELECT s.id, s.row_label, s.col_number, s.grade, COALESCE(p.price, e.price) FROM seats s \
         JOIN events e ON e.id = s.event_id LEFT JOIN price_tiers p ON p.event_id = s.event_id AND p.grade = s.grade \
         WHERE s.event_id = ? ORDER BY CHAR_LENGTH(s.row_label), s.row_label, s.col_number",
    )
    .bind(event_id)
    .fetch_all(pool)
    .await?;
    let seats: Vec<Seat> =
        rows.into_iter().map(|(id, row, number, grade, price)| Seat { id, row, number, grade, price }).collect();
    let by_id = seats.iter().enumerate().map(|(index, seat)| (seat.id.clone(), index)).collect();
    Ok(Layout { seats, by_id })
}
