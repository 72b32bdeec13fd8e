//! Values that nobody may know: generated in AWS, fetched by instances when they start.

use crate::{
    resource::{Handle, Secret, secret::SecretSpec},
    stack::Stack,
};

use super::Blueprint;

/// How long the secrets of a protected stack can be restored.
const RECOVERY_DAYS: i64 = 7;

/// What others need of the secrets.
pub struct SecretHandles {
    /// The key that signs the tokens of the site's users, if the stack has services.
    pub jwt: Option<Handle<Secret>>,
    /// The password of the caches, if the stack has any.
    pub cache_auth: Option<Handle<Secret>>,
}

pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack) -> SecretHandles {
    let mut secret = |what: &str, description: &str| {
        let name = format!("/ticketctl/{}/{what}", stack.name());
        let spec = SecretSpec {
            name: name.clone(),
            description: description.to_owned(),
            // Gone at once otherwise, so that the stack can be made anew and nothing of it is left.
            recovery_days: if stack.protect { RECOVERY_DAYS } else { 0 },
        };
        let handle = blueprint.add::<Secret>(format!("secret-{what}"), &name, spec);
        blueprint.output(&format!("{}_secret_arn", what.replace('-', "_")), handle.arn());
        handle
    };
    SecretHandles {
        jwt: (!stack.services.is_empty()).then(|| secret("jwt", "Key that signs the tokens of the site's users")),
        cache_auth: stack.cache.is_some().then(|| secret("cache-auth", "Password of the caches (Redis AUTH)")),
    }
}
