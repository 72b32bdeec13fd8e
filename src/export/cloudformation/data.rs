//! The database's and the caches' kinds.

use serde_json::json;

use super::{
    intrinsic::Fact,
    resource::{CloudFormation, Part, Resource},
};
use crate::resource::{
    CacheParameterGroup, CacheSubnetGroup, DbCluster, DbClusterParameterGroup, DbInstance, DbParameterGroup,
    DbSubnetGroup, ReplicationGroup,
    cache_parameter_group::CacheParameterGroupSpec,
    cache_subnet_group::CacheSubnetGroupSpec,
    db_cluster::DbClusterSpec,
    db_instance::{DbInstanceSpec, INSIGHTS_DAYS},
    db_parameter_group::ParameterGroupSpec,
    db_subnet_group::DbSubnetGroupSpec,
    elasticache,
    replication_group::ReplicationGroupSpec,
};

impl CloudFormation for DbSubnetGroup {
    const TYPE: &'static str = "AWS::RDS::DBSubnetGroup";

    fn write(part: &Part<'_>, spec: DbSubnetGroupSpec) -> Resource {
        let DbSubnetGroupSpec { name, subnets } = spec;
        Resource::new::<DbSubnetGroup>(json!({
            "DBSubnetGroupName": name,
            "DBSubnetGroupDescription": format!("Subnets of the database of {}", part.stack),
            "SubnetIds": subnets,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for DbClusterParameterGroup {
    const TYPE: &'static str = "AWS::RDS::DBClusterParameterGroup";

    fn write(part: &Part<'_>, spec: ParameterGroupSpec) -> Resource {
        let ParameterGroupSpec { name, family, parameters } = spec;
        Resource::new::<DbClusterParameterGroup>(json!({
            "DBClusterParameterGroupName": name,
            "Description": format!("Parameters of the database of {}", part.stack),
            "Family": family,
            "Parameters": parameters,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for DbParameterGroup {
    const TYPE: &'static str = "AWS::RDS::DBParameterGroup";

    fn write(part: &Part<'_>, spec: ParameterGroupSpec) -> Resource {
        let ParameterGroupSpec { name, family, parameters } = spec;
        Resource::new::<DbParameterGroup>(json!({
            "DBParameterGroupName": name,
            "Description": format!("Parameters of the database instances of {}", part.stack),
            "Family": family,
            "Parameters": parameters,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for DbCluster {
    const TYPE: &'static str = "AWS::RDS::DBCluster";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("endpoint") => Some(Fact::Attribute("Endpoint.Address")),
            Some("reader_endpoint") => Some(Fact::Attribute("ReadEndpoint.Address")),
            Some("port") => Some(Fact::Attribute("Endpoint.Port")),
            Some("secret_arn") => Some(Fact::Attribute("MasterUserSecret.SecretArn")),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: DbClusterSpec) -> Resource {
        let DbClusterSpec {
            name,
            engine,
            version,
            database,
            username,
            managed_password,
            port,
            subnet_group,
            parameter_group,
            security_groups,
            backup_days,
            backup_window,
            maintenance_window,
            log_exports,
            encrypted,
            copy_tags_to_snapshots,
            deletion_protection,
            final_snapshot,
        } = spec;
        let cluster = Resource::new::<DbCluster>(json!({
            "DBClusterIdentifier": name,
            "Engine": engine,
            "EngineVersion": version,
            "DatabaseName": database,
            "MasterUsername": username,
            "ManageMasterUserPassword": managed_password,
            "Port": port,
            "DBSubnetGroupName": subnet_group,
            "DBClusterParameterGroupName": parameter_group,
            "VpcSecurityGroupIds": security_groups,
            "BackupRetentionPeriod": backup_days,
            "PreferredBackupWindow": backup_window,
            "PreferredMaintenanceWindow": maintenance_window,
            "EnableCloudwatchLogsExports": log_exports,
            "StorageEncrypted": encrypted,
            "CopyTagsToSnapshot": copy_tags_to_snapshots,
            "DeletionProtection": deletion_protection,
            "Tags": part.tags(),
        }));
        cluster.deletion(if final_snapshot { "Snapshot" } else { "Delete" })
    }
}

impl CloudFormation for DbInstance {
    const TYPE: &'static str = "AWS::RDS::DBInstance";

    fn write(part: &Part<'_>, spec: DbInstanceSpec) -> Resource {
        let DbInstanceSpec {
            name,
            cluster,
            engine,
            class,
            zone,
            subnet_group,
            parameter_group,
            promotion_tier,
            maintenance_window,
            monitoring_interval,
            monitoring_role,
            performance_insights,
            auto_minor_upgrades,
            public,
            // A state, which nobody can wish for in a template.
            parameters_applied: _,
        } = spec;
        let instance = Resource::new::<DbInstance>(json!({
            "DBInstanceIdentifier": name,
            "DBClusterIdentifier": cluster,
            "Engine": engine,
            "DBInstanceClass": class,
            "AvailabilityZone": zone,
            "DBSubnetGroupName": subnet_group,
            "DBParameterGroupName": parameter_group,
            "PromotionTier": promotion_tier,
            "PreferredMaintenanceWindow": maintenance_window,
            "MonitoringInterval": monitoring_interval,
            "MonitoringRoleArn": monitoring_role,
            "EnablePerformanceInsights": performance_insights,
            "PerformanceInsightsRetentionPeriod": (performance_insights == Some(true)).then_some(INSIGHTS_DAYS),
            "AutoMinorVersionUpgrade": auto_minor_upgrades,
            "PubliclyAccessible": public,
            "Tags": part.tags(),
        }));
        // The data is the cluster's.
        instance.deletion("Delete")
    }
}

impl CloudFormation for CacheSubnetGroup {
    const TYPE: &'static str = "AWS::ElastiCache::SubnetGroup";

    fn write(part: &Part<'_>, spec: CacheSubnetGroupSpec) -> Resource {
        let CacheSubnetGroupSpec { name, subnets } = spec;
        Resource::new::<CacheSubnetGroup>(json!({
            "CacheSubnetGroupName": name,
            "Description": format!("Subnets of the caches of {}", part.stack),
            "SubnetIds": subnets,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for CacheParameterGroup {
    const TYPE: &'static str = "AWS::ElastiCache::ParameterGroup";

    fn write(part: &Part<'_>, spec: CacheParameterGroupSpec) -> Resource {
        // CloudFormation makes the name itself.
        let CacheParameterGroupSpec { name: _, parameters } = spec;
        Resource::new::<CacheParameterGroup>(json!({
            "CacheParameterGroupFamily": elasticache::FAMILY,
            "Description": format!("Parameters of a cache of {}", part.stack),
            "Properties": parameters,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for ReplicationGroup {
    const TYPE: &'static str = "AWS::ElastiCache::ReplicationGroup";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("endpoint") => Some(Fact::Attribute("PrimaryEndPoint.Address")),
            Some("reader_endpoint") => Some(Fact::Attribute("ReaderEndPoint.Address")),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: ReplicationGroupSpec) -> Resource {
        let ReplicationGroupSpec {
            name,
            description,
            version,
            class,
            nodes,
            failover,
            multi_az,
            port,
            subnet_group,
            parameter_group,
            security_groups,
            encrypted_in_transit,
            encrypted_at_rest,
            auth,
            auth_secret,
            snapshot_days,
            snapshot_window,
            maintenance_window,
            auto_minor_upgrades,
        } = spec;
        let password = auth_secret.filter(|_| auth);
        let group = Resource::new::<ReplicationGroup>(json!({
            "ReplicationGroupId": name,
            "ReplicationGroupDescription": description,
            "Engine": elasticache::ENGINE,
            "EngineVersion": version,
            "CacheNodeType": class,
            "NumCacheClusters": nodes,
            "AutomaticFailoverEnabled": failover,
            "MultiAZEnabled": multi_az,
            "Port": port,
            "CacheSubnetGroupName": subnet_group,
            "CacheParameterGroupName": parameter_group,
            "SecurityGroupIds": security_groups,
            "TransitEncryptionEnabled": encrypted_in_transit,
            "AtRestEncryptionEnabled": encrypted_at_rest,
            // Read by CloudFormation when it makes the cache; the template never holds it.
            "AuthToken": password.map(|secret| format!("{{{{resolve:secretsmanager:{secret}:SecretString}}}}")),
            "SnapshotRetentionLimit": snapshot_days,
            "SnapshotWindow": snapshot_window,
            "PreferredMaintenanceWindow": maintenance_window,
            "AutoMinorVersionUpgrade": auto_minor_upgrades,
            "Tags": part.tags(),
        }));
        group.deletion(if snapshot_days > 0 { "Snapshot" } else { "Delete" })
    }
}
