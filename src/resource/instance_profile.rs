//! What puts a role on instances.

use aws_sdk_iam::types::InstanceProfile as Answer;
use serde::{Deserialize, Serialize};

use super::{Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Ref, Role, Scan, Select, Status, Traits, iam};
use crate::aws::{Context, Error, Result, Tags};

pub struct InstanceProfile;

#[derive(Debug, Serialize, Deserialize)]
pub struct InstanceProfileSpec {
    /// Unique in the account, all regions together; up to 128 characters.
    pub name: String,
    pub role: Ref<Role>,
}

impl Handle<InstanceProfile> {
    pub fn arn(&self) -> String {
        self.created_output("arn")
    }
}

impl Kind for InstanceProfile {
    const NAME: &'static str = "instance_profile";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = InstanceProfileSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<InstanceProfileSpec>>> {
        let profiles = match select {
            Select::Stack => scan.profiles().await?.to_vec(),
            Select::One(name) => profile_named(scan, name).await?.into_iter().collect(),
        };
        Ok(profiles.iter().map(|profile| found(scan, profile)).collect())
    }

    async fn tags(cx: &Context, name: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        Ok(profile_named(cx, name).await?.map(|profile| iam::tags(profile.tags())))
    }

    async fn create(cx: &Context, desired: &Desired<InstanceProfileSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let answer = cx
            .iam
            .create_instance_profile()
            .instance_profile_name(&spec.name)
            .path(iam::path(cx, &desired.logical_id))
            .set_tags(iam::tag_list(desired))
            .send()
            .await?;
        let profile = answer
            .instance_profile()
            .ok_or_else(|| Error::unexpected("iam", "CreateInstanceProfile", "no instance profile"))?;
        add_role(cx, &spec.name, &spec.role).await?;
        Ok(Created::new(&spec.name).with("arn", profile.arn()))
    }

    async fn update(cx: &Context, change: &Change<InstanceProfileSpec>) -> Result<()> {
        if change.touches(&["role"]) {
            // A profile holds one role at most.
            remove_role(cx, &change.found).await?;
            add_role(cx, &change.found.id, &change.desired.spec.role).await?;
        }
        if change.tags().is_some() {
            let call = cx.iam.tag_instance_profile().instance_profile_name(&change.found.id);
            call.set_tags(iam::tag_list(&change.desired)).send().await?;
        }
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<InstanceProfileSpec>) -> Result<()> {
        remove_role(cx, found).await?;
        cx.iam.delete_instance_profile().instance_profile_name(&found.id).send().await?;
        Ok(())
    }
}

async fn profile_named(cx: &Context, name: &str) -> Result<Option<Answer>> {
    match cx.iam.get_instance_profile().instance_profile_name(name).send().await.map_err(Error::from) {
        Ok(answer) => Ok(answer.instance_profile),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn add_role(cx: &Context, profile: &str, role: &str) -> Result<()> {
    cx.iam.add_role_to_instance_profile().instance_profile_name(profile).role_name(role).send().await?;
    Ok(())
}

async fn remove_role(cx: &Context, found: &Found<InstanceProfileSpec>) -> Result<()> {
    if found.spec.role.is_empty() {
        return Ok(());
    }
    let call = cx.iam.remove_role_from_instance_profile().instance_profile_name(&found.id);
    match call.role_name(&*found.spec.role).send().await.map_err(Error::from) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn found(cx: &Context, profile: &Answer) -> Found<InstanceProfileSpec> {
    Found {
        logical_id: iam::logical_id(cx, profile.path()),
        id: profile.instance_profile_name().to_owned(),
        spec: InstanceProfileSpec {
            name: profile.instance_profile_name().to_owned(),
            role: Ref::known(profile.roles().first().map(|role| role.role_name()).unwrap_or_default()),
        },
        outputs: Outputs::from([("arn".to_owned(), profile.arn().to_owned())]),
        tags: None,
        status: Status::Ready,
    }
}
