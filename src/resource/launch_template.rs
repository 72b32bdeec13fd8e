//! How a service's instances are made: machine image, volume, role, and the script that they run at first boot. Every
//! change is a new, numbered version: a release. The default version is the current one, and what is compared with the wish;
//! later ones were given up.

use aws_sdk_ec2::types::{
    LaunchTemplate as Answer, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateTagSpecificationRequest, LaunchTemplateVersion, LaunchTemplatesMonitoringRequest, RequestLaunchTemplateData, ResourceType,
    ResponseLaunchTemplateData, Tag,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{
    AutoScalingGroup, Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Ref, Scan, SecurityGroup, Select, Status, Traits, ec2,
};
use crate::aws::{Context, Error, Result, Tags, tags};

mod rolled_back;

pub use rolled_back::{RolledBack, content, give_up, redeem, rolled_back};

pub struct LaunchTemplate;

/// What AWS calls the version that we call the current release.
pub const CURRENT: &str = "$Default";

/// Begins a version's description; the number of the release before it follows.
const AFTER: &str = "after release ";

/// The release before, out of a version's description.
pub fn previous(description: &str) -> Option<u64> {
    description.strip_prefix(AFTER)?.parse().ok()
}

#[derive(Debug, Serialize, Deserialize)]
pub struct LaunchTemplateSpec {
    /// Unique in the region; 3 to 128 characters.
    pub name: String,
    pub image: String,
    pub instance_type: String,
    /// ARN.
    pub instance_profile: String,
    pub security_groups: BTreeSet<Ref<SecurityGroup>>,
    pub volume: Volume,
    pub metadata: Metadata,
    /// CloudWatch metrics every minute instead of every five.
    pub detailed_monitoring: bool,
    /// The script of the first boot, as text. AWS takes up to 16 KiB.
    pub user_data: String,
    /// What instances and their volumes are tagged with.
    pub instance_tags: Tags,
    /// What was rolled back since the current release, by [`content`]: it isn't made again unasked.
    pub rolled_back: Option<Vec<String>>,
}

/// The root volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// The image's name for it; `/dev/xvda` on Amazon Linux.
    pub device: String,
    /// In GiB.
    pub size: i32,
    pub kind: String,
    pub encrypted: bool,
    pub delete_on_termination: bool,
}

/// The instance metadata service, from which programs get the role's credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// `required`: version 2 alone, whose answers need a token, so that no forged request gets credentials.
    pub tokens: String,
    /// How many hops an answer may travel: 1 stays on the instance, 2 reaches its containers.
    pub hop_limit: i32,
}

impl LaunchTemplate {
    /// The logical id of a service's launch template.
    pub fn id_of(service: &str) -> String {
        format!("launch-template-{service}")
    }
}

impl Handle<LaunchTemplate> {
    /// The number of the current release.
    pub fn version(&self) -> String {
        self.ready_output("version")
    }
}

impl Kind for LaunchTemplate {
    const NAME: &'static str = "launch_template";
    // Nothing to wait for, but a look afterwards tells the new version's number.
    const TRAITS: Traits = Traits { waits: true, ..Traits::INSTANT };
    type Spec = LaunchTemplateSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    fn renews(output: &str) -> bool {
        output == "version"
    }

    /// What was rolled back stays so: the stack file may still name the build that didn't work.
    fn follow(wish: &mut LaunchTemplateSpec, found: &LaunchTemplateSpec) {
        if found.rolled_back.as_ref().is_some_and(|given_up| given_up.contains(&content(wish))) {
            wish.image.clone_from(&found.image);
            wish.instance_type.clone_from(&found.instance_type);
            wish.user_data.clone_from(&found.user_data);
            wish.volume.clone_from(&found.volume);
            wish.metadata.clone_from(&found.metadata);
            wish.detailed_monitoring = found.detailed_monitoring;
            wish.instance_tags.clone_from(&found.instance_tags);
        }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<LaunchTemplateSpec>>> {
        if let (true, Select::Stack) = (scan.is_sparing(), select) {
            return used(scan).await;
        }
        let request = scan.ec2.describe_launch_templates();
        let request = match select {
            Select::Stack => request.filters(ec2::filter(scan, select, "")),
            Select::One(id) => request.launch_template_ids(*id),
        };
        let templates: std::result::Result<Vec<_>, _> = request.into_paginator().items().send().collect().await;
        let templates = match templates.map_err(Error::from) {
            Err(error) if error.is_not_found() => Vec::new(),
            result => result?,
        };
        let ours = templates.iter().filter(|template| ec2::selected(scan, select, &ec2::tags(template.tags())));
        try_join_all(ours.map(|template| found(scan, template))).await
    }

    /// Without a client token: the name is unique, and a token would bring back the template of a stack that was
    /// destroyed and made again.
    async fn create(cx: &Context, desired: &Desired<LaunchTemplateSpec>) -> Result<Created> {
        let answer = cx
            .ec2
            .create_launch_template()
            .launch_template_name(&desired.spec.name)
            .launch_template_data(data(&desired.spec))
            .tag_specifications(ec2::tag_specification(ResourceType::LaunchTemplate, desired))
            .send()
            .await?;
        let template = answer.launch_template();
        let id = template
            .and_then(Answer::launch_template_id)
            .ok_or_else(|| Error::unexpected("ec2", "CreateLaunchTemplate", "no id"))?;
        let version = template.and_then(Answer::latest_version_number).unwrap_or(1);
        Ok(Created::new(id).with("version", version.to_string()))
    }

    async fn update(cx: &Context, change: &Change<LaunchTemplateSpec>) -> Result<()> {
        let id = &change.found.id;
        if change.paths.iter().any(|path| super::root(path) != "tags") {
            let version = new_version(cx, change).await?;
            cx.ec2.modify_launch_template().launch_template_id(id).default_version(version).send().await?;
        }
        ec2::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<LaunchTemplateSpec>) -> Result<()> {
        cx.ec2.delete_launch_template().launch_template_id(&found.id).send().await?;
        Ok(())
    }
}

/// The token has the version before in it, as the description has: the same change is made once, but a change back is a new one.
async fn new_version(cx: &Context, change: &Change<LaunchTemplateSpec>) -> Result<String> {
    let (found, desired) = (&change.found, &change.desired);
    let before = found.output("version");
    let call = cx.ec2.create_launch_template_version().launch_template_id(&found.id);
    let call = call.launch_template_data(data(&desired.spec)).client_token(format!("{}-{before}", desired.token));
    let answer = call.version_description(format!("{AFTER}{before}")).send().await?;
    let version = answer.launch_template_version().and_then(|version| version.version_number());
    let version = version.ok_or_else(|| Error::unexpected("ec2", "CreateLaunchTemplateVersion", "no number"))?;
    Ok(version.to_string())
}

fn data(spec: &LaunchTemplateSpec) -> RequestLaunchTemplateData {
    let volume = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_size(spec.volume.size)
        .volume_type(spec.volume.kind.as_str().into())
        .encrypted(spec.volume.encrypted)
        .delete_on_termination(spec.volume.delete_on_termination)
        .build();
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
        .http_tokens(LaunchTemplateHttpTokensState::from(spec.metadata.tokens.as_str()))
        .http_put_response_hop_limit(spec.metadata.hop_limit)
        .build();
    let tags: Vec<_> = spec.instance_tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    let tagged = |kind: ResourceType| {
        LaunchTemplateTagSpecificationRequest::builder().resource_type(kind).set_tags(Some(tags.clone())).build()
    };
    let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder().arn(&spec.instance_profile).build();
    RequestLaunchTemplateData::builder()
        .image_id(&spec.image)
        .instance_type(spec.instance_type.as_str().into())
        .iam_instance_profile(profile)
        .set_security_group_ids(Some(spec.security_groups.iter().map(ToString::to_string).collect()))
        .block_device_mappings(
            LaunchTemplateBlockDeviceMappingRequest::builder().device_name(&spec.volume.device).ebs(volume).build(),
        )
        .metadata_options(metadata)
        .monitoring(LaunchTemplatesMonitoringRequest::builder().enabled(spec.detailed_monitoring).build())
        .user_data(STANDARD.encode(&spec.user_data))
        .tag_specifications(tagged(ResourceType::Instance))
        .tag_specifications(tagged(ResourceType::Volume))
        .build()
}

/// A version by its number or as `$Default`; none if there is no such version or template.
///
/// # Errors
/// Calls that failed.
pub async fn version(cx: &Context, id: &str, number: &str) -> Result<Option<LaunchTemplateVersion>> {
    let request = cx.ec2.describe_launch_template_versions().launch_template_id(id).versions(number);
    match request.send().await.map_err(Error::from) {
        Ok(answer) => Ok(answer.launch_template_versions.unwrap_or_default().into_iter().next()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The templates of the stack's auto-scaling groups: their current versions tell all but the tags.
async fn used(scan: &Scan<'_>) -> Result<Vec<Found<LaunchTemplateSpec>>> {
    let groups = scan.of::<AutoScalingGroup>().await?;
    let templates = groups.iter().filter_map(|group| {
        let service = group.logical_id.strip_prefix("group-")?;
        Some(async move {
            let id = &*group.spec.launch_template;
            let current = version(scan, id, CURRENT).await?;
            Result::Ok(current.map(|current| {
                let name = current.launch_template_name().unwrap_or_default();
                Found {
                    logical_id: LaunchTemplate::id_of(service),
                    id: id.to_owned(),
                    spec: spec(name, current.launch_template_data(), &[]),
                    outputs: outputs(current.version_number()),
                    tags: None,
                    status: Status::Ready,
                }
            }))
        })
    });
    Ok(try_join_all(templates).await?.into_iter().flatten().collect())
}

fn outputs(number: Option<i64>) -> Outputs {
    Outputs::from([("version".to_owned(), number.unwrap_or_default().to_string())])
}

async fn found(cx: &Context, template: &Answer) -> Result<Found<LaunchTemplateSpec>> {
    let id = template.launch_template_id().unwrap_or_default();
    let current = version(cx, id, CURRENT).await?;
    let current = current.as_ref();
    let number = current.and_then(|version| version.version_number()).or(template.default_version_number());
    let tags = ec2::tags(template.tags());
    let given_up = tags.get(tags::ROLLED_BACK).map(|text| RolledBack::parse(text)).unwrap_or_default();
    Ok(Found {
        logical_id: ec2::logical_id(&tags),
        id: id.to_owned(),
        spec: spec(
            template.launch_template_name().unwrap_or_default(),
            current.and_then(|version| version.launch_template_data()),
            &given_up,
        ),
        outputs: outputs(number),
        tags: Some(tags),
        status: Status::Ready,
    })
}

fn spec(name: &str, data: Option<&ResponseLaunchTemplateData>, given_up: &[RolledBack]) -> LaunchTemplateSpec {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let device = data.and_then(|data| data.block_device_mappings().first());
    let volume = device.and_then(|device| device.ebs()).map(|ebs| Volume {
        device: text(device.and_then(|device| device.device_name())),
        size: ebs.volume_size().unwrap_or_default(),
        kind: text(ebs.volume_type().map(|kind| kind.as_str())),
        encrypted: ebs.encrypted().unwrap_or_default(),
        delete_on_termination: ebs.delete_on_termination().unwrap_or_default(),
    });
    let metadata = data.and_then(|data| data.metadata_options()).map(|options| Metadata {
        tokens: text(options.http_tokens().map(|tokens| tokens.as_str())),
        hop_limit: options.http_put_response_hop_limit().unwrap_or_default(),
    });
    // What isn't base64 or isn't text differs from every script of ours, and that is all that matters.
    let script = |encoded: &str| STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let user_data = data.and_then(|data| data.user_data()).map(|encoded| script(encoded).unwrap_or(encoded.to_owned()));
    let instance_tags = data.map(|data| data.tag_specifications()).unwrap_or_default();
    let instance_tags = instance_tags.iter().find(|tags| tags.resource_type() == Some(&ResourceType::Instance));
    LaunchTemplateSpec {
        name: name.to_owned(),
        image: text(data.and_then(|data| data.image_id())),
        instance_type: text(data.and_then(|data| data.instance_type()).map(|kind| kind.as_str())),
        instance_profile: text(data.and_then(|data| data.iam_instance_profile()).and_then(|profile| profile.arn())),
        security_groups: data
            .map(|data| data.security_group_ids())
            .unwrap_or_default()
            .iter()
            .map(Ref::known)
            .collect(),
        volume: volume.unwrap_or_default(),
        metadata: metadata.unwrap_or_default(),
        detailed_monitoring: data
            .and_then(|data| data.monitoring())
            .and_then(|monitoring| monitoring.enabled())
            .unwrap_or_default(),
        user_data: user_data.unwrap_or_default(),
        instance_tags: instance_tags.map(|tags| ec2::tags(tags.tags())).unwrap_or_default(),
        rolled_back: Some(given_up.iter().map(|one| one.content.clone()).collect()),
    }
}
