//! Asks AWS for what a blueprint needs.

use aws_sdk_ec2::types::{ArchitectureValues, Filter, Image};
use std::collections::{BTreeMap, BTreeSet};

use super::{Artifact, Facts};
use crate::{
    aws::{Context, Error, Result, partition, tags},
    resource::{Found, LaunchTemplate, Scan, Subnet, launch_template::LaunchTemplateSpec},
    rollout::Artifacts,
    stack::{Stack, facts::instances::architecture},
};

/// Where AWS says which image of Amazon Linux 2023 is the newest; the architecture follows.
/// Source: <https://docs.aws.amazon.com/linux/al2023/ug/ec2.html>
const NEWEST_IMAGE: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-";

/// The SSM parameter that names the newest image for an architecture.
pub fn newest_image_parameter(architecture: &str) -> String {
    format!("{NEWEST_IMAGE}{architecture}")
}

/// Which machine image the services get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// The one that they have: only a new release changes it.
    #[default]
    Kept,
    Newest,
}

/// The facts for compiling `stack` with these programs. What `scan` lists here needs not be listed again.
///
/// # Errors
/// Calls that failed, and architectures that have no image.
pub async fn facts(scan: &Scan<'_>, stack: &Stack, programs: &Artifacts, which: Images) -> Result<Facts> {
    let place = async {
        let (place, subnets) = tokio::try_join!(facts_of_place(scan), subnets(scan))?;
        Result::Ok(Facts { subnets, ..place })
    };
    if stack.services.is_empty() {
        return place.await;
    }
    let (place, mut templates) = tokio::try_join!(place, scan.of::<LaunchTemplate>())?;
    templates.sort_by(|a, b| a.logical_id.cmp(&b.logical_id));
    let artifacts = artifacts(stack, &place, programs, &templates);
    let images = match which {
        Images::Kept => images(scan, stack, &templates).await?,
        Images::Newest => images(scan, stack, &[]).await?,
    };
    Ok(Facts { images, artifacts, ..place })
}

/// What each service runs: what is built here, or else what its instances have already.
fn artifacts(
    stack: &Stack,
    place: &Facts,
    programs: &Artifacts,
    templates: &[Found<LaunchTemplateSpec>],
) -> BTreeMap<String, Artifact> {
    let running = |service: &str| {
        let id = LaunchTemplate::id_of(service);
        let template = templates.iter().find(|template| template.logical_id == id)?;
        template.spec.instance_tags.get(tags::PROGRAM).cloned()
    };
    let named = stack.services.iter().filter(|(_, service)| service.artifact.is_some());
    named
        .filter_map(|(name, _)| {
            let built = programs.ready.get(name).map(|program| program.sha256.clone());
            let sha256 = built.or_else(|| running(name))?;
            Some((name.clone(), Artifact::new(place, &stack.name(), sha256)))
        })
        .collect()
}

/// The facts without images and subnets: enough to know which resources there are and who uses whom.
///
/// # Errors
/// Calls that failed.
pub async fn facts_of_place(scan: &Scan<'_>) -> Result<Facts> {
    Ok(Facts {
        account: scan.account().await?.to_owned(),
        partition: partition(&scan.region).into(),
        region: scan.region.clone(),
        images: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        subnets: BTreeMap::new(),
    })
}

/// The networks of the stack's subnets: a zone keeps those that it has.
async fn subnets(scan: &Scan<'_>) -> Result<BTreeMap<String, String>> {
    let subnets = scan.of::<Subnet>().await?;
    Ok(subnets.into_iter().map(|subnet| (subnet.logical_id, subnet.spec.cidr)).collect())
}

/// An image for every architecture that the services need: the one that the stack's launch templates have, since only a
/// new release changes it, and the newest for an architecture that none has yet.
async fn images(
    cx: &Context,
    stack: &Stack,
    templates: &[Found<LaunchTemplateSpec>],
) -> Result<BTreeMap<String, String>> {
    let mut needed: BTreeSet<&str> =
        stack.services.values().map(|service| architecture(&service.instances.instance_type)).collect();
    let mut images = BTreeMap::new();
    for template in templates {
        let architecture = architecture(&template.spec.instance_type);
        if needed.remove(architecture) {
            images.insert(architecture.to_owned(), template.spec.image.clone());
        }
    }
    images.extend(newest_images(cx, &needed).await?);
    Ok(images)
}

/// The newest image of Amazon Linux 2023 for each of these architectures.
///
/// # Errors
/// Calls that failed, and architectures that have no image.
pub async fn newest_images(cx: &Context, architectures: &BTreeSet<&str>) -> Result<BTreeMap<String, String>> {
    if architectures.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names = architectures.iter().map(|architecture| newest_image_parameter(architecture)).collect();
    let answer = cx.ssm.get_parameters().set_names(Some(names)).send().await?;
    let mut images: BTreeMap<String, String> = answer
        .parameters()
        .iter()
        .filter_map(|parameter| {
            let architecture = parameter.name()?.strip_prefix(NEWEST_IMAGE)?;
            Some((architecture.to_owned(), parameter.value()?.to_owned()))
        })
        .collect();
    for architecture in architectures {
        if images.contains_key(*architecture) {
            continue;
        }
        let missing = || {
            let message = format!("there is no {NEWEST_IMAGE}{architecture}: the region has no Amazon Linux 2023");
            Error::unexpected("ssm", "GetParameters", message)
        };
        // AWS has the parameter in every region. Emulators may lack it, but have some images.
        let image = match cx.endpoint_url {
            Some(_) => some_image(cx, architecture).await?,
            None => None,
        };
        images.insert((*architecture).to_owned(), image.ok_or_else(missing)?);
    }
    Ok(images)
}

/// An image of an emulator: Amazon Linux if it has it, the newest of its name, otherwise any that fits.
async fn some_image(cx: &Context, architecture: &str) -> Result<Option<String>> {
    tracing::warn!("the endpoint doesn't know the newest Amazon Linux 2023 for {architecture}; taking what it has");
    let filter = Filter::builder().name("architecture").values(ArchitectureValues::from(architecture).as_str()).build();
    let answer = cx.ec2.describe_images().owners("amazon").filters(filter).send().await?;
    let rank = |image: &&Image| {
        let name = image.name().unwrap_or_default();
        let generation =
            if name.starts_with("al2023-ami-2023") { 2 } else { i32::from(name.starts_with("al2023-ami")) };
        (generation, name.to_owned())
    };
    let images = answer.images().iter().filter(|image| image.platform().is_none());
    Ok(images.max_by_key(rank).and_then(Image::image_id).map(str::to_owned))
}
