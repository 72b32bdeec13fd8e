//! The web server: all routes in one place, what surrounds every request, and the accept loop.

mod connection;
mod document;
pub mod extract;
mod layers;
pub mod limiter;
mod server;
mod site;

pub use server::serve;
pub use site::Site;

use crate::config::Role;
use crate::error::ApiError;
use crate::state::AppState;
use crate::{accounts, events, health, notifications, page, queue, sales, staff, telemetry, waitlist, wallet};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// The largest request body that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// What the OpenAPI document says about the whole service.
#[derive(OpenApi)]
#[openapi(
    info(title = "Ticketing", description = "Sells tickets, never one too many."),
    modifiers(&Security),
    components(schemas(crate::error::Problem))
)]
struct ApiDoc;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        openapi.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

fn api(role: Role) -> OpenApiRouter<AppState> {
    let mut router = OpenApiRouter::with_openapi(ApiDoc::openapi()).merge(health::routes());
    if role.includes(Role::Api) {
        router = router
            .merge(accounts::routes())
            .merge(accounts::oidc::routes())
            .merge(events::routes())
            .merge(sales::routes())
            .merge(wallet::routes())
            .merge(waitlist::routes())
            .merge(notifications::routes());
    }
    if role.includes(Role::Queue) {
        router = router.merge(queue::routes());
    }
    if role.includes(Role::Staff) {
        router = router.merge(staff::routes());
    }
    router
}

/// The OpenAPI document of the whole service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described(api(Role::All).into_openapi())
}

fn described(document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    document::complete(&document).unwrap_or_else(|error| {
        tracing::error!(%error, "the API's document lacks what all operations have in common");
        document
    })
}

/// Everything that this process serves, by its role.
pub fn router(state: AppState) -> Router {
    let (mut router, document) = api(state.role).split_for_parts();
    if state.role.includes(Role::Api) || state.role.includes(Role::Staff) {
        router = router.merge(page::routes());
    }
    router
        .route("/metrics", get(telemetry::serve_metrics))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", described(document)))
        .fallback(|| async { ApiError::not_found("page") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
        })
        // All in one: each call of `layer` costs every request another box.
        .layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(state.clone(), layers::surround))
                .layer(CatchPanicLayer::custom(|_| {
                    axum::response::IntoResponse::into_response(ApiError::internal("a handler panicked"))
                }))
                .layer(DefaultBodyLimit::max(BODY_LIMIT)),
        )
        .with_state(state)
}
