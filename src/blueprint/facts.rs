//! Asks AWS for what a blueprint needs.

use std::collections::BTreeMap;

use super::Facts;
use crate::{
    aws::{Context, Result, partition},
    stack::Stack,
};

/// The facts for compiling `stack`.
///
/// # Errors
/// Calls that failed.
pub async fn facts(cx: &Context, _stack: &Stack) -> Result<Facts> {
    Ok(Facts {
        account: cx.account().await?.to_owned(),
        partition: partition(&cx.region).into(),
        region: cx.region.clone(),
        images: BTreeMap::new(),
    })
}
