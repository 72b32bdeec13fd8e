//! Ticket codes, 4-digit codes, and the signed text of the QR code.

use crate::random;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::seq::index;
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};
use std::collections::HashSet;

/// A new ticket code: 80 random bits.
pub fn new_code() -> String {
    random::code(16)
}

/// Up to `wanted` 4-digit codes that no live reservation of the event has. An event of more than 10,000 tickets
/// has none, since they could run out; nor does a moment at which most are taken. Tickets have their long codes.
pub async fn free_codes4(
    connection: &mut MySqlConnection,
    event_id: u64,
    total: u32,
    wanted: usize,
) -> Result<Vec<String>, sqlx::Error> {
    if total > 10_000 {
        return Ok(Vec::new());
    }
    let candidates: Vec<String> =
        index::sample(&mut rand::rng(), 10_000, (wanted * 2 + 8).next_power_of_two().min(10_000))
            .into_iter()
            .map(|code| format!("{code:04}"))
            .collect();
    let mut sql =
        QueryBuilder::new("SELECT active_code4 FROM reservations FORCE INDEX (reservations_code4) WHERE event_id = ");
    sql.push_bind(event_id).push(" AND active_code4 IN (");
    let mut list = sql.separated(", ");
    for code in &candidates {
        list.push_bind(code);
    }
    list.push_unseparated(")");
    let taken: Vec<String> = sql.build_query_scalar().fetch_all(connection).await?;
    let taken: HashSet<String> = taken.into_iter().collect();
    Ok(candidates.into_iter().filter(|code| !taken.contains(code)).take(wanted).collect())
}

/// The seats of an event that have a live ticket.
pub async fn taken_seats(pool: &MySqlPool, event_id: u64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT active_seat FROM tickets WHERE event_id = ? AND active_seat IS NOT NULL")
        .bind(event_id)
        .fetch_all(pool)
        .await
}

/// Signs tickets so that a door without a network can check them.
pub struct TicketSigner(SigningKey);

impl TicketSigner {
    /// The same seed gives the same key on every instance.
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public key, in hexadecimal.
    pub fn public_key(&self) -> String {
        hex::encode(self.0.verifying_key().to_bytes())
    }

    /// The text of a ticket's QR code: `T1.<event>.<seat or ->.<code>.<signature>`, in characters that fit a QR
    /// code's compact alphanumeric mode.
    pub fn sign(&self, event_id: u64, seat: Option<&str>, code: &str) -> String {
        let text = format!("T1.{event_id}.{}.{code}", seat.unwrap_or("-"));
        let signature = hex::encode_upper(self.0.sign(text.as_bytes()).to_bytes());
        format!("{text}.{signature}")
    }

    /// The ticket code in a QR code's text, if the signature is ours.
    pub fn verify<'a>(&self, event_id: u64, text: &'a str) -> Option<&'a str> {
        verify(&self.0.verifying_key(), event_id, text)
    }
}

fn verify<'a>(key: &VerifyingKey, event_id: u64, text: &'a str) -> Option<&'a str> {
    let (signed, signature) = text.rsplit_once('.')?;
    let signature = Signature::from_slice(&hex::decode(signature).ok()?).ok()?;
    key.verify_strict(signed.as_bytes(), &signature).ok()?;
    let mut parts = signed.split('.');
    let (version, event, _seat, code) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (version == "T1" && event.parse() == Ok(event_id) && parts.next().is_none()).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_genuine_tickets_of_the_event_verify() {
        let signer = TicketSigner::new(&[7; 32]);
        let text = signer.sign(12, Some("A-1"), "0123456789ABCDEF");
        assert_eq!(signer.verify(12, &text), Some("0123456789ABCDEF"));
        assert_eq!(signer.verify(13, &text), None);
        assert_eq!(signer.verify(12, &text.replace("A-1", "A-2")), None);
        assert_eq!(TicketSigner::new(&[8; 32]).verify(12, &text), None);
        for bad in ["", ".", "T1.12.A-1.X.", "T1.12.A-1.X.zz"] {
            assert_eq!(signer.verify(12, bad), None, "{bad}");
        }
    }
}
