//! A log group for each service, made before its instances so that they need not make it.

use indexmap::IndexMap;

use crate::{
    blueprint::Blueprint,
    resource::{
        Handle, LogGroup,
        log_group::{self, LogGroupSpec},
    },
    stack::Stack,
};

/// Adds the log groups, by service.
pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack) -> IndexMap<String, Handle<LogGroup>> {
    let retention = stack.logs.retention.days();
    let groups = stack.services.keys().map(|service| {
        let name = log_group::name(&stack.name(), service);
        let group = blueprint.add::<LogGroup>(format!("log-group-{service}"), &name, LogGroupSpec { retention });
        (service.clone(), group)
    });
    groups.collect()
}
