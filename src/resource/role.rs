//! An IAM role: who may take it, and the one inline policy that says what it may do.

use aws_sdk_iam::types::Role as Answer;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Scan, Select, Status, Traits, iam};
use crate::aws::{Context, Error, Result};

pub struct Role;

/// The name of a role's inline policy.
const POLICY: &str = "ticketctl";

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
            Select::Stack => {
                let pages = scan.iam.list_roles().path_prefix(iam::prefix(scan)).into_paginator();
                pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?
            }
            Select::One(name) => match scan.iam.get_role().role_name(*name).send().await.map_err(Error::from) {
                Ok(answer) => answer.role.into_iter().collect(),
                Err(error) if error.is_not_found() => Vec::new(),
                Err(error) => return Err(error),
            },
        };
        try_join_all(roles.iter().map(|role| found(scan, role))).await
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
        Ok(())
    }

    /// A role goes only when nothing hangs on it: not our policy, nor what others have put there.
    async fn delete(cx: &Context, found: &Found<RoleSpec>) -> Result<()> {
        let name = &found.id;
        let inline = cx.iam.list_role_policies().role_name(name).into_paginator().items().send();
        for policy in inline.collect::<std::result::Result<Vec<_>, _>>().await? {
            cx.iam.delete_role_policy().role_name(name).policy_name(policy).send().await?;
        }
        let attached = cx.iam.list_attached_role_policies().role_name(name).into_paginator().items().send();
        for policy in attached.collect::<std::result::Result<Vec<_>, _>>().await? {
            cx.iam.detach_role_policy().role_name(name).set_policy_arn(policy.policy_arn).send().await?;
        }
        cx.iam.delete_role().role_name(name).send().await?;
        Ok(())
    }
}

async fn put_policy(cx: &Context, spec: &RoleSpec) -> Result<()> {
    let call = cx.iam.put_role_policy().role_name(&spec.name).policy_name(POLICY);
    call.policy_document(spec.policy.to_string()).send().await?;
    Ok(())
}

async fn found(cx: &Context, role: &Answer) -> Result<Found<RoleSpec>> {
    let answer = cx.iam.get_role_policy().role_name(role.role_name()).policy_name(POLICY).send().await.map_err(Error::from);
    let policy = match answer {
        Ok(answer) => iam::document("GetRolePolicy", answer.policy_document())?,
        // A run that died between the two calls, or somebody took it away.
        Err(error) if error.is_not_found() => Value::Null,
        Err(error) => return Err(error),
    };
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
