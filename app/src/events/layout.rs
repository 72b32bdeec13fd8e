//! The seats of an event: where they are and what they cost. They never change once the event exists.

use crate::error::Result;
use futures::TryStreamExt;
use sqlx::MySqlPool;
use std::collections::HashSet;
use std::sync::Arc;

/// A seat. Small, since there may be a hundred thousand: rows and grades are shared.
pub struct Seat {
    /// `A-1`
    pub id: Box<str>,
    /// `A`
    pub row: Arc<str>,
    /// `1`
    pub number: u32,
    /// Names the price
    pub grade: Arc<str>,
    /// Price in the currency's smallest unit
    pub price: u64,
}

/// All seats of an event; none for general admission.
pub struct Layout {
    /// Row by row
    pub seats: Vec<Seat>,
    /// Places in `seats`, in the order of the identifiers
    by_id: Vec<u32>,
}

impl Layout {
    fn new(seats: Vec<Seat>) -> Self {
        let mut by_id: Vec<u32> = (0..).take(seats.len()).collect();
        by_id.sort_unstable_by(|a, b| seats[*a as usize].id.cmp(&seats[*b as usize].id));
        Self { seats, by_id }
    }

    /// Whether there is a seat with this identifier.
    pub fn has(&self, id: &str) -> bool {
        self.price(id).is_some()
    }

    /// What the seat with this identifier costs.
    pub fn price(&self, id: &str) -> Option<u64> {
        let found = self.by_id.binary_search_by(|place| self.seats[*place as usize].id.as_ref().cmp(id));
        found.ok().map(|place| self.seats[self.by_id[place] as usize].price)
    }
}

/// Reads the layout from the database.
pub async fn load(pool: &MySqlPool, event_id: u64) -> Result<Layout> {
    let mut rows = sqlx::query_as::<_, (String, String, u32, String, u64)>(
        "SELECT s.id, s.row_label, s.col_number, s.grade, COALESCE(p.price, e.price) FROM seats s \
         JOIN events e ON e.id = s.event_id LEFT JOIN price_tiers p ON p.event_id = s.event_id AND p.grade = s.grade \
         WHERE s.event_id = ? ORDER BY CHAR_LENGTH(s.row_label), s.row_label, s.col_number",
    )
    .bind(event_id)
    .fetch(pool);
    let (mut seats, mut names) = (Vec::new(), HashSet::new());
    while let Some((id, row, number, grade, price)) = rows.try_next().await? {
        let (row, grade) = (shared(&mut names, &row), shared(&mut names, &grade));
        seats.push(Seat { id: id.into(), row, number, grade, price });
    }
    seats.shrink_to_fit();
    Ok(Layout::new(seats))
}

fn shared(names: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return known.clone();
    }
    let new: Arc<str> = name.into();
    names.insert(new.clone());
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_found_whatever_their_order() {
        let seat =
            |id: &str| Seat { id: id.into(), row: "A".into(), number: 1, grade: "".into(), price: id.len() as u64 };
        let layout = Layout::new(["A-2", "A-10", "B-1", "A-1"].map(seat).into());
        assert!(["A-1", "A-2", "A-10", "B-1"].iter().all(|id| layout.price(id) == Some(id.len() as u64)));
        assert!(["A-3", "", "B-10"].iter().all(|id| !layout.has(id)));
    }
}
