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

#[test]
fn no_reference_account_or_own_tag_is_left() {
    let bracket = crate::resource::OPEN.to_string();
    let own = ["\"Key\":\"ticketctl:", "\"Key\":\"ManagedBy\",\"Value\":\"ticketctl\""];
    for (file, stack) in ready_stacks() {
        let text = exported(&stack).1.to_string();
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
