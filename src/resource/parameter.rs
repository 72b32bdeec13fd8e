//! A text in SSM's parameter store that tells instances where something is.

use aws_sdk_ssm::types::{Parameter as Listed, ParameterType, ResourceTypeForTagging, Tag};
use serde::{Deserialize, Serialize};

use super::{Change, Created, Desired, Effect, Found, Kind, Outputs, Scan, Select, Status, Traits};
use crate::aws::{Class, Context, Error, Result, Tags, tags};

pub struct Parameter;

/// Not for secrets: they stay in Secrets Manager, and a parameter says only which one it is.
#[derive(Serialize, Deserialize)]
pub struct ParameterSpec {
    /// What follows `/ticketctl/<stack>/` in the name, such as `app/queue/url`.
    pub path: String,
    /// Up to 4096 characters.
    pub value: String,
}

/// The name of one of a stack's parameters.
pub fn name(stack: &str, path: &str) -> String {
    format!("/ticketctl/{stack}/{path}")
}

/// The logical id of the parameter at `path`.
pub fn logical_id(path: &str) -> String {
    format!("parameter-{}", path.replace('/', "-"))
}

impl Kind for Parameter {
    const NAME: &'static str = "parameter";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = ParameterSpec;

    fn effect(path: &str) -> Effect {
        if path == "path" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<ParameterSpec>>> {
        let root = name(&scan.stack, "");
        // Ten is the most that a page can have.
        let request = scan.ssm.get_parameters_by_path().path(&root).recursive(true).max_results(10);
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.try_next().await? {
            found.extend(page.parameters().iter().filter_map(|parameter| describe(parameter, &root)));
        }
        if let Select::One(name) = select {
            found.retain(|parameter| parameter.id == *name);
        }
        Ok(found)
    }

    async fn tags(cx: &Context, name: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        let call = cx.ssm.list_tags_for_resource().resource_type(ResourceTypeForTagging::Parameter);
        let answer = call.resource_id(name).send().await?;
        Ok(Some(tags::collect(answer.tag_list(), |tag| (Some(tag.key()), Some(tag.value())))))
    }

    async fn create(cx: &Context, desired: &Desired<ParameterSpec>) -> Result<Created> {
        let name = name(&cx.stack, &desired.spec.path);
        let call = cx.ssm.put_parameter().name(&name).value(&desired.spec.value).r#type(ParameterType::String);
        match call.set_tags(Some(list(&desired.tags))).send().await.map_err(Error::from) {
            // The name is the stack's own: an earlier call made it. SSM takes no tags together with an overwrite.
            Err(error) if error.class() == Class::Exists => overwrite(cx, &name, &desired.spec.value).await?,
            answer => {
                answer?;
            }
        }
        Ok(Created::new(name))
    }

    async fn update(cx: &Context, change: &Change<ParameterSpec>) -> Result<()> {
        if change.touches(&["value"]) {
            overwrite(cx, &change.found.id, &change.desired.spec.value).await?;
        }
        if let Some(tags) = change.tags() {
            let call = cx.ssm.add_tags_to_resource().resource_type(ResourceTypeForTagging::Parameter);
            call.resource_id(&change.found.id).set_tags(Some(list(tags))).send().await?;
        }
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<ParameterSpec>) -> Result<()> {
        cx.ssm.delete_parameter().name(&found.id).send().await?;
        Ok(())
    }
}

fn describe(parameter: &Listed, root: &str) -> Option<Found<ParameterSpec>> {
    let name = parameter.name()?;
    let path = name.strip_prefix(root)?;
    Some(Found {
        logical_id: logical_id(path),
        id: name.to_owned(),
        spec: ParameterSpec { path: path.to_owned(), value: parameter.value().unwrap_or_default().to_owned() },
        outputs: Outputs::new(),
        tags: None,
        status: Status::Ready,
    })
}

fn list(tags: &Tags) -> Vec<Tag> {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    tags.collect::<std::result::Result<_, _>>().expect("both parts of the tag are set")
}

async fn overwrite(cx: &Context, name: &str, value: &str) -> Result<()> {
    cx.ssm.put_parameter().name(name).value(value).overwrite(true).send().await?;
    Ok(())
}
