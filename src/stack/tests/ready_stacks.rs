//! The stacks that come with ticketctl.

use std::path::Path;

use super::super::load::load_in;
use super::super::types::NatMode;
use super::super::{Loaded, Stack, schema};

fn ready(name: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("stacks/{name}.yaml"));
    load_in(&path, &[], &|_| None).unwrap_or_else(|diagnostics| panic!("{name}:\n{diagnostics}"))
}

/// The stack, which must come without a warning.
fn clean(name: &str) -> Stack {
    let loaded = ready(name);
    assert!(loaded.warnings.is_empty(), "{name}:\n{}", loaded.warnings);
    loaded.stack
}

#[test]
fn dev_has_the_shape_that_its_readers_know() {
    let stack = clean("dev");
    assert_eq!(stack.name(), "ticketing-dev");
    assert_eq!(stack.zones(), ["ap-northeast-2a", "ap-northeast-2c"]);
    assert_eq!(stack.network.nat, NatMode::PerZone);
    let layout = stack.network.subnet_layout().expect("fits");
    let third_octets = |nets: &[ipnet::Ipv4Net]| nets.iter().map(|net| net.addr().octets()[2]).collect::<Vec<_>>();
    assert_eq!(third_octets(&layout.public), [1, 2]);
    assert_eq!(third_octets(&layout.private), [11, 12]);
    assert_eq!(third_octets(&layout.database), [21, 22]);
    let web = &stack.services["web"];
    let instances = &web.instances;
    assert_eq!((instances.min, instances.desired, instances.max), (2, 2, 20));
    assert_eq!((instances.instance_type.as_str(), web.scaling.cpu), ("t3.medium", Some(70)));
    let database = stack.database.as_ref().expect("a database");
    assert_eq!((database.class.as_str(), database.readers, database.backup.days()), ("db.t3.medium", 1, 7));
    assert!(!database.performance_insights && !database.deletion_protection && !database.final_snapshot);
    let cache = stack.cache.as_ref().expect("a cache");
    assert_eq!((cache.class.as_str(), cache.replicas, cache.multi_az), ("cache.t3.micro", 1, true));
    assert!(!stack.protect && stack.storage.as_ref().expect("a bucket").empty_on_destroy);
}

#[test]
fn prod_is_guarded_and_spread() {
    let loaded = ready("prod");
    let codes: Vec<_> = loaded.warnings.list.iter().map(|d| d.code).collect();
    // Without an account there is no certificate; that must not go unsaid.
    assert_eq!(codes, ["no-certificate"], "{}", loaded.warnings);
    let stack = loaded.stack;
    assert_eq!(stack.zones().len(), 3);
    let database = stack.database.as_ref().expect("a database");
    assert!(stack.protect && stack.ingress.deletion_protection);
    assert!(database.deletion_protection && database.final_snapshot && database.performance_insights);
    assert_eq!(database.enhanced_monitoring.secs(), 60);
    assert!(!stack.storage.as_ref().expect("a bucket").empty_on_destroy);
}

#[test]
fn prod_takes_a_certificate_from_the_environment() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/prod.yaml");
    let arn = "arn:aws:acm:ap-northeast-2:123456789012:certificate/6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let environment = |name: &str| (name == "TICKETCTL_CERTIFICATE").then(|| arn.to_owned());
    let loaded = load_in(&path, &[], &environment).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.stack.ingress.certificate.as_deref(), Some(arn));
}

#[test]
fn localstack_asks_only_for_what_it_has() {
    let stack = clean("localstack");
    assert!(stack.services.is_empty());
    assert_eq!((stack.database, stack.cache), (None, None));
    assert!(stack.storage.is_some() && stack.messaging.is_some() && stack.alerts.is_some());
}

#[test]
fn two_services_are_split_by_path() {
    let stack = clean("two-services");
    let routes: Vec<_> =
        stack.services.iter().map(|(name, service)| (name.as_str(), service.paths[0].as_str())).collect();
    assert_eq!(routes, [("api", "/*"), ("queue", "/api/queue/*")]);
    assert_eq!(stack.services["queue"].command_args(), ["serve", "--role", "queue"]);
    assert!(stack.database.is_some(), "the rest comes from dev.yaml");
}

#[test]
fn the_schema_beside_the_stacks_is_the_current_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/ticketctl.schema.json");
    let kept = std::fs::read_to_string(path).expect("the schema file");
    let current = format!("{:#}\n", schema().as_value());
    assert!(kept == current, "renew it: ticketctl schema > stacks/ticketctl.schema.json");
}
