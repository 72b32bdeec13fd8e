//! What most tests need: a network, a launch template, and the code of a refusal.

use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use aws_sdk_ec2::types::{
    LaunchTemplateHttpTokensState, LaunchTemplateInstanceMetadataOptionsRequest, RequestLaunchTemplateData,
    ResourceType, Tag, TagSpecification,
};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ticketctl::aws::Context;

/// The code with which a call was refused, or that it wasn't.
pub fn code<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> String {
    match result {
        Ok(_) => "was let pass".to_owned(),
        Err(error) => error.code().unwrap_or("no answer").to_owned(),
    }
}

/// A VPC with a subnet in each of two zones.
pub struct Network {
    pub vpc: String,
    pub subnets: [String; 2],
}

pub async fn network(cx: &Context) -> Network {
    let vpc = cx.ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.expect("a VPC");
    let vpc = vpc.vpc().and_then(|vpc| vpc.vpc_id()).expect("its id").to_owned();
    let one = subnet(cx, &vpc, "10.0.1.0/24", "a").await;
    let two = subnet(cx, &vpc, "10.0.2.0/24", "c").await;
    Network { vpc, subnets: [one, two] }
}

async fn subnet(cx: &Context, vpc: &str, cidr: &str, zone: &str) -> String {
    let zone = format!("{}{zone}", crate::support::REGION);
    let created = cx.ec2.create_subnet().vpc_id(vpc).cidr_block(cidr).availability_zone(zone).send().await;
    created.expect("a subnet").subnet().and_then(|subnet| subnet.subnet_id()).expect("its id").to_owned()
}

pub async fn security_group(cx: &Context, vpc: &str, name: &str) -> String {
    let created = cx.ec2.create_security_group().vpc_id(vpc).group_name(name).description(name).send().await;
    created.expect("a security group").group_id().expect("its id").to_owned()
}

pub async fn image(cx: &Context) -> String {
    let images = cx.ec2.describe_images().owners("amazon").send().await.expect("images");
    images.images().first().and_then(|image| image.image_id()).expect("an image").to_owned()
}

pub async fn launch_template(cx: &Context, name: &str) -> String {
    let imds = LaunchTemplateInstanceMetadataOptionsRequest::builder();
    let data = RequestLaunchTemplateData::builder()
        .image_id(image(cx).await)
        .instance_type(aws_sdk_ec2::types::InstanceType::T3Medium)
        .user_data("Zmlyc3Q=")
        .metadata_options(imds.http_tokens(LaunchTemplateHttpTokensState::Required).build())
        .build();
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::LaunchTemplate)
        .tags(Tag::builder().key("Name").value(name).build())
        .build();
    let created = cx.ec2.create_launch_template().launch_template_name(name).launch_template_data(data);
    let created = created.tag_specifications(tags).send().await.expect("a launch template");
    let template = created.launch_template().and_then(|template| template.launch_template_id());
    template.expect("its id").to_owned()
}

pub fn version(template: &str, version: &str) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder().launch_template_id(template).version(version).build()
}

/// A second version that changes the user data and nothing else.
pub async fn second_version(cx: &Context, template: &str) {
    let data = RequestLaunchTemplateData::builder().user_data("c2Vjb25k").build();
    let create = cx.ec2.create_launch_template_version().launch_template_id(template).source_version("1");
    create.launch_template_data(data).send().await.expect("a second version");
}

/// An Auto Scaling group of two to four instances over both subnets.
pub async fn group(cx: &Context, name: &str, template: &str, network: &Network, desired: i32) {
    let create = cx.autoscaling.create_auto_scaling_group().auto_scaling_group_name(name).min_size(1).max_size(4);
    let create = create.desired_capacity(desired).launch_template(version(template, "1"));
    create.vpc_zone_identifier(network.subnets.join(",")).send().await.expect("an Auto Scaling group");
}

/// The group's instances as (id, zone, launch template version).
pub async fn instances(cx: &Context, name: &str) -> Vec<(String, String, String)> {
    let groups = cx.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(name).send().await;
    let groups = groups.expect("the group");
    let instances = groups.auto_scaling_groups().first().map(|group| group.instances()).unwrap_or_default();
    let one = |instance: &aws_sdk_autoscaling::types::Instance| {
        let version = instance.launch_template().and_then(|template| template.version()).unwrap_or_default();
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        (text(instance.instance_id()), text(instance.availability_zone()), version.to_owned())
    };
    instances.iter().map(one).collect()
}
