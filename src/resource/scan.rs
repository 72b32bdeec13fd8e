//! One look at what AWS has: each kind is listed once, and kinds that need another's listing share it.

use futures::{StreamExt, stream::FuturesUnordered};
use std::{collections::HashMap, ops::Deref, sync::Arc};
use tokio::sync::OnceCell;

use super::{
    AnyKind, Found, Kind, Select,
    kind::{self, Status},
};
use crate::aws::{Context, Result};

/// A look in progress. It dereferences to the [`Context`].
pub struct Scan<'a> {
    cx: &'a Context,
    listings: HashMap<&'static str, OnceCell<Arc<Vec<Found>>>>,
}

impl Deref for Scan<'_> {
    type Target = Context;
    fn deref(&self) -> &Context {
        self.cx
    }
}

impl<'a> Scan<'a> {
    pub fn new(cx: &'a Context) -> Self {
        let listings = super::all().iter().map(|kind| (kind.name(), OnceCell::new())).collect();
        Scan { cx, listings }
    }

    /// All of the stack's resources of kind `K`; listed by whoever asks first.
    pub async fn of<K: Kind>(&self) -> Result<Vec<Found<K::Spec>>> {
        let listing = self.listing(super::by_name(K::NAME).expect("every kind is registered")).await?;
        listing.iter().cloned().map(kind::typed::<K>).collect()
    }

    async fn listing(&self, kind: &dyn AnyKind) -> Result<Arc<Vec<Found>>> {
        let cell = &self.listings[kind.name()];
        // Boxed because a kind's find may ask for another kind's listing.
        let found = cell
            .get_or_try_init(|| Box::pin(async { Result::Ok(Arc::new(kind.find(self, &Select::Stack).await?)) }))
            .await?;
        Ok(found.clone())
    }

    /// Lists every kind, all at once. What is being deleted is left out.
    pub async fn everything(&self, kinds: &[&'static dyn AnyKind]) -> Vec<(&'static dyn AnyKind, Result<Vec<Found>>)> {
        let listings = kinds.iter().map(|kind| async move {
            let found = self
                .listing(*kind)
                .await
                .map(|found| found.iter().filter(|found| found.status != Status::Deleting).cloned().collect());
            (*kind, found)
        });
        listings.collect::<FuturesUnordered<_>>().collect().await
    }
}
