//! RDS: what was set and isn't told again, log exports, and parameters that were reset.

use std::collections::BTreeSet;

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::upstream::rewrite;
use crate::local::gateway::xml::Element;

const INSTANCE: &str = "db-instance";
const CLUSTER: &str = "db-cluster";

pub async fn request(state: &State, call: &mut Call) -> Result<(), Refusal> {
    match call.operation.as_str() {
        "ModifyDBCluster" => log_exports(state, call).await,
        "ModifyDBInstance" => windows(state, call).await,
        _ => Ok(()),
    }
}

/// moto takes windows that merely touch for overlapping ones, and knows no week that ends: it gets a window that is clear of
/// the backup, and the gateway keeps the real one.
async fn windows(state: &State, call: &mut Call) -> Result<(), Refusal> {
    let id = call.form.text("DBInstanceIdentifier").to_lowercase();
    let answer = state.upstream.ask(call, "rds", "DescribeDBInstances", &[("DBInstanceIdentifier", &id)]).await?;
    let Some(instance) = answer.members("DBInstances").first().filter(|it| !it.get("DBClusterIdentifier").is_empty())
    else {
        return Ok(());
    };
    let window = "PreferredMaintenanceWindow";
    let now = Element::leaf(window, instance.get(window));
    state.memory().attributes.entry((INSTANCE, id)).or_default().entry(window.to_owned()).or_insert(now);
    if let Some(clear) = clear_of(instance.get("PreferredBackupWindow")) {
        call.form.set(window, clear);
        rewrite(call);
    }
    Ok(())
}

/// Half an hour a week that doesn't touch this daily window, `hh:mm-hh:mm`; none if there is no such.
fn clear_of(daily: &str) -> Option<String> {
    let minutes = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        Some(hours.parse::<u32>().ok()? * 60 + minutes.parse::<u32>().ok()?)
    };
    let (start, end) = daily.split_once('-')?;
    let (start, end) = (minutes(start)?, minutes(end)?);
    let begin = if start < end && start > 30 { 0 } else { end + 1 };
    let text = |minute: u32| format!("wed:{:02}:{:02}", minute / 60, minute % 60);
    (begin + 30 < 24 * 60).then(|| format!("{}-{}", text(begin), text(begin + 30)))
}

async fn log_exports(state: &State, call: &mut Call) -> Result<(), Refusal> {
    let changes = call.form.under("CloudwatchLogsExportConfiguration");
    if changes.is_empty() {
        return Ok(());
    }
    // moto leaves the exports as they are: the gateway keeps them from the first change on.
    let id = call.form.text("DBClusterIdentifier").to_lowercase();
    let answer = state.upstream.ask(call, "rds", "DescribeDBClusters", &[("DBClusterIdentifier", &id)]).await?;
    let mut memory = state.memory();
    let attributes = memory.attributes.entry((CLUSTER, id)).or_default();
    let now = match attributes.get("EnabledCloudwatchLogsExports") {
        Some(exports) => exports.children.clone(),
        None => answer.members("EnabledCloudwatchLogsExports").to_vec(),
    };
    let mut exports: BTreeSet<String> = now.into_iter().map(|export| export.text).collect();
    exports.extend(changes.list("EnableLogTypes"));
    for disabled in changes.list("DisableLogTypes") {
        exports.remove(&disabled);
    }
    let members = exports.into_iter().map(|export| Element::leaf("member", export));
    let exports = Element::new("EnabledCloudwatchLogsExports").with_all(members);
    attributes.insert(exports.name.clone(), exports);
    drop(memory);
    let kept: Vec<(String, String)> = call.form.pairs().to_vec();
    for (key, _) in kept.iter().filter(|(key, _)| key.starts_with("CloudwatchLogsExportConfiguration.")) {
        call.form.remove(key);
    }
    rewrite(call);
    Ok(())
}

pub async fn answer(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    match call.operation.as_str() {
        "CreateDBInstance" | "ModifyDBInstance" => {
            remember_instance(state, call);
            with_subnet_groups(state, call, lay_over(state, reply)?).await
        }
        "DescribeDBInstances" => with_subnet_groups(state, call, lay_over(state, reply)?).await,
        "DescribeDBClusters" | "ModifyDBCluster" => lay_over(state, reply),
        "DeleteDBInstance" => forget(state, reply, INSTANCE, call.form.text("DBInstanceIdentifier")),
        "DeleteDBCluster" => {
            let id = call.form.text("DBClusterIdentifier");
            delete_automated_snapshots(state, call, id).await?;
            forget(state, reply, CLUSTER, id)
        }
        "DescribeDBParameters" => {
            without_reset(state, reply, "DescribeDBParameters", call.form.text("DBParameterGroupName"))
        }
        "DescribeDBClusterParameters" => {
            without_reset(state, reply, "DescribeDBClusterParameters", call.form.text("DBClusterParameterGroupName"))
        }
        "ModifyDBParameterGroup" => {
            set_again(state, call, "DescribeDBParameters", "DBParameterGroupName");
            Ok(reply)
        }
        "ModifyDBClusterParameterGroup" => {
            set_again(state, call, "DescribeDBClusterParameters", "DBClusterParameterGroupName");
            Ok(reply)
        }
        _ => Ok(reply),
    }
}

/// A cluster's automated snapshots go with it. moto keeps them, and refuses a new cluster of this name within the minute.
async fn delete_automated_snapshots(state: &State, call: &Call, cluster: &str) -> Result<(), Refusal> {
    let parameters = [("DBClusterIdentifier", cluster), ("SnapshotType", "automated")];
    let answer = state.upstream.ask(call, "rds", "DescribeDBClusterSnapshots", &parameters).await?;
    for snapshot in answer.members("DBClusterSnapshots") {
        let id = [("DBClusterSnapshotIdentifier", snapshot.get("DBClusterSnapshotIdentifier"))];
        state.upstream.ask(call, "rds", "DeleteDBClusterSnapshot", &id).await?;
    }
    Ok(())
}

/// Performance Insights is taken and never told.
fn remember_instance(state: &State, call: &Call) {
    let id = call.form.text("DBInstanceIdentifier").to_lowercase();
    let mut memory = state.memory();
    let attributes = memory.attributes.entry((INSTANCE, id)).or_default();
    for (parameter, attribute) in [
        ("EnablePerformanceInsights", "PerformanceInsightsEnabled"),
        ("PerformanceInsightsRetentionPeriod", "PerformanceInsightsRetentionPeriod"),
        ("PerformanceInsightsKMSKeyId", "PerformanceInsightsKMSKeyId"),
        ("CACertificateIdentifier", "CACertificateIdentifier"),
        ("PreferredMaintenanceWindow", "PreferredMaintenanceWindow"),
    ] {
        if let Some(value) = call.form.get(parameter) {
            attributes.insert(attribute.to_owned(), Element::leaf(attribute, value));
        }
    }
    let enabled = attributes.entry("PerformanceInsightsEnabled".to_owned());
    if enabled.or_insert_with(|| Element::leaf("PerformanceInsightsEnabled", false)).text == "false" {
        attributes.remove("PerformanceInsightsRetentionPeriod");
    }
}

/// The instances of a cluster are in the cluster's subnet group; the emulator tells it only of the cluster.
async fn with_subnet_groups(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    let clusters = state.upstream.ask(call, "rds", "DescribeDBClusters", &[]).await?;
    let groups = state.upstream.ask(call, "rds", "DescribeDBSubnetGroups", &[]).await?;
    add_subnet_groups(&mut answer, clusters.members("DBClusters"), groups.members("DBSubnetGroups"));
    Ok(reply.with_element(&answer))
}

fn add_subnet_groups(element: &mut Element, clusters: &[Element], groups: &[Element]) {
    if element.name != "DBInstance" {
        return element.children.iter_mut().for_each(|child| add_subnet_groups(child, clusters, groups));
    }
    let cluster =
        clusters.iter().find(|cluster| cluster.get("DBClusterIdentifier") == element.get("DBClusterIdentifier"));
    let name = cluster.map(|cluster| cluster.get("DBSubnetGroup")).unwrap_or_default();
    let group = groups.iter().find(|group| group.get("DBSubnetGroupName") == name);
    if let (None, Some(group)) = (element.child("DBSubnetGroup"), group) {
        element.set(group.clone());
    }
}

fn lay_over(state: &State, reply: Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    lay_over_element(state, &mut answer);
    Ok(reply.with_element(&answer))
}

fn lay_over_element(state: &State, element: &mut Element) {
    let key = match element.name.as_str() {
        "DBInstance" => Some((INSTANCE, element.get("DBInstanceIdentifier").to_owned())),
        "DBCluster" => Some((CLUSTER, element.get("DBClusterIdentifier").to_owned())),
        _ => None,
    };
    match key {
        Some(key) => {
            let attributes = state.memory().attributes.get(&key).cloned().unwrap_or_default();
            for attribute in attributes.into_values() {
                element.set(attribute);
            }
        }
        None => element.children.iter_mut().for_each(|child| lay_over_element(state, child)),
    }
}

fn forget(state: &State, reply: Reply, kind: &'static str, id: &str) -> Result<Reply, Refusal> {
    state.memory().attributes.remove(&(kind, id.to_lowercase()));
    Ok(reply)
}

fn without_reset(state: &State, reply: Reply, describe: &'static str, group: &str) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    let memory = state.memory();
    if let Some(parameters) = answer.find_mut("Parameters") {
        parameters.children.retain(|parameter| {
            let key = (describe, group.to_owned(), parameter.get("ParameterName").to_owned());
            !memory.reset_parameters.contains(&key)
        });
    }
    Ok(reply.with_element(&answer))
}

fn set_again(state: &State, call: &Call, describe: &'static str, key: &str) {
    let group = call.form.text(key);
    let mut memory = state.memory();
    for parameter in call.form.structures("Parameters") {
        memory.reset_parameters.remove(&(describe, group.to_owned(), parameter.text("ParameterName").to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::clear_of;

    #[test]
    fn a_clear_window_touches_no_backup() {
        let clear = |daily| clear_of(daily).expect(daily);
        assert_eq!(clear("03:00-04:00"), "wed:00:00-wed:00:30");
        assert_eq!(clear("00:30-01:00"), "wed:01:01-wed:01:31");
        assert_eq!(clear("23:30-00:30"), "wed:00:31-wed:01:01");
        assert_eq!(clear_of("00:00-23:50"), None);
    }
}
