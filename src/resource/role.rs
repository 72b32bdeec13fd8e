//! An IAM role: who may take it, and the one inline policy that says what it may do.

use aws_sdk_iam::types::{InstanceProfile, Role as Answer};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

use super::{
    Change, Created, DbInstance, Desired, Effect, Found, Handle, Kind, Outputs, Scan, Select, Status, Traits, iam,
};
use crate::aws::{Context, Error, Result, Tags};

pub struct Role;

/// The name of a role's inline policy.
pub const POLICY: &str = "ticketctl";

#[derive(Debug, Serialize, Deserialize)]
pub struct RoleSpec {
    /// Unique in the account, all regions together; up to 64 characters.
    pub name: String,
    /// Who may take the role: a policy document.
    pub trust: Value,
    /// What the role may do: a policy document.
    pub policy: Value,
}

impl Handle<Role> {
    pub fn arn(&self) -> String {
        self.created_output("arn")
    }
}

impl Kind for Role {
    const NAME: &'static str = "role";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = RoleSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<RoleSpec>>> {
        let roles = match select {
            Select::Stack if scan.is_sparing() => return used(scan).await,
            Select::Stack => {
                let pages = scan.iam.list_roles().path_prefix(iam::prefix(scan)).into_paginator();
                let mut roles = pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
                roles.retain(|role| iam::is_ours(scan, role.path()));
                roles
            }
            Select::One(name) => role_named(scan, name).await?.into_iter().collect(),
        };
        try_join_all(roles.iter().map(|role| async {
            let policy = policy_of(scan, role.role_name()).await?;
            found(scan, role, policy)
        }))
        .await
    }

    async fn tags(cx: &Context, name: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        Ok(role_named(cx, name).await?.map(|role| iam::tags(role.tags())))
    }

    async fn create(cx: &Context, desired: &Desired<RoleSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let answer = cx
            .iam
            .create_role()
            .role_name(&spec.name)
            .path(iam::path(cx, &desired.logical_id))
            .assume_role_policy_document(spec.trust.to_string())
            .set_tags(iam::tag_list(desired))
            .send()
            .await?;
        let role = answer.role().ok_or_else(|| Error::unexpected("iam", "CreateRole", "no role"))?;
        put_policy(cx, spec).await?;
        Ok(Created::new(role.role_name()).with("arn", role.arn()))
    }

    async fn update(cx: &Context, change: &Change<RoleSpec>) -> Result<()> {
        let spec = &change.desired.spec;
        if change.touches(&["trust"]) {
            let call = cx.iam.update_assume_role_policy().role_name(&change.found.id);
            call.policy_document(spec.trust.to_string()).send().await?;
        }
        if change.touches(&["policy"]) {
            put_policy(cx, spec).await?;
        }
        if change.tags().is_some() {
            let call = cx.iam.tag_role().role_name(&change.found.id);
            call.set_tags(iam::tag_list(&change.desired)).send().await?;
        }
        Ok(())
    }

    /// A role goes only when nothing hangs on it: not our policy, nor what others have put there.
    async fn delete(cx: &Context, found: &Found<RoleSpec>) -> Result<()> {
        let name = &found.id;
        let inline = cx.iam.list_role_policies().role_name(name).into_paginator().items().send();
        for policy in inline.collect::<std::result::Result<Vec<_>, _>>().await? {
            let gone = cx.iam.delete_role_policy().role_name(name).policy_name(policy).send().await;
            unless_gone(gone)?;
        }
        let attached = cx.iam.list_attached_role_policies().role_name(name).into_paginator().items().send();
        for policy in attached.collect::<std::result::Result<Vec<_>, _>>().await? {
            let gone = cx.iam.detach_role_policy().role_name(name).set_policy_arn(policy.policy_arn).send().await;
            unless_gone(gone)?;
        }
        cx.iam.delete_role().role_name(name).send().await?;
        Ok(())
    }
}

/// IAM's lists lag behind. That a policy is gone says nothing of the role.
fn unless_gone<T>(done: std::result::Result<T, impl Into<Error>>) -> Result<()> {
    match done.map_err(Into::into) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

async fn put_policy(cx: &Context, spec: &RoleSpec) -> Result<()> {
    let call = cx.iam.put_role_policy().role_name(&spec.name).policy_name(POLICY);
    call.policy_document(spec.policy.to_string()).send().await?;
    Ok(())
}

/// The roles that are in use: an instance profile is listed with its role, and a database instance names the role of its
/// monitoring. Neither is waited for longer than it takes to list them.
async fn used(scan: &Scan<'_>) -> Result<Vec<Found<RoleSpec>>> {
    let (profiles, instances) = tokio::try_join!(scan.profiles(), scan.of::<DbInstance>())?;
    let held = profiles.iter().flat_map(InstanceProfile::roles).filter(|role| !iam::logical_id(scan, role.path()).is_empty());
    let ours = |arn: &String| arn.contains(&iam::prefix(scan)).then(|| arn.rsplit('/').next().unwrap_or_default().to_owned());
    let named = instances.iter().filter_map(|instance| ours(instance.spec.monitoring_role.as_ref()?));
    let named: BTreeSet<String> = named.collect();
    let held = try_join_all(held.map(|role| async {
        let policy = policy_of(scan, role.role_name()).await?;
        found(scan, role, policy)
    }));
    let named = try_join_all(named.iter().map(|name| async {
        let (role, policy) = tokio::try_join!(role_named(scan, name), policy_of(scan, name))?;
        role.map(|role| found(scan, &role, policy)).transpose()
    }));
    let (held, named) = tokio::try_join!(held, named)?;
    Ok(held.into_iter().chain(named.into_iter().flatten()).collect())
}

async fn role_named(cx: &Context, name: &str) -> Result<Option<Answer>> {
    match cx.iam.get_role().role_name(name).send().await.map_err(Error::from) {
        Ok(answer) => Ok(answer.role),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn policy_of(cx: &Context, role: &str) -> Result<Value> {
    match cx.iam.get_role_policy().role_name(role).policy_name(POLICY).send().await.map_err(Error::from) {
        Ok(answer) => iam::document("GetRolePolicy", answer.policy_document()),
        // A run that died between the two calls, or somebody took it away.
        Err(error) if error.is_not_found() => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

fn found(cx: &Context, role: &Answer, policy: Value) -> Result<Found<RoleSpec>> {
    let trust = role.assume_role_policy_document().unwrap_or_default();
    Ok(Found {
        logical_id: iam::logical_id(cx, role.path()),
        id: role.role_name().to_owned(),
        spec: RoleSpec {
            name: role.role_name().to_owned(),
            trust: iam::document("ListRoles", trust)?,
            policy,
        },
        outputs: Outputs::from([("arn".to_owned(), role.arn().to_owned())]),
        tags: None,
        status: Status::Ready,
    })
}
