//! What AWS has: one file per kind of resource, each with its spec and how to find, make, change and delete it.

mod blocker;
mod cloudwatch;
mod ec2;
pub mod elasticache;
pub mod elb;
mod iam;
mod kind;
pub mod rds;
mod reference;
mod scan;

pub use blocker::Blocker;
pub use kind::{
    AnyKind, Change, Created, Desired, Effect, Erased, Found, Kind, Outputs, Replacement, Select, Status, Traits, root,
};
pub use reference::{CLOSE, Handle, Level, OPEN, Piece, Ref, Target, resolve, split_tokens, targets};
pub use scan::Scan;

/// Hands all kinds, as `module::Kind`, to a macro: what has to do something with each of them can't forget one.
macro_rules! all_kinds {
    ($then:ident) => {
        $then! {
            vpc::Vpc,
            subnet::Subnet,
            internet_gateway::InternetGateway,
            address::Address,
            nat_gateway::NatGateway,
            route_table::RouteTable,
            security_group::SecurityGroup,
            vpc_endpoint::VpcEndpoint,
            db_subnet_group::DbSubnetGroup,
            db_cluster_parameter_group::DbClusterParameterGroup,
            db_parameter_group::DbParameterGroup,
            db_cluster::DbCluster,
            db_instance::DbInstance,
            cache_subnet_group::CacheSubnetGroup,
            cache_parameter_group::CacheParameterGroup,
            replication_group::ReplicationGroup,
            secret::Secret,
            bucket::Bucket,
            alarm::Alarm,
            dashboard::Dashboard,
            log_group::LogGroup,
            flow_log::FlowLog,
            parameter::Parameter,
            queue::Queue,
            subscription::Subscription,
            topic::Topic,
            load_balancer::LoadBalancer,
            target_group::TargetGroup,
            listener::Listener,
            listener_rule::ListenerRule,
            role::Role,
            instance_profile::InstanceProfile,
            launch_template::LaunchTemplate,
            auto_scaling_group::AutoScalingGroup,
            scaling_policy::ScalingPolicy,
        }
    };
}
pub(crate) use all_kinds;

/// Declares the modules of all kinds and the list that the engine goes through.
macro_rules! kinds {
    ($($module:ident::$kind:ident),+ $(,)?) => {
        $(pub mod $module;)+
        $(pub use $module::$kind;)+
        /// Every kind that ticketctl knows.
        pub fn all() -> &'static [&'static dyn AnyKind] {
            &[$(&Erased::<$kind>(std::marker::PhantomData)),+]
        }
    };
}

all_kinds!(kinds);

/// The kind with this name.
pub fn by_name(name: &str) -> Option<&'static dyn AnyKind> {
    all().iter().copied().find(|kind| kind.name() == name)
}
