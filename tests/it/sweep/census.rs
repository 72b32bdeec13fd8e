//! What there is in the account, whoever made it and however it is tagged: counted by kind, past ticketctl's own eyes.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{InstanceStateName, NatGatewayState, Tag, VpcState};
use ticketctl::aws::{Context, tags};

/// Ids by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    ids: BTreeMap<&'static str, Vec<String>>,
    /// What of EC2's carries the stack's tag, by kind and logical id: all that AWS itself would let exist twice.
    tagged: BTreeMap<(&'static str, String), Vec<String>>,
}

/// How a census differs from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub missing: Vec<String>,
    pub superfluous: Vec<String>,
}

impl Census {
    pub async fn take(cx: &Context) -> Census {
        let mut census = Census::default();
        census.network(cx).await;
        census.traffic(cx).await;
        census.compute(cx).await;
        census.data(cx).await;
        census.others(cx).await;
        census
    }

    fn note(&mut self, kind: &'static str, ids: impl IntoIterator<Item = String>) {
        self.ids.entry(kind).or_default().extend(ids);
    }

    /// The same with tags that tell who is who.
    fn note_tagged<'a>(&mut self, kind: &'static str, found: impl IntoIterator<Item = (Option<&'a str>, &'a [Tag])>) {
        for (id, of) in found {
            let id = id.unwrap_or_default().to_owned();
            if let Some(part) = of.iter().find(|tag| tag.key() == Some(tags::ID)).and_then(|tag| tag.value()) {
                self.tagged.entry((kind, part.to_owned())).or_default().push(id.clone());
            }
            self.note(kind, [id]);
        }
    }

    async fn network(&mut self, cx: &Context) {
        let ec2 = &cx.ec2;
        let all = ec2.describe_vpcs().send().await.expect("VPCs");
        let alive =
            all.vpcs().iter().filter(|vpc| vpc.is_default() != Some(true) && vpc.state() != Some(&VpcState::Pending));
        self.note_tagged("vpc", alive.map(|vpc| (vpc.vpc_id(), vpc.tags())));
        let all = ec2.describe_subnets().send().await.expect("subnets");
        self.note_tagged("subnet", all.subnets().iter().map(|subnet| (subnet.subnet_id(), subnet.tags())));
        let all = ec2.describe_internet_gateways().send().await.expect("internet gateways");
        self.note_tagged(
            "internet gateway",
            all.internet_gateways().iter().map(|one| (one.internet_gateway_id(), one.tags())),
        );
        let all = ec2.describe_nat_gateways().send().await.expect("NAT gateways");
        let gone = [Some(&NatGatewayState::Deleted), Some(&NatGatewayState::Deleting)];
        let alive = all.nat_gateways().iter().filter(|one| !gone.contains(&one.state()));
        self.note_tagged("NAT gateway", alive.map(|one| (one.nat_gateway_id(), one.tags())));
        let all = ec2.describe_addresses().send().await.expect("addresses");
        self.note_tagged("address", all.addresses().iter().map(|one| (one.allocation_id(), one.tags())));
        let all = ec2.describe_route_tables().send().await.expect("route tables");
        self.note_tagged("route table", all.route_tables().iter().map(|one| (one.route_table_id(), one.tags())));
        let all = ec2.describe_security_groups().send().await.expect("security groups");
        self.note_tagged("security group", all.security_groups().iter().map(|one| (one.group_id(), one.tags())));
        let all = ec2.describe_vpc_endpoints().send().await.expect("VPC endpoints");
        self.note_tagged("VPC endpoint", all.vpc_endpoints().iter().map(|one| (one.vpc_endpoint_id(), one.tags())));
        let all = ec2.describe_flow_logs().send().await.expect("flow logs");
        self.note_tagged("flow log", all.flow_logs().iter().map(|one| (one.flow_log_id(), one.tags())));
        let all = ec2.describe_network_interfaces().send().await.expect("network interfaces");
        let free =
            all.network_interfaces().iter().filter(|one| one.attachment().is_none() && one.interface_type().is_none());
        self.note("free network interface", free.filter_map(|one| one.network_interface_id()).map(str::to_owned));
    }

    async fn traffic(&mut self, cx: &Context) {
        let all = cx.elb.describe_load_balancers().send().await.expect("load balancers");
        let balancers: Vec<_> = all.load_balancers().iter().filter_map(|one| one.load_balancer_arn()).collect();
        for balancer in &balancers {
            let all = cx.elb.describe_listeners().load_balancer_arn(*balancer).send().await.expect("listeners");
            for listener in all.listeners().iter().filter_map(|one| one.listener_arn()) {
                self.note("listener", [listener.to_owned()]);
                let all = cx.elb.describe_rules().listener_arn(listener).send().await.expect("rules");
                self.note("listener rule", all.rules().iter().filter_map(|one| one.rule_arn()).map(str::to_owned));
            }
        }
        self.note("load balancer", balancers.iter().map(ToString::to_string));
        let all = cx.elb.describe_target_groups().send().await.expect("target groups");
        self.note(
            "target group",
            all.target_groups().iter().filter_map(|one| one.target_group_arn()).map(str::to_owned),
        );
    }

    async fn compute(&mut self, cx: &Context) {
        let all = cx.ec2.describe_launch_templates().send().await.expect("launch templates");
        for template in all.launch_templates().iter().filter_map(|one| one.launch_template_id()) {
            let all =
                cx.ec2.describe_launch_template_versions().launch_template_id(template).send().await.expect("versions");
            let numbers = all.launch_template_versions().iter().filter_map(|one| one.version_number());
            self.note("launch template version", numbers.map(|number| format!("{template} {number}")));
        }
        self.note_tagged(
            "launch template",
            all.launch_templates().iter().map(|one| (one.launch_template_id(), one.tags())),
        );
        let all = cx.autoscaling.describe_auto_scaling_groups().send().await.expect("groups");
        let names = all.auto_scaling_groups().iter().filter_map(|one| one.auto_scaling_group_name());
        self.note("auto scaling group", names.map(str::to_owned));
        let all = cx.autoscaling.describe_policies().send().await.expect("policies");
        self.note(
            "scaling policy",
            all.scaling_policies().iter().filter_map(|one| one.policy_name()).map(str::to_owned),
        );
        let all = cx.ec2.describe_instances().send().await.expect("instances");
        let alive =
            all.reservations().iter().flat_map(|one| one.instances()).filter(|instance| {
                instance.state().and_then(|state| state.name()) != Some(&InstanceStateName::Terminated)
            });
        self.note("instance", alive.filter_map(|one| one.instance_id()).map(str::to_owned));
        let all = cx.iam.list_roles().send().await.expect("roles");
        self.note("role", all.roles().iter().map(|one| one.role_name().to_owned()));
        let all = cx.iam.list_instance_profiles().send().await.expect("profiles");
        self.note("instance profile", all.instance_profiles().iter().map(|one| one.instance_profile_name().to_owned()));
    }

    async fn data(&mut self, cx: &Context) {
        let ids = |id: Option<&str>| id.unwrap_or_default().to_owned();
        let all = cx.rds.describe_db_clusters().send().await.expect("clusters");
        self.note("database", all.db_clusters().iter().map(|one| ids(one.db_cluster_identifier())));
        let all = cx.rds.describe_db_instances().send().await.expect("instances");
        self.note("database instance", all.db_instances().iter().map(|one| ids(one.db_instance_identifier())));
        let all = cx.rds.describe_db_subnet_groups().send().await.expect("subnet groups");
        self.note("database subnet group", all.db_subnet_groups().iter().map(|one| ids(one.db_subnet_group_name())));
        let all = cx.rds.describe_db_parameter_groups().send().await.expect("parameter groups");
        self.note(
            "database parameter group",
            all.db_parameter_groups().iter().map(|one| ids(one.db_parameter_group_name())),
        );
        let all = cx.rds.describe_db_cluster_parameter_groups().send().await.expect("parameter groups");
        let names = all.db_cluster_parameter_groups().iter().map(|one| ids(one.db_cluster_parameter_group_name()));
        self.note("cluster parameter group", names);
        let all = cx.elasticache.describe_replication_groups().send().await.expect("replication groups");
        self.note("cache", all.replication_groups().iter().map(|one| ids(one.replication_group_id())));
        let all = cx.elasticache.describe_cache_subnet_groups().send().await.expect("subnet groups");
        self.note("cache subnet group", all.cache_subnet_groups().iter().map(|one| ids(one.cache_subnet_group_name())));
        let all = cx.elasticache.describe_cache_parameter_groups().send().await.expect("parameter groups");
        let names = all.cache_parameter_groups().iter().map(|one| ids(one.cache_parameter_group_name()));
        self.note("cache parameter group", names);
        let all = cx.secrets.list_secrets().send().await.expect("secrets");
        self.note("secret", all.secret_list().iter().map(|one| ids(one.name())));
        let all = cx.s3.list_buckets().send().await.expect("buckets");
        // The control bucket belongs to the account and stays.
        let names = all.buckets().iter().filter_map(|one| one.name()).filter(|name| !name.starts_with("ticketctl-"));
        self.note("bucket", names.map(str::to_owned));
    }

    async fn others(&mut self, cx: &Context) {
        let ids = |id: Option<&str>| id.unwrap_or_default().to_owned();
        let all = cx.sqs.list_queues().send().await.expect("queues");
        self.note("queue", all.queue_urls().iter().cloned());
        let all = cx.sns.list_topics().send().await.expect("topics");
        self.note("topic", all.topics().iter().map(|one| ids(one.topic_arn())));
        let all = cx.sns.list_subscriptions().send().await.expect("subscriptions");
        self.note("subscription", all.subscriptions().iter().map(|one| ids(one.subscription_arn())));
        let all = cx.ssm.get_parameters_by_path().path("/ticketctl").recursive(true).into_paginator().send();
        let all: Vec<_> = all.try_collect().await.expect("parameters");
        self.note("parameter", all.iter().flat_map(|page| page.parameters()).map(|one| ids(one.name())));
        let all = cx.logs.describe_log_groups().send().await.expect("log groups");
        self.note("log group", all.log_groups().iter().map(|one| ids(one.log_group_name())));
        let all = cx.cloudwatch.describe_alarms().max_records(100).into_paginator().send();
        let all: Vec<_> = all.try_collect().await.expect("alarms");
        self.note("alarm", all.iter().flat_map(|page| page.metric_alarms()).map(|one| ids(one.alarm_name())));
        let all = cx.cloudwatch.list_dashboards().send().await.expect("dashboards");
        self.note("dashboard", all.dashboard_entries().iter().map(|one| ids(one.dashboard_name())));
    }

    /// What there is of EC2's more than once under one logical id.
    pub fn duplicates(&self) -> Vec<String> {
        let twice = self.tagged.iter().filter(|(_, ids)| ids.len() > 1);
        twice.flat_map(|((kind, part), ids)| ids[1..].iter().map(move |id| format!("{kind} {part}: {id}"))).collect()
    }

    /// What there is too much of, one by one as far as a count can tell, and the kinds that are too few.
    pub fn against(&self, wanted: &Census) -> Difference {
        let mut difference = Difference::default();
        for kind in self.ids.keys().chain(wanted.ids.keys().filter(|kind| !self.ids.contains_key(*kind))) {
            let of = |census: &Census| census.ids.get(kind).cloned().unwrap_or_default();
            let (here, there) = (of(self), of(wanted));
            let unlike = |ids: &[String], others: &[String]| {
                ids.iter().filter(|id| !others.contains(id)).cloned().collect::<Vec<_>>().join(" or ")
            };
            for _ in there.len()..here.len() {
                difference.superfluous.push(format!("{kind} {}", unlike(&here, &there)));
            }
            if here.len() < there.len() {
                difference.missing.push(format!("{kind}: {} instead of {}", here.len(), there.len()));
            }
        }
        difference
    }
}
