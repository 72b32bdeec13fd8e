//! What a process serves: that it is starting, and from one moment on everything. No connection is closed for that.

use crate::error::ApiError;
use axum::Router;
use axum::routing::get;
use std::sync::OnceLock;

/// Asked for the router with every request, so that a connection from before that moment goes on.
pub struct Site {
    starting: Router,
    ready: OnceLock<Router>,
}

impl Site {
    /// Serves that the process lives, and that it is not ready: until it knows where its database is.
    pub fn starting() -> Self {
        let not_ready = || async { ApiError::unavailable("starting", "the service is starting") };
        let starting = Router::new().route("/livez", get(|| async { "alive" })).fallback(not_ready);
        Self { starting, ready: OnceLock::new() }
    }

    /// Serves `router` from now on. Only the first one counts.
    pub fn open(&self, router: Router) {
        self.ready.get_or_init(|| router);
    }

    /// What is to be served now.
    pub(super) fn router(&self) -> &Router {
        self.ready.get().unwrap_or(&self.starting)
    }
}

impl From<Router> for Site {
    fn from(router: Router) -> Self {
        let site = Self::starting();
        site.open(router);
        site
    }
}
