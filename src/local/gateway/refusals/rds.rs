//! Clusters, subnet groups and parameter groups.

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::Refusal;
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;
use crate::stack::windows_overlap;

pub async fn check(state: &State, call: &Call) -> Result<(), Refusal> {
    let form = &call.form;
    match call.operation.as_str() {
        "CreateDBCluster" => {
            let id = form.text("DBClusterIdentifier").to_lowercase();
            let taken = "DB Cluster already exists";
            absent(state, call, "DescribeDBClusters", "DBClusterIdentifier", &id, "DBClusterAlreadyExistsFault", taken)
                .await
        }
        "CreateDBInstance" | "ModifyDBInstance" => overlapping_windows(state, call).await,
        "DeleteDBInstance" => member_of_stopped_cluster(state, call).await,
        "CreateDBSubnetGroup" => {
            let name = form.text("DBSubnetGroupName").to_lowercase();
            let message = format!("The DB subnet group '{name}' already exists.");
            absent(
                state,
                call,
                "DescribeDBSubnetGroups",
                "DBSubnetGroupName",
                &name,
                "DBSubnetGroupAlreadyExists",
                &message,
            )
            .await
        }
        "DeleteDBSubnetGroup" => {
            let name = form.text("DBSubnetGroupName").to_lowercase();
            let clusters = state.upstream.ask(call, "rds", "DescribeDBClusters", &[]).await?;
            let user = clusters.members("DBClusters").iter().find(|cluster| cluster.get("DBSubnetGroup") == name);
            in_use(user, "DBClusterIdentifier", "InvalidDBSubnetGroupStateFault", |user| {
                format!(
                    "Cannot delete the subnet group '{name}' because at least one database instance: {user} is still using it."
                )
            })
        }
        "DeleteDBClusterParameterGroup" => {
            let name = form.text("DBClusterParameterGroupName").to_lowercase();
            let clusters = state.upstream.ask(call, "rds", "DescribeDBClusters", &[]).await?;
            let user =
                clusters.members("DBClusters").iter().find(|cluster| cluster.get("DBClusterParameterGroup") == name);
            in_use(user, "DBClusterIdentifier", "InvalidDBParameterGroupState", |user| {
                format!("One or more database instances are still members of this parameter group {name}: {user}")
            })
        }
        "DeleteDBParameterGroup" => {
            let name = form.text("DBParameterGroupName").to_lowercase();
            let instances = state.upstream.ask(call, "rds", "DescribeDBInstances", &[]).await?;
            let user = instances
                .members("DBInstances")
                .iter()
                .find(|instance| instance.all("DBParameterGroupName").iter().any(|group| group.text == name));
            in_use(user, "DBInstanceIdentifier", "InvalidDBParameterGroupState", |user| {
                format!("One or more database instances are still members of this parameter group {name}: {user}")
            })
        }
        _ => Ok(()),
    }
}

/// An instance's maintenance may touch the backup of its cluster, and no more.
async fn overlapping_windows(state: &State, call: &Call) -> Result<(), Refusal> {
    let Some(weekly) = call.form.get("PreferredMaintenanceWindow") else {
        return Ok(());
    };
    let cluster = match call.form.get("DBClusterIdentifier") {
        Some(cluster) => cluster.to_lowercase(),
        None => {
            let id = call.form.text("DBInstanceIdentifier").to_lowercase();
            let answer =
                state.upstream.ask(call, "rds", "DescribeDBInstances", &[("DBInstanceIdentifier", &id)]).await?;
            answer.find("DBClusterIdentifier").map(|cluster| cluster.text.clone()).unwrap_or_default()
        }
    };
    let clusters = state.upstream.ask(call, "rds", "DescribeDBClusters", &[]).await?;
    let cluster = clusters.members("DBClusters").iter().find(|one| one.get("DBClusterIdentifier") == cluster);
    if cluster.is_some_and(|cluster| windows_overlap(cluster.get("PreferredBackupWindow"), weekly)) {
        let message = "The backup window and maintenance window must not overlap.";
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    Ok(())
}

/// A stopped cluster keeps its instances until it is started.
async fn member_of_stopped_cluster(state: &State, call: &Call) -> Result<(), Refusal> {
    let id = call.form.text("DBInstanceIdentifier").to_lowercase();
    let clusters = state.upstream.ask(call, "rds", "DescribeDBClusters", &[]).await?;
    let is_member = |cluster: &Element| {
        cluster.members("DBClusterMembers").iter().any(|member| member.get("DBInstanceIdentifier") == id)
    };
    let mut stopped = clusters.members("DBClusters").iter().filter(|cluster| cluster.get("Status") == "stopped");
    match stopped.find(|cluster| is_member(cluster)) {
        Some(cluster) => {
            let message = format!("DbCluster {} is not in available state", cluster.get("DBClusterIdentifier"));
            Err(Refusal::new("InvalidDBClusterStateFault", message))
        }
        None => Ok(()),
    }
}

/// Refuses to create what exists.
async fn absent(
    state: &State,
    call: &Call,
    describe: &str,
    key: &str,
    name: &str,
    code: &str,
    message: &str,
) -> Result<(), Refusal> {
    match state.upstream.ask(call, "rds", describe, &[(key, name)]).await {
        Ok(_) => Err(Refusal::new(code, message)),
        Err(refusal) if refusal.code.contains("NotFound") => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

fn in_use(user: Option<&Element>, key: &str, code: &str, message: impl FnOnce(&str) -> String) -> Result<(), Refusal> {
    match user {
        Some(user) => Err(Refusal::new(code, message(user.get(key)))),
        None => Ok(()),
    }
}
