//! The blueprint as a CloudFormation template.
//!
//! Each node becomes one resource of the type that its kind names (see [`resource::CloudFormation`]), and beside it what
//! CloudFormation has as resources of their own and ticketctl as attributes: routes, bucket policies, …. `Metadata` says
//! which node a resource stands for. The template belongs to no account: its number is a pseudo parameter, the machine
//! image and the artifacts are parameters.

mod compute;
mod data;
mod edge;
mod identity;
mod intrinsic;
mod messaging;
mod monitoring;
mod names;
mod network;
mod resource;
mod storage;
#[cfg(test)]
mod tests;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    aws::{Tags, partition, tags},
    blueprint::{Artifact, Blueprint, Facts, Node, artifact_prefix},
    resource::{Bucket, targets},
    stack::{Stack, facts::instances::architecture},
};
use intrinsic::Intrinsics;
use names::Names;
use resource::{Part, Resource};

pub use resource::exporter;

/// Stands for the account's twelve digits while the blueprint is compiled: names are shortened by their length, so that a
/// reference can't stand there.
const ACCOUNT: &str = "730418529613";

/// The facts for a template that fits any account: what only AWS knows is left to the template's parameters.
pub fn facts(stack: &Stack) -> Facts {
    let ids = parameter_ids(stack);
    let names = Names::new(ids.iter().map(String::as_str));
    let architectures = stack.services.values().map(|service| architecture(&service.instances.instance_type));
    let image = |architecture: &str| reference(names.of(&image_parameter(architecture)));
    let images = architectures.map(|architecture| (architecture.to_owned(), image(architecture)));
    let place = Facts {
        account: ACCOUNT.into(),
        partition: partition(&stack.region).into(),
        region: stack.region.clone(),
        images: images.collect(),
        artifacts: BTreeMap::new(),
        subnets: BTreeMap::new(),
    };
    let artifacts = stack.services.iter().filter(|(_, service)| service.artifact.is_some());
    let artifact = |name: &str| Artifact::new(&place, &stack.name(), reference(names.of(&artifact_parameter(name))));
    let artifacts = artifacts.map(|(name, _)| (name.clone(), artifact(name))).collect();
    Facts { artifacts, ..place }
}

fn reference(name: &str) -> String {
    format!("{}{name}{}", crate::resource::OPEN, crate::resource::CLOSE)
}

/// The ids of all parameters, among which names are given as among the nodes.
fn parameter_ids(stack: &Stack) -> BTreeSet<String> {
    let images =
        stack.services.values().map(|service| architecture(&service.instances.instance_type)).map(image_parameter);
    let artifacts = stack.services.iter().filter(|(_, service)| service.artifact.is_some());
    images.chain(artifacts.map(|(name, _)| artifact_parameter(name))).collect()
}

fn image_parameter(architecture: &str) -> String {
    format!("image-{architecture}")
}

fn artifact_parameter(service: &str) -> String {
    format!("artifact-{service}")
}

/// The template of a blueprint that was compiled with [`facts`].
///
/// # Panics
/// If the blueprint refers to something that it doesn't have, or asks a kind for an output that no blueprint asks for.
pub fn template(stack: &Stack, blueprint: &Blueprint) -> Value {
    let blueprint = &of_any_account(blueprint);
    let ids = parameter_ids(stack);
    // The parameters first, so that they are called as `facts` says.
    let names = Names::new(ids.iter().chain(blueprint.nodes.keys()).map(String::as_str));
    let parameters = parameters(stack, &names);
    let intrinsics = Intrinsics { blueprint, names: &names, parameters: &parameters };
    let written: IndexMap<&str, Resource> =
        blueprint.nodes.iter().map(|(id, node)| (id.as_str(), write(blueprint, id, node))).collect();
    let mut resources = Map::new();
    for (id, resource) in &written {
        let node = &blueprint.nodes[*id];
        let (name, needs) = (names.of(id), depends_on(&names, &written, id, node));
        resources.insert(name.to_owned(), main(&intrinsics, id, node, resource, needs));
        for companion in &resource.companions {
            let mut text = json!({
                "Type": companion.kind,
                "Metadata": {"ticketctl": {"part_of": id}},
                "Properties": intrinsics.resolve(&companion.properties),
            });
            let needs = companion_needs(&names, &written, companion);
            if !needs.is_empty() {
                text["DependsOn"] = json!(needs);
            }
            resources.insert(format!("{name}{}", companion.suffix), text);
        }
    }
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!(
            "Stack {} in {}, as ticketctl {} understands it. It makes named IAM roles: deploy with CAPABILITY_NAMED_IAM.",
            blueprint.stack, stack.region, env!("CARGO_PKG_VERSION"),
        ),
        "Parameters": parameters,
        "Resources": resources,
        "Outputs": outputs(&intrinsics, blueprint),
    })
}

/// The blueprint without a name that only the stand-in for the account has. A bucket's name that is shortened hides the
/// account in its hash: whatever says it refers to the bucket instead, and CloudFormation chooses the name.
fn of_any_account(blueprint: &Blueprint) -> Blueprint {
    let mut blueprint = blueprint.clone();
    let name = blueprint.nodes.get(Bucket::ID).and_then(|bucket| bucket.spec["name"].as_str()).map(str::to_owned);
    let Some(name) = name.filter(|name| !name.contains(ACCOUNT)) else { return blueprint };
    for (id, node) in &mut blueprint.nodes {
        if id == Bucket::ID {
            node.tags.remove("Name");
            replace(&mut node.spec["policy"], &name, &reference(Bucket::ID));
        } else {
            replace(&mut node.spec, &name, &reference(Bucket::ID));
        }
    }
    blueprint
}

/// Puts another text in the place of one, wherever it stands.
fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) => *text = text.replace(from, to),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn write(blueprint: &Blueprint, id: &str, node: &Node) -> Resource {
    let exporter = exporter(&node.kind).unwrap_or_else(|| panic!("the blueprint holds an unknown kind, {}", node.kind));
    let tags = exported_tags(&node.tags);
    (exporter.write)(&Part { id, stack: &blueprint.stack, tags: &tags }, &node.spec)
}

/// The tags without those by which ticketctl knows its own: what CloudFormation has made belongs to CloudFormation.
fn exported_tags(all: &Tags) -> Tags {
    let others = all.iter().filter(|(key, _)| !key.starts_with(tags::PREFIX));
    let mut tags: Tags = others.map(|(key, value)| (key.clone(), value.clone())).collect();
    if let Some(manager) = tags.get_mut("ManagedBy") {
        "CloudFormation".clone_into(manager);
    }
    tags
}

fn main(intrinsics: &Intrinsics<'_>, id: &str, node: &Node, resource: &Resource, needs: BTreeSet<String>) -> Value {
    let mut text = json!({"Type": resource.kind, "Metadata": {"ticketctl": {"id": id, "kind": node.kind}}});
    if !needs.is_empty() {
        text["DependsOn"] = json!(needs);
    }
    if let Some(policy) = resource.deletion {
        text["DeletionPolicy"] = json!(policy);
        text["UpdateReplacePolicy"] = json!(policy);
    }
    if let Some(policy) = &resource.update_policy {
        text["UpdatePolicy"] = policy.clone();
    }
    text["Properties"] = intrinsics.resolve(&resource.properties);
    text
}

/// What must be there first although no property refers to it: the blueprint's own `after`, and the companions of
/// everything that the node needs, such as the attachment of the internet gateway.
fn depends_on(names: &Names, written: &IndexMap<&str, Resource>, id: &str, node: &Node) -> BTreeSet<String> {
    let mut needs: BTreeSet<String> = node.after.iter().map(|(other, _)| names.of(other).to_owned()).collect();
    // A companion's property may refer to the resource that it belongs to.
    let others: Vec<String> = node.dependencies().into_keys().filter(|other| other != id).collect();
    for other in &others {
        needs.extend(companions(names, written, other));
    }
    // What a property that CloudFormation doesn't have refers to.
    let spoken: BTreeSet<String> = targets(&written[id].properties).into_iter().map(|target| target.id).collect();
    let silent = others.into_iter().filter(|other| !spoken.contains(other));
    needs.extend(silent.map(|other| names.of(&other).to_owned()));
    needs
}

fn companion_needs(
    names: &Names,
    written: &IndexMap<&str, Resource>,
    companion: &resource::Companion,
) -> BTreeSet<String> {
    let referred = targets(&companion.properties).into_iter().map(|target| target.id);
    referred.filter(|other| companion.of != *other).flat_map(|other| companions(names, written, &other)).collect()
}

fn companions(names: &Names, written: &IndexMap<&str, Resource>, id: &str) -> Vec<String> {
    let resource = written.get(id).into_iter();
    let name = |companion: &resource::Companion| format!("{}{}", names.of(id), companion.suffix);
    resource.flat_map(|resource| resource.companions.iter().map(name)).collect()
}

/// What whoever deploys the template chooses.
fn parameters(stack: &Stack, names: &Names) -> BTreeMap<String, Value> {
    let mut parameters = BTreeMap::new();
    for (name, service) in &stack.services {
        let architecture = architecture(&service.instances.instance_type);
        let newest = crate::blueprint::newest_image_parameter(architecture);
        parameters.insert(
            names.of(&image_parameter(architecture)).to_owned(),
            json!({
                "Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
                "Description": format!("Machine image of the {architecture} instances, by the name of its SSM parameter"),
                "Default": newest,
            }),
        );
        if service.artifact.is_some() {
            parameters.insert(
                names.of(&artifact_parameter(name)).to_owned(),
                json!({
                    "Type": "String",
                    "Description": format!(
                        "SHA-256 of the program of {name}, which lies under {}<SHA-256> in the bucket \
                         ticketctl-<account>-{}",
                        artifact_prefix(&stack.name()), stack.region,
                    ),
                    "AllowedPattern": "[0-9a-f]{64}",
                }),
            );
        }
    }
    parameters
}

fn outputs(intrinsics: &Intrinsics<'_>, blueprint: &Blueprint) -> Map<String, Value> {
    let output = |(name, value): (&String, &Value)| {
        let value = match intrinsics.resolve(value) {
            Value::Array(items) => json!({"Fn::Join": [",", items]}),
            value => value,
        };
        (names::pascal(name), json!({"Value": value}))
    };
    blueprint.outputs.iter().map(output).collect()
}
