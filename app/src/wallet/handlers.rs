//! The API of wallets.

use super::EntryView;
use crate::accounts::tokens::Caller;
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::{Json, Path, Query};
use crate::sales::idempotency_key;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The most that can be put in at once.
const MOST_CHARGE: u64 = 100_000_000;

/// Routes of wallets.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(balance)).routes(routes!(charge)).routes(routes!(entries))
}

/// A wallet
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WalletView {
    user_id: String,
    /// In the currency's smallest unit
    balance: u64,
}

#[derive(Deserialize, ToSchema)]
struct Charge {
    /// In the currency's smallest unit
    #[schema(minimum = 1, maximum = 100_000_000)]
    amount: i64,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only entries with a lower identifier: the last one of the page before
    before: Option<u64>,
    /// Entries per page, 1 to 100
    #[param(minimum = 1, maximum = 100)]
    size: Option<u32>,
}

/// What is in a wallet
#[utoipa::path(get, path = "/api/wallets/{userId}", tag = "wallet", params(("userId" = String, Path)),
    security(("bearer" = [])), responses(
    (status = 200, description = "the balance", body = WalletView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem)))]
async fn balance(
    State(state): State<AppState>,
    caller: Caller,
    Path(user_id): Path<String>,
) -> Result<axum::Json<WalletView>> {
    caller.require_self(&user_id)?;
    let balance = super::find_balance(&state.db, &user_id).await?;
    Ok(axum::Json(WalletView { user_id, balance }))
}

/// Put money into a wallet
///
/// With an `Idempotency-Key` header a repeated request changes nothing.
#[utoipa::path(post, path = "/api/wallets/{userId}/charge", tag = "wallet", request_body = Charge,
    params(("userId" = String, Path), ("Idempotency-Key" = Option<String>, Header)), security(("bearer" = [])), responses(
    (status = 200, description = "the new balance", body = WalletView),
    (status = 400, description = "`bad_idempotency_key`, `invalid_body`", body = Problem),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "no such account", body = Problem),
    (status = 422, description = "`bad_amount`, `idempotency_key_reused`", body = Problem)))]
async fn charge(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Path(user_id): Path<String>,
    Json(body): Json<Charge>,
) -> Result<axum::Json<WalletView>> {
    caller.require_self(&user_id)?;
    let amount = u64::try_from(body.amount)
        .ok()
        .filter(|amount| (1..=MOST_CHARGE).contains(amount))
        .ok_or_else(|| ApiError::invalid("bad_amount", format!("amount must be from 1 to {MOST_CHARGE}")))?;
    crate::accounts::by_id(&state.db, &user_id).await?.ok_or_else(|| ApiError::not_found("account"))?;
    let key = idempotency_key(&headers)?;
    let balance = super::charge(&state.db, &user_id, amount, key.as_deref()).await?;
    Ok(axum::Json(WalletView { user_id, balance }))
}

/// The ledger of a wallet, the newest entry first
#[utoipa::path(get, path = "/api/wallets/{userId}/transactions", tag = "wallet",
    params(("userId" = String, Path), Page), security(("bearer" = [])), responses(
    (status = 200, description = "entries", body = [EntryView]),
    (status = 400, description = "`invalid_query`", body = Problem),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem)))]
async fn entries(
    State(state): State<AppState>,
    caller: Caller,
    Path(user_id): Path<String>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<EntryView>>> {
    caller.require_self(&user_id)?;
    let size = page.size.unwrap_or(100);
    if !(1..=100).contains(&size) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", "size must be from 1 to 100"));
    }
    let before = page.before.unwrap_or(u64::MAX);
    Ok(axum::Json(super::entries(&state.db, &user_id, before, size).await?))
}
