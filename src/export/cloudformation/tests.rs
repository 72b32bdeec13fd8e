//! The template says all that the plan says. That CloudFormation understands it is checked by cfn-lint (tests/it/checks).

use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};

use super::*;
use crate::{blueprint::compile, stack::load};

/// Attributes of the plan that a template can't say, and why.
const UNSAID: &[(&str, &str, &str)] = &[
    ("cache_parameter_group", "name", "CloudFormation chooses the name"),
    ("db_instance", "parameters_applied", "a state"),
    ("launch_template", "instance_tags", "ticketctl's own tags stay away; the others show"),
    ("load_balancer", "access_logs", "where none are kept, their place isn't said"),
    ("secret", "recovery_days", "CloudFormation has no such choice; a secret that can be restored is retained"),
    ("auto_scaling_group", "listeners", "ticketctl's own note; what it orders is a DependsOn"),
];

fn ready_stacks() -> Vec<(String, Stack)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks");
    let files = std::fs::read_dir(folder).expect("the ready stacks");
    let paths =
        files.map(|file| file.expect("a file").path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let loaded = |path: std::path::PathBuf| {
        let stack =
            load(&path, &[]).unwrap_or_else(|wrong| panic!("{}: {}", path.display(), wrong.render(false))).stack;
        (path.display().to_string(), stack)
    };
    paths.map(loaded).collect()
}

fn exported(stack: &Stack) -> (Blueprint, Value) {
    let blueprint = compile(stack, &facts(stack));
    let template = template(stack, &blueprint);
    (blueprint, template)
}

#[test]
fn each_node_is_one_resource_and_every_attribute_of_the_plan_shows() {
    let mut unsaid = BTreeSet::new();
    for (file, stack) in ready_stacks() {
        let (blueprint, template) = exported(&stack);
        let resources = template["Resources"].as_object().expect("resources");
        let of = |resource: &Value, key: &str| resource["Metadata"]["ticketctl"][key].as_str().map(str::to_owned);
        let stand_for: Vec<_> = resources.values().filter_map(|resource| of(resource, "id")).collect();
        assert_eq!(stand_for, blueprint.nodes.keys().cloned().collect::<Vec<_>>(), "{file}");
        let others = resources.values().filter(|resource| of(resource, "id").is_none());
        assert!(others.clone().all(|other| of(other, "part_of").is_some_and(|id| blueprint.nodes.contains_key(&id))));

        for (id, node) in &blueprint.nodes {
            let Value::Object(attributes) = &node.spec else { panic!("{id} has no attributes") };
            for (name, value) in attributes.iter().filter(|(_, value)| !value.is_null()) {
                match shows(&blueprint, id, name, value) {
                    true => {}
                    false => {
                        unsaid.insert((node.kind.clone(), name.clone()));
                    }
                }
            }
        }
    }
    let known: BTreeSet<_> = UNSAID.iter().map(|(kind, name, _)| ((*kind).to_owned(), (*name).to_owned())).collect();
    assert_eq!(unsaid, known);
}

/// Whether the node's part of the template becomes another one when any value within the attribute does.
fn shows(blueprint: &Blueprint, id: &str, name: &str, value: &Value) -> bool {
    let said = |node: &Node| {
        let Resource { kind: _, properties, deletion, update_policy, companions } = write(blueprint, id, node);
        let companions: Vec<_> = companions.iter().map(|companion| &companion.properties).collect();
        json!([properties, deletion, update_policy, companions])
    };
    let before = said(&blueprint.nodes[id]);
    variants(value).into_iter().all(|other| {
        let mut node = blueprint.nodes[id].clone();
        node.spec[name] = other;
        said(&node) != before
    })
}

/// The value with one of the values within it changed, for each of them.
fn variants(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(on) => vec![json!(!on)],
        Value::Number(number) if number.is_i64() => vec![json!(number.as_i64().expect("an integer") + 1)],
        Value::Number(number) => vec![json!(number.as_f64().expect("a number") + 0.5)],
        Value::String(text) => vec![json!(format!("x{text}"))],
        Value::Array(items) => {
            let changed = |(index, item)| variants(item).into_iter().map(move |other| (index, other));
            let with = |(index, other): (usize, Value)| {
                let mut items = items.clone();
                items[index] = other;
                Value::Array(items)
            };
            items.iter().enumerate().flat_map(changed).map(with).collect()
        }
        Value::Object(fields) => {
            let changed = |(key, field)| variants(field).into_iter().map(move |other: Value| (key, other));
            let with = |(key, other): (&String, Value)| {
                let mut fields = fields.clone();
                fields.insert(key.clone(), other);
                Value::Object(fields)
            };
            fields.iter().flat_map(changed).map(with).collect()
        }
        Value::Null => Vec::new(),
    }
}

/// The instances alone say whose they are: without that their role doesn't let them tell how their boot went.
#[test]
fn no_reference_account_or_own_tag_is_left() {
    let bracket = crate::resource::OPEN.to_string();
    let own = ["\"Key\":\"ticketctl:", "\"Key\":\"ManagedBy\",\"Value\":\"ticketctl\""];
    for (file, stack) in ready_stacks() {
        let owner = json!({"Key": tags::STACK, "Value": stack.name()});
        let mut template = exported(&stack).1;
        for resource in template["Resources"].as_object_mut().expect("resources").values_mut() {
            let Some(data) = resource["Properties"].get_mut("LaunchTemplateData") else { continue };
            let of_instances = data["TagSpecifications"][0]["Tags"].as_array_mut().expect("tags");
            let before = of_instances.len();
            of_instances.retain(|tag| *tag != owner);
            assert_eq!(of_instances.len() + 1, before, "{file}");
        }
        let text = template.to_string();
        for never in [bracket.as_str(), ACCOUNT, own[0], own[1]] {
            assert!(!text.contains(never), "{never} in {file}");
        }
    }
}

#[test]
fn scripts_keep_their_own_variables() {
    let (_, stack) = ready_stacks().into_iter().find(|(file, _)| file.ends_with("dev.yaml")).expect("dev");
    let template = exported(&stack).1;
    let data = &template["Resources"]["LaunchTemplateWeb"]["Properties"]["LaunchTemplateData"];
    let script = data["UserData"]["Fn::Base64"]["Fn::Sub"].as_str().expect("a script");
    assert!(script.contains("readonly SHA256='${ArtifactWeb}'"), "{script}");
    assert!(script.contains("ticketctl-${AWS::AccountId}-ap-northeast-2"), "{script}");
    assert_eq!(data["ImageId"], json!({"Ref": "ImageX8664"}));
    let variables = script.match_indices("${").map(|(at, _)| &script[at + 2..]);
    let known =
        |rest: &&str| rest.starts_with('!') || rest.starts_with("ArtifactWeb}") || rest.starts_with("AWS::AccountId}");
    assert!(variables.clone().all(|rest| known(&rest)), "{script}");
}

#[test]
fn what_must_wait_waits() {
    let (_, stack) = ready_stacks().into_iter().find(|(file, _)| file.ends_with("prod.yaml")).expect("prod");
    let template = exported(&stack).1;
    let needs = |name: &str| template["Resources"][name]["DependsOn"].to_string();
    assert!(needs("NatA").contains("\"InternetGatewayAttachment\""), "{}", needs("NatA"));
    assert!(needs("RoutesPublicRoute1").contains("InternetGatewayAttachment"), "{}", needs("RoutesPublicRoute1"));
    assert!(needs("LoadBalancer").contains("BucketPolicy"), "{}", needs("LoadBalancer"));
    assert!(needs("GroupWeb").contains("Listener80"), "{}", needs("GroupWeb"));
    assert!(needs("Database2").contains("Database1"), "{}", needs("Database2"));
    assert_eq!(template["Resources"]["Database"]["DeletionPolicy"], "Snapshot");
    assert_eq!(template["Resources"]["Bucket"]["UpdateReplacePolicy"], "Retain");
}

fn of_file(file: &str, sets: &[&str]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks").join(file);
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    exported(&load(&path, &sets).unwrap_or_else(|wrong| panic!("{}", wrong.render(false))).stack).1
}

#[test]
fn a_rolling_update_has_room_for_one_more() {
    let rolling = |sets: &[&str]| {
        let group = of_file("dev.yaml", sets)["Resources"]["GroupWeb"].clone();
        assert_eq!(group["UpdatePolicy"]["AutoScalingRollingUpdate"]["PauseTime"], "PT5M");
        group["UpdatePolicy"]["AutoScalingRollingUpdate"]["MinInstancesInService"].clone()
    };
    let size = |min, max| {
        ["min", "max", "desired"].map(|what| {
            let count = if what == "min" { min } else { max };
            format!("services.web.instances.{what}={count}")
        })
    };
    for (min, max, in_service) in [(2, 4, "2"), (2, 2, "1"), (1, 1, "0")] {
        let sets = size(min, max);
        assert_eq!(rolling(&sets.each_ref().map(String::as_str)), in_service, "{min} to {max}");
    }
}

#[test]
fn a_shortened_bucket_name_is_left_to_cloudformation() {
    let short = of_file("prod.yaml", &[]);
    let name = &short["Resources"]["Bucket"]["Properties"]["BucketName"];
    assert_eq!(*name, json!({"Fn::Sub": "ticketing-prod-${AWS::AccountId}-ap-northeast-2"}));

    let (project, environment) = ("tickets-of-all-the-theatres", "production-of-the-south");
    let long = [format!("project={project}"), format!("environment={environment}")];
    let long = of_file("prod.yaml", &long.each_ref().map(String::as_str));
    let bucket = &long["Resources"]["Bucket"]["Properties"];
    assert_eq!(bucket["BucketName"], Value::Null);
    assert_eq!(long["Resources"]["Bucket"]["DependsOn"], Value::Null, "it waits for itself");
    let attributes = &long["Resources"]["LoadBalancer"]["Properties"]["LoadBalancerAttributes"];
    assert!(attributes.to_string().contains(r#""access_logs.s3.bucket","Value":{"Ref":"Bucket"}"#), "{attributes}");
    let role = &long["Resources"]["RoleInstance"]["Properties"]["Policies"];
    assert!(role.to_string().contains(r#"{"Fn::Sub":"arn:aws:s3:::${Bucket}"}"#), "{role}");
    let script = long["Resources"]["LaunchTemplateWeb"]["Properties"]["LaunchTemplateData"]["UserData"].to_string();
    assert!(script.contains("TICKETCTL_BUCKET=\\\"${Bucket}\\\""), "{script}");
    // The name that the stand-in for the account would have.
    let hidden = crate::resource::Bucket::name_in(&format!("{project}-{environment}"), ACCOUNT, "ap-northeast-2");
    assert!(!hidden.contains(ACCOUNT) && !long.to_string().contains(&hidden), "{hidden}");
}

#[test]
fn services_with_like_names_have_parameters_of_their_own() {
    let mut stack = ready_stacks().into_iter().find(|(file, _)| file.ends_with("dev.yaml")).expect("dev").1;
    let web = stack.services["web"].clone();
    stack.services = [("api-2".to_owned(), web.clone()), ("api2".to_owned(), web)].into();
    let template = exported(&stack).1;
    let parameters = template["Parameters"].as_object().expect("parameters");
    let artifacts: Vec<_> = parameters.keys().filter(|name| name.starts_with("Artifact")).collect();
    assert_eq!(artifacts, ["ArtifactApi2", "ArtifactApi22"]);
    for (group, artifact) in [("LaunchTemplateApi2", "${ArtifactApi2}"), ("LaunchTemplateApi22", "${ArtifactApi22}")] {
        let data = template["Resources"][group]["Properties"]["LaunchTemplateData"].to_string();
        assert!(data.contains(artifact), "{artifact} in {data}");
    }
}
