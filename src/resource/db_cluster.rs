//! Aurora: the cluster, which holds the data and the endpoints; its instances are kinds of their own.

use aws_sdk_rds::types::{CloudwatchLogsExportConfiguration, DbCluster as AwsCluster};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{Change, Created, DbClusterParameterGroup, DbSubnetGroup, Desired, Effect, Found, Handle, Kind, Outputs};
use super::{Ref, Scan, SecurityGroup, Select, Status, Traits, rds};
use crate::aws::{Context, Error, Result, tags};

pub struct DbCluster;

#[derive(Serialize, Deserialize)]
pub struct DbClusterSpec {
    /// Up to 63 characters.
    pub name: String,
    /// Such as `aurora-mysql`.
    pub engine: String,
    /// Such as `8.0.mysql_aurora.3.10.4`; at least this one, because AWS upgrades minor versions by itself.
    pub version: String,
    pub database: String,
    pub username: String,
    /// Whether RDS makes the master password, keeps it in Secrets Manager and rotates it.
    pub managed_password: bool,
    pub port: i32,
    pub subnet_group: Ref<DbSubnetGroup>,
    pub parameter_group: Ref<DbClusterParameterGroup>,
    pub security_groups: BTreeSet<Ref<SecurityGroup>>,
    /// How long automatic backups are kept: 1 to 35.
    pub backup_days: i32,
    /// Daily, in UTC: `hh:mm-hh:mm`.
    pub backup_window: String,
    /// Weekly, in UTC: `ddd:hh:mm-ddd:hh:mm`.
    pub maintenance_window: String,
    /// Logs that go to CloudWatch: `audit`, `error`, `general`, `slowquery`.
    pub log_exports: BTreeSet<String>,
    pub encrypted: bool,
    pub copy_tags_to_snapshots: bool,
    /// Whether AWS refuses to delete the cluster.
    pub deletion_protection: bool,
    /// Whether a last snapshot is taken when the cluster is deleted (see [`tags::FINAL_SNAPSHOT`]).
    pub final_snapshot: bool,
}

impl Handle<DbCluster> {
    /// Host name of the writer.
    pub fn endpoint(&self) -> String {
        self.created_output("endpoint")
    }

    /// Host name that spreads connections over the readers.
    pub fn reader_endpoint(&self) -> String {
        self.created_output("reader_endpoint")
    }

    pub fn port(&self) -> String {
        self.created_output("port")
    }

    /// ARN of the master user's secret: JSON with `username` and `password`.
    pub fn secret_arn(&self) -> String {
        self.created_output("secret_arn")
    }
}

impl Kind for DbCluster {
    const NAME: &'static str = "db_cluster";
    const TRAITS: Traits = Traits::slow(60, 3600).holding_data();
    type Spec = DbClusterSpec;

    fn effect(path: &str) -> Effect {
        match super::root(path) {
            "name" | "engine" | "database" | "username" | "subnet_group" | "encrypted" => Effect::Replace,
            // An upgrade, another port and another parameter group restart the instances.
            "version" | "port" | "parameter_group" => Effect::Interrupts,
            _ => Effect::InPlace,
        }
    }

    /// Automatic minor upgrades raise the version behind our back. Aurora can't go back, so a wish for an older version
    /// of the same line means "at least".
    fn follow(wish: &mut DbClusterSpec, found: &DbClusterSpec) {
        if is_newer(&found.version, &wish.version) {
            wish.version.clone_from(&found.version);
        }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<DbClusterSpec>>> {
        let mut request = scan.rds.describe_db_clusters();
        if let Select::One(id) = select {
            request = request.db_cluster_identifier(*id);
        }
        let clusters = request.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await;
        match clusters.map_err(Error::from) {
            Ok(clusters) => Ok(clusters.iter().filter_map(|cluster| found(cluster, &scan.stack)).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn create(cx: &Context, desired: &Desired<DbClusterSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let answer = cx
            .rds
            .create_db_cluster()
            .db_cluster_identifier(&spec.name)
            .engine(&spec.engine)
            .engine_version(&spec.version)
            .database_name(&spec.database)
            .master_username(&spec.username)
            .manage_master_user_password(spec.managed_password)
            .port(spec.port)
            .db_subnet_group_name(&*spec.subnet_group)
            .db_cluster_parameter_group_name(&*spec.parameter_group)
            .set_vpc_security_group_ids(Some(spec.security_groups.iter().map(ToString::to_string).collect()))
            .backup_retention_period(spec.backup_days)
            .preferred_backup_window(&spec.backup_window)
            .preferred_maintenance_window(&spec.maintenance_window)
            .set_enable_cloudwatch_logs_exports(Some(spec.log_exports.iter().cloned().collect()))
            .storage_encrypted(spec.encrypted)
            .copy_tags_to_snapshot(spec.copy_tags_to_snapshots)
            .deletion_protection(spec.deletion_protection)
            .set_tags(Some(rds::list(&tags_of(desired))))
            .send()
            .await?;
        let cluster =
            answer.db_cluster().ok_or_else(|| Error::unexpected("rds", "CreateDBCluster", "the answer is empty"))?;
        Ok(Created { id: spec.name.clone(), outputs: outputs(cluster) })
    }

    async fn update(cx: &Context, change: &Change<DbClusterSpec>) -> Result<()> {
        if change.paths.iter().any(|path| !matches!(super::root(path), "tags" | "final_snapshot")) {
            modify(cx, change).await?;
        }
        if change.touches(&["tags", "final_snapshot"]) {
            rds::set_tags(cx, change.found.output("arn"), &tags_of(&change.desired)).await?;
        }
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<DbClusterSpec>) -> Result<()> {
        let call = cx.rds.delete_db_cluster().db_cluster_identifier(&found.id);
        let call = if found.spec.final_snapshot {
            call.skip_final_snapshot(false).final_db_snapshot_identifier(final_snapshot_name(&found.id))
        } else {
            call.skip_final_snapshot(true)
        };
        call.send().await?;
        Ok(())
    }
}

async fn modify(cx: &Context, change: &Change<DbClusterSpec>) -> Result<()> {
    let (spec, found) = (&change.desired.spec, &change.found.spec);
    let touched = |attribute: &str| change.touches(&[attribute]);
    cx.rds
        .modify_db_cluster()
        .db_cluster_identifier(&change.found.id)
        // Otherwise a confirmed change would wait for the maintenance window, and every plan until then would show it.
        .apply_immediately(true)
        .set_engine_version(touched("version").then(|| spec.version.clone()))
        .set_manage_master_user_password(touched("managed_password").then_some(spec.managed_password))
        .set_port(touched("port").then_some(spec.port))
        .set_db_cluster_parameter_group_name(touched("parameter_group").then(|| spec.parameter_group.to_string()))
        .set_vpc_security_group_ids(
            touched("security_groups").then(|| spec.security_groups.iter().map(ToString::to_string).collect()),
        )
        .set_backup_retention_period(touched("backup_days").then_some(spec.backup_days))
        .set_preferred_backup_window(touched("backup_window").then(|| spec.backup_window.clone()))
        .set_preferred_maintenance_window(touched("maintenance_window").then(|| spec.maintenance_window.clone()))
        .set_cloudwatch_logs_export_configuration(touched("log_exports").then(|| {
            let list = |from: &BTreeSet<String>, without: &BTreeSet<String>| from.difference(without).cloned().collect();
            CloudwatchLogsExportConfiguration::builder()
                .set_enable_log_types(Some(list(&spec.log_exports, &found.log_exports)))
                .set_disable_log_types(Some(list(&found.log_exports, &spec.log_exports)))
                .build()
        }))
        .set_copy_tags_to_snapshot(touched("copy_tags_to_snapshots").then_some(spec.copy_tags_to_snapshots))
        .set_deletion_protection(touched("deletion_protection").then_some(spec.deletion_protection))
        .send()
        .await?;
    Ok(())
}

/// The cluster as we see it, if it is the stack's.
fn found(cluster: &AwsCluster, stack: &str) -> Option<Found<DbClusterSpec>> {
    let mut tags = rds::tags(cluster.tag_list());
    if tags.get(tags::STACK).map(String::as_str) != Some(stack) {
        return None;
    }
    let final_snapshot = tags.remove(tags::FINAL_SNAPSHOT).as_deref() == Some("true");
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let groups = cluster.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id());
    Some(Found {
        logical_id: tags.get(tags::ID).cloned().unwrap_or_default(),
        id: text(cluster.db_cluster_identifier()),
        spec: DbClusterSpec {
            name: text(cluster.db_cluster_identifier()),
            engine: text(cluster.engine()),
            version: text(cluster.engine_version()),
            database: text(cluster.database_name()),
            username: text(cluster.master_username()),
            managed_password: cluster.master_user_secret().is_some(),
            port: cluster.port().unwrap_or_default(),
            subnet_group: Ref::known(text(cluster.db_subnet_group())),
            parameter_group: Ref::known(text(cluster.db_cluster_parameter_group())),
            security_groups: groups.map(Ref::known).collect(),
            backup_days: cluster.backup_retention_period().unwrap_or_default(),
            backup_window: text(cluster.preferred_backup_window()),
            maintenance_window: text(cluster.preferred_maintenance_window()),
            log_exports: cluster.enabled_cloudwatch_logs_exports().iter().cloned().collect(),
            encrypted: cluster.storage_encrypted().unwrap_or_default(),
            copy_tags_to_snapshots: cluster.copy_tags_to_snapshot().unwrap_or_default(),
            deletion_protection: cluster.deletion_protection().unwrap_or_default(),
            final_snapshot,
        },
        outputs: outputs(cluster),
        tags: Some(tags),
        status: status(cluster.status().unwrap_or_default()),
    })
}

fn outputs(cluster: &AwsCluster) -> Outputs {
    let waiting = cluster
        .db_cluster_members()
        .iter()
        .filter(|member| member.db_cluster_parameter_group_status() == Some("pending-reboot"))
        .filter_map(|member| member.db_instance_identifier());
    let rest = cluster.status().filter(|state| ["stopped", "stopping"].contains(state));
    let values = [
        ("arn", cluster.db_cluster_arn().map(str::to_owned)),
        ("endpoint", cluster.endpoint().map(str::to_owned)),
        ("reader_endpoint", cluster.reader_endpoint().map(str::to_owned)),
        ("port", cluster.port().map(|port| port.to_string())),
        ("secret_arn", cluster.master_user_secret().and_then(|secret| secret.secret_arn()).map(str::to_owned)),
        (DbCluster::AWAITING_REBOOT, Some(waiting.collect::<Vec<_>>().join(","))),
        (DbCluster::AT_REST, rest.map(str::to_owned)),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

impl DbCluster {
    /// The output that names the instances, separated by commas, on which cluster parameters wait for a reboot.
    pub const AWAITING_REBOOT: &'static str = "awaiting_reboot";

    /// The output that a stopped cluster has, and one on its way there: which of the two it is.
    pub const AT_REST: &'static str = "at_rest";
}

/// The meaning of a cluster's state.
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/accessing-monitoring.html>
fn status(state: &str) -> Status {
    match state {
        // A stopped cluster is as somebody wanted it: nothing to wait for.
        "available" | "backing-up" | "backtracking" | "storage-optimization" | "stopped" => Status::Ready,
        "deleting" => Status::Deleting,
        "cloning-failed" | "migration-failed" | "inaccessible-encryption-credentials" => {
            Status::Failed(state.to_owned())
        }
        other => Status::Pending(other.to_owned()),
    }
}

fn tags_of(desired: &Desired<DbClusterSpec>) -> crate::aws::Tags {
    let mut tags = desired.tags.clone();
    tags.insert(tags::FINAL_SNAPSHOT.to_owned(), desired.spec.final_snapshot.to_string());
    tags
}

/// A name that no snapshot has yet: a cluster of the same name may have been deleted before.
fn final_snapshot_name(cluster: &str) -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    format!("{cluster}-final-{now}")
}

/// Whether version `left` is newer than `right`, number by number: `8.0.mysql_aurora.3.10.4`.
fn is_newer(left: &str, right: &str) -> bool {
    let numbers = |version: &str| version.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
    numbers(left) > numbers(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(is_newer("8.0.mysql_aurora.3.10.4", "8.0.mysql_aurora.3.9.0"));
        assert!(is_newer("8.0.mysql_aurora.3.10.10", "8.0.mysql_aurora.3.10.4"));
        assert!(!is_newer("8.0.mysql_aurora.3.10.4", "8.0.mysql_aurora.3.10.4"));
        assert!(!is_newer("8.0.mysql_aurora.3.04.0", "8.0.mysql_aurora.3.10.4"));
    }

    #[test]
    fn the_final_snapshot_has_a_valid_name() {
        let name = final_snapshot_name("ticketing-prod-aurora-cluster");
        assert!(name.len() <= 255 && !name.contains("--") && !name.ends_with('-'), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
    }

    #[test]
    fn a_stopped_cluster_is_nothing_to_wait_for() {
        assert_eq!(status("stopped"), Status::Ready);
        assert_eq!(status("upgrading"), Status::Pending("upgrading".into()));
        assert_eq!(status("deleting"), Status::Deleting);
    }
}
