//! Aurora MySQL: one cluster, its writer and its readers, with their parameters.

use crate::{
    resource::{
        DbCluster, DbClusterParameterGroup, DbInstance, DbParameterGroup, DbSubnetGroup, Handle, Level, SecurityGroup,
        Subnet,
        db_cluster::DbClusterSpec,
        db_instance::DbInstanceSpec,
        db_parameter_group::ParameterGroupSpec,
        db_subnet_group::DbSubnetGroupSpec,
        rds::{self, Parameters},
    },
    stack::{
        Stack, facts,
        name::name,
        types::{Database, LogExport},
    },
};

use super::{Blueprint, security::DATABASE_PORT};

/// The longest name of a cluster or an instance.
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/CHAP_Limits.html>
const NAME_LIMIT: usize = 63;

/// The last promotion tier.
const LAST_TIER: usize = 15;

/// What others need of the database.
pub struct DataHandles {
    pub cluster: Handle<DbCluster>,
    /// The writer first, as long as Aurora hasn't promoted another one.
    pub instances: Vec<Handle<DbInstance>>,
}

/// The identifier of the cluster.
pub(super) fn cluster_name(stack: &Stack) -> String {
    name(stack, &["aurora-cluster"], NAME_LIMIT)
}

/// Adds the database, if the stack has one. `monitoring_role` is the ARN of the role with which RDS writes enhanced
/// monitoring.
pub(super) fn add(
    blueprint: &mut Blueprint,
    stack: &Stack,
    subnets: &[Handle<Subnet>],
    security_group: &Handle<SecurityGroup>,
    monitoring_role: Option<String>,
) -> Option<DataHandles> {
    let database = stack.database.as_ref()?;
    let name_of_stack = stack.name();
    let family = rds::family(&database.version);

    let subnet_group_name = DbSubnetGroup::name_in(&name_of_stack);
    let subnet_group = blueprint.add::<DbSubnetGroup>(
        DbSubnetGroup::ID,
        &subnet_group_name,
        DbSubnetGroupSpec { name: subnet_group_name.clone(), subnets: subnets.iter().map(Handle::id).collect() },
    );
    let cluster_group_name = DbClusterParameterGroup::name_in(&name_of_stack, &family);
    let cluster_group = blueprint.add::<DbClusterParameterGroup>(
        DbClusterParameterGroup::ID,
        &cluster_group_name,
        ParameterGroupSpec {
            name: cluster_group_name.clone(),
            family: family.clone(),
            parameters: cluster_parameters(database),
        },
    );
    let instance_group_name = DbParameterGroup::name_in(&name_of_stack, &family);
    let instance_group = blueprint.add::<DbParameterGroup>(
        DbParameterGroup::ID,
        &instance_group_name,
        ParameterGroupSpec { name: instance_group_name.clone(), family, parameters: instance_parameters(database) },
    );

    let cluster_name = cluster_name(stack);
    let cluster = blueprint.add::<DbCluster>(
        "database",
        &cluster_name,
        DbClusterSpec {
            name: cluster_name.clone(),
            engine: database.engine.as_str().to_owned(),
            version: database.version.clone(),
            database: database.name.clone(),
            username: database.username.clone(),
            managed_password: true,
            port: i32::from(DATABASE_PORT),
            subnet_group: subnet_group.id(),
            parameter_group: cluster_group.id(),
            security_groups: [security_group.id()].into(),
            backup_days: database.backup.days(),
            backup_window: database.backup_window.clone(),
            maintenance_window: database.maintenance_window.clone(),
            log_exports: database.log_exports.iter().map(|log| log.as_str().to_owned()).collect(),
            encrypted: true,
            copy_tags_to_snapshots: true,
            deletion_protection: database.deletion_protection,
            final_snapshot: database.final_snapshot,
        },
    );

    let zones = stack.zones();
    let mut instances: Vec<Handle<DbInstance>> = Vec::new();
    // The writer is the first; readers are counted from the second on.
    for (index, zone) in zones.iter().cycle().enumerate().take(database.readers as usize + 1) {
        let number = (index + 1).to_string();
        let instance_name = name(stack, &["aurora", &number], NAME_LIMIT);
        let interval = database.enhanced_monitoring.secs();
        let instance = blueprint.add::<DbInstance>(
            format!("database-{number}"),
            &instance_name,
            DbInstanceSpec {
                name: instance_name.clone(),
                // AWS takes instances only once the cluster is available, a minute after its creation.
                cluster: cluster.ready(),
                engine: database.engine.as_str().to_owned(),
                class: database.class.clone(),
                zone: zone.clone(),
                subnet_group: subnet_group.id(),
                parameter_group: instance_group.id(),
                promotion_tier: index.min(LAST_TIER) as i32,
                maintenance_window: database.maintenance_window.clone(),
                monitoring_interval: interval,
                monitoring_role: monitoring_role.clone().filter(|_| interval > 0),
                performance_insights: Some(database.performance_insights),
                // AWS advises against them on lines with long-term support, which are chosen to stay.
                // Source: "Aurora MySQL long-term support (LTS) and beta releases", Amazon Aurora User Guide.
                auto_minor_upgrades: !facts::database::is_long_term(&database.version),
                public: false,
                parameters_applied: true,
            },
        );
        // Aurora makes the first instance the writer, and refuses instances that are created at the same moment.
        if let Some(previous) = instances.last() {
            blueprint.after(&instance, previous, Level::Created);
        }
        instances.push(instance);
    }

    blueprint.output("db_endpoint", cluster.endpoint());
    blueprint.output("db_reader_endpoint", cluster.reader_endpoint());
    blueprint.output("db_secret_arn", cluster.secret_arn());
    Some(DataHandles { cluster, instances })
}

/// What the stack file says in `parameters` wins.
fn cluster_parameters(database: &Database) -> Parameters {
    let mut parameters = Parameters::new();
    let mut set = |name: &str, value: &str| parameters.insert(name.to_owned(), value.to_owned());
    for name in ["server", "client", "connection", "database", "results"] {
        set(&format!("character_set_{name}"), "utf8mb4");
    }
    // The engine's default isn't set: RDS doesn't list it as the user's value.
    if database.time_zone != "UTC" {
        set("time_zone", &database.time_zone);
    }
    set("require_secure_transport", "ON");
    if database.log_exports.contains(&LogExport::Audit) {
        // An export of the audit log stays empty without these.
        set("server_audit_logging", "1");
        set("server_audit_events", "CONNECT,QUERY_DCL,QUERY_DDL");
    }
    if database.log_exports.contains(&LogExport::General) {
        set("general_log", "1");
    }
    parameters.extend(database.parameters.iter().map(|(name, value)| (name.clone(), value.clone())));
    parameters
}

fn instance_parameters(database: &Database) -> Parameters {
    let slow_query = database.slow_query.secs_f64();
    Parameters::from([
        ("slow_query_log".to_owned(), u8::from(database.log_exports.contains(&LogExport::Slowquery)).to_string()),
        ("long_query_time".to_owned(), slow_query.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::Tags, stack::units::Duration};
    use serde_json::Value;

    fn compiled(readers: u32, change: impl FnOnce(&mut Database)) -> Blueprint {
        let mut database = Database { readers, ..Database::default() };
        change(&mut database);
        let file = serde_json::json!({
            "project": "ticketing", "environment": "dev", "region": "ap-northeast-2", "database": database,
        });
        let mut stack: Stack = serde_json::from_value(file).expect("a stack");
        stack.network.zones = vec!["a".to_owned(), "c".to_owned()];
        let mut blueprint = Blueprint::new(&stack.name(), Tags::new());
        let subnets = ["a", "c"].map(|zone| Handle::new(format!("subnet-database-{zone}")));
        let role = Some("arn:aws:iam::123456789012:role/monitoring".to_owned());
        let handles =
            add(&mut blueprint, &stack, &subnets, &Handle::new("sg-database".to_owned()), role).expect("a database");
        assert_eq!(handles.instances.len(), readers as usize + 1);
        blueprint
    }

    fn spec<'a>(blueprint: &'a Blueprint, id: &str) -> &'a Value {
        &blueprint.nodes[id].spec
    }

    #[test]
    fn writer_and_reader_lie_in_different_zones_and_are_private() {
        let blueprint = compiled(1, |_| {});
        assert_eq!(spec(&blueprint, "database-1")["zone"], "ap-northeast-2a");
        assert_eq!(spec(&blueprint, "database-2")["zone"], "ap-northeast-2c");
        for id in ["database-1", "database-2"] {
            assert_eq!(spec(&blueprint, id)["public"], false);
        }
        assert_eq!(blueprint.nodes["database-2"].after, [("database-1".to_owned(), Level::Created)]);
    }

    #[test]
    fn an_exported_audit_log_is_also_filled() {
        let blueprint = compiled(0, |_| {});
        let parameters = &spec(&blueprint, DbClusterParameterGroup::ID)["parameters"];
        assert_eq!(parameters["server_audit_logging"], "1");
        assert_eq!(parameters["require_secure_transport"], "ON");
        assert_eq!(parameters["character_set_server"], "utf8mb4");

        let silent = compiled(0, |database| database.log_exports = vec![LogExport::Error]);
        assert_eq!(spec(&silent, DbClusterParameterGroup::ID)["parameters"]["server_audit_logging"], Value::Null);
        assert_eq!(spec(&silent, DbParameterGroup::ID)["parameters"]["slow_query_log"], "0");
    }

    #[test]
    fn no_password_is_in_the_blueprint() {
        let blueprint = compiled(1, |_| {});
        let text = serde_json::to_string(&blueprint).expect("plain data");
        assert!(!text.to_lowercase().replace("managed_password", "").contains("password"), "{text}");
        assert_eq!(spec(&blueprint, "database")["managed_password"], true);
    }

    #[test]
    fn without_enhanced_monitoring_no_role_is_named() {
        let blueprint = compiled(0, |database| database.enhanced_monitoring = Duration::from_secs(0));
        assert_eq!(spec(&blueprint, "database-1")["monitoring_role"], Value::Null);
    }

    #[test]
    fn lines_with_long_term_support_stay_where_they_are() {
        let upgrades = |version: &str| {
            let blueprint = compiled(0, |database| database.version = version.to_owned());
            blueprint.nodes["database-1"].spec["auto_minor_upgrades"].clone()
        };
        assert_eq!(upgrades("8.0.mysql_aurora.3.10.4"), false);
        assert_eq!(upgrades("8.0.mysql_aurora.3.12.0"), true);
    }
}
