//! One look at what AWS has: each kind is listed once, and kinds that need another's listing share it.
//!
//! A *sparing* look makes no call whose answer another listing proves already. What such a proof can't tell is what nothing
//! else refers to: a resource of ours that nobody uses, and the tags of the proven one. So a sparing look is good for one
//! thing: to find that nothing is to do. As soon as it finds anything else, and for everything that changes AWS, the
//! look is a full one.

use aws_sdk_ec2::types::{Filter, Vpc};
use aws_sdk_elasticloadbalancingv2::types::LoadBalancer as Balancer;
use aws_sdk_iam::types::InstanceProfile;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, FuturesUnordered},
};
use std::{collections::HashMap, ops::Deref, sync::Arc};
use tokio::sync::OnceCell;

use super::{
    AnyKind, Found, Kind, Select,
    kind::{self, Status},
    load_balancer,
};
use crate::aws::{Class, Context, Result, partition, tags};

/// How many resources of one kind are asked for their tags at once.
const ASKED_AT_ONCE: usize = 8;

/// A look in progress. It dereferences to the [`Context`].
pub struct Scan<'a> {
    cx: &'a Context,
    sparing: bool,
    listings: HashMap<&'static str, OnceCell<Arc<Vec<Found>>>>,
    vpcs: OnceCell<Vec<Vpc>>,
    profiles: OnceCell<Vec<InstanceProfile>>,
    balancers: OnceCell<Vec<Balancer>>,
}

impl Deref for Scan<'_> {
    type Target = Context;
    fn deref(&self) -> &Context {
        self.cx
    }
}

impl<'a> Scan<'a> {
    /// A full look: it sees everything.
    pub fn new(cx: &'a Context) -> Self {
        let listings = super::all().iter().map(|kind| (kind.name(), OnceCell::new())).collect();
        Scan {
            cx,
            sparing: false,
            listings,
            vpcs: OnceCell::new(),
            profiles: OnceCell::new(),
            balancers: OnceCell::new(),
        }
    }

    /// A sparing look, for whether there is anything to do at all.
    pub fn sparing(cx: &'a Context) -> Self {
        // Where kinds are missing, so are the listings that prove others.
        let complete = super::all().iter().all(|kind| cx.gap(kind.name()).is_none());
        Scan { sparing: complete, ..Scan::new(cx) }
    }

    /// Whether calls are left out whose answer other listings prove.
    pub fn is_sparing(&self) -> bool {
        self.sparing
    }

    /// The stack's VPCs in AWS's words, for all who need but a part of the answer and needn't wait for the rest.
    pub async fn vpcs(&self) -> Result<&[Vpc]> {
        let list = || async {
            let filter = Filter::builder().name(format!("tag:{}", tags::STACK)).values(&self.stack).build();
            let pages = self.ec2.describe_vpcs().filters(filter).into_paginator().items().send();
            Result::Ok(pages.collect::<std::result::Result<Vec<_>, _>>().await?)
        };
        self.vpcs.get_or_try_init(list).await.map(Vec::as_slice)
    }

    /// The stack's instance profiles in AWS's words: their roles are told with them.
    pub async fn profiles(&self) -> Result<&[InstanceProfile]> {
        let list = || async {
            let pages = self.iam.list_instance_profiles().path_prefix(super::iam::prefix(self)).into_paginator();
            let mut profiles = pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
            profiles.retain(|profile| super::iam::is_ours(self, profile.path()));
            Result::Ok(profiles)
        };
        self.profiles.get_or_try_init(list).await.map(Vec::as_slice)
    }

    /// The load balancers with the stack's name in AWS's words, theirs or not: their tags tell.
    pub async fn balancers(&self) -> Result<&[Balancer]> {
        self.balancers.get_or_try_init(|| load_balancer::listed(self)).await.map(Vec::as_slice)
    }

    /// The account's twelve digits. Whoever has made a VPC owns it, so that a stack with one needn't ask further.
    pub async fn account(&self) -> Result<&str> {
        match self.vpcs().await?.iter().find_map(Vpc::owner_id) {
            Some(owner) => Ok(self.cx.remember_account(owner)),
            None => self.cx.account().await,
        }
    }

    /// The ARN of something in this account and region.
    pub async fn arn(&self, service: &str, resource: &str) -> Result<String> {
        let account = self.account().await?;
        Ok(format!("arn:{}:{service}:{}:{account}:{resource}", partition(&self.region), self.region))
    }

    /// All of the stack's resources of kind `K`; listed by whoever asks first.
    pub async fn of<K: Kind>(&self) -> Result<Vec<Found<K::Spec>>> {
        let listing = self.listing(super::by_name(K::NAME).expect("every kind is registered")).await?;
        listing.iter().cloned().map(kind::typed::<K>).collect()
    }

    /// What a kind finds, in a full look with all tags.
    pub async fn find(&self, kind: &dyn AnyKind, select: &Select<'_>) -> Result<Vec<Found>> {
        let found = kind.find(self, select).await?;
        if self.sparing {
            return Ok(found);
        }
        let asked = found.into_iter().map(|found| self.tagged(kind, found));
        let tagged: Vec<Found> = stream::iter(asked).buffered(ASKED_AT_ONCE).try_collect().await?;
        Ok(tagged.into_iter().filter(|found| self.is_ours(kind, found)).collect())
    }

    async fn tagged(&self, kind: &dyn AnyKind, found: Found) -> Result<Found> {
        if found.tags.is_some() || found.status == Status::Deleting {
            return Ok(found);
        }
        let told = match kind.tags(self, &found).await {
            // It went between the two calls.
            Err(error) if error.is_not_found() => None,
            // ElastiCache tells no tags of what is being made or changed.
            // <https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ListTagsForResource.html>
            Err(error) if error.class() == Class::Conflict => None,
            told => told?,
        };
        // An emulator that tells no tags at all doesn't keep them, and so can't be told to mend them.
        let tags = told.filter(|tags| self.emulator.is_none() || !tags.is_empty());
        Ok(Found { tags, ..found })
    }

    /// A name says well enough whose a resource is that can be made again. What holds data, and what carries another stack's
    /// tag, is ours only by our tag.
    fn is_ours(&self, kind: &dyn AnyKind, found: &Found) -> bool {
        match found.tags.as_ref().map(|tags| tags.get(tags::STACK)) {
            Some(Some(stack)) => *stack == self.stack,
            Some(None) => !kind.traits().holds_data,
            None => true,
        }
    }

    async fn listing(&self, kind: &dyn AnyKind) -> Result<Arc<Vec<Found>>> {
        let cell = &self.listings[kind.name()];
        // Boxed because a kind's find may ask for another kind's listing.
        let found = cell
            .get_or_try_init(|| Box::pin(async { Result::Ok(Arc::new(self.find(kind, &Select::Stack).await?)) }))
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
