//! VPC resources that are in use, and what exists already.

use crate::local::gateway::call::Call;
use crate::local::gateway::corrections::ec2::leave_out_terminated;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::Refusal;
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

pub async fn check(state: &State, call: &Call) -> Result<(), Refusal> {
    match call.operation.as_str() {
        "AttachInternetGateway" => second_internet_gateway(state, call).await,
        "RevokeSecurityGroupIngress" | "RevokeSecurityGroupEgress" => unknown_rule(state, call).await,
        "AuthorizeSecurityGroupIngress" | "AuthorizeSecurityGroupEgress" => duplicate_rule(state, call).await,
        "AssociateRouteTable" => second_association(state, call).await,
        "ReleaseAddress" => address_in_use(state, call).await,
        "DeleteSubnet" => subnet_in_use(state, call).await,
        "DeleteSecurityGroup" => security_group_in_use(state, call).await,
        "DetachInternetGateway" => mapped_addresses(state, call).await,
        "DeleteInternetGateway" => internet_gateway_attached(state, call).await,
        "DeleteVpc" => vpc_in_use(state, call).await,
        _ => Ok(()),
    }
}

/// A describe with filters.
async fn filtered(state: &State, call: &Call, action: &str, filters: &[(&str, &str)]) -> Result<Element, Refusal> {
    let mut form = Form::of([("Action", action)]);
    for (index, (name, value)) in filters.iter().enumerate() {
        form.push(format!("Filter.{}.Name", index + 1), *name);
        form.push(format!("Filter.{}.Value.1", index + 1), *value);
    }
    state.upstream.ask_form(call, "ec2", form).await
}

fn dependency(message: String) -> Refusal {
    Refusal::new("DependencyViolation", message)
}

async fn second_internet_gateway(state: &State, call: &Call) -> Result<(), Refusal> {
    let vpc = call.form.text("VpcId");
    let answer = filtered(state, call, "DescribeInternetGateways", &[("attachment.vpc-id", vpc)]).await?;
    match answer.members("internetGatewaySet").first() {
        Some(attached) if attached.get("internetGatewayId") == call.form.text("InternetGatewayId") => {
            let id = attached.get("internetGatewayId");
            Err(Refusal::new(
                "Resource.AlreadyAssociated",
                format!("resource {id} is already attached to network {vpc}"),
            ))
        }
        Some(_) => Err(Refusal::new(
            "InvalidParameterValue",
            format!("Network {vpc} already has an internet gateway attached"),
        )),
        None => Ok(()),
    }
}

/// One rule as AWS tells rules apart: direction aside, by protocol, ports and peer.
fn rule_of(protocol: &str, from: &str, to: &str, peer: &str) -> String {
    let protocol = match protocol {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        "all" => "-1",
        other => other,
    };
    // All traffic has no ports, whatever was sent or is told.
    if protocol == "-1" { format!("-1 {peer}") } else { format!("{protocol} {from}-{to} {peer}") }
}

async fn duplicate_rule(state: &State, call: &Call) -> Result<(), Refusal> {
    let group = call.form.text("GroupId");
    let egress = call.operation == "AuthorizeSecurityGroupEgress";
    let answer = filtered(state, call, "DescribeSecurityGroupRules", &[("group-id", group)]).await?;
    let existing: Vec<String> = answer
        .members("securityGroupRuleSet")
        .iter()
        .filter(|rule| (rule.get("isEgress") == "true") == egress)
        .map(|rule| {
            let referenced = rule.find("referencedGroupInfo").map(|info| info.get("groupId")).unwrap_or_default();
            let peers = [rule.get("cidrIpv4"), rule.get("cidrIpv6"), rule.get("prefixListId"), referenced];
            let peer = peers.into_iter().find(|peer| !peer.is_empty()).unwrap_or_default();
            rule_of(rule.get("ipProtocol"), rule.get("fromPort"), rule.get("toPort"), peer)
        })
        .collect();
    for permission in call.form.structures("IpPermissions") {
        let peers = [("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6"), ("PrefixListIds", "PrefixListId")];
        let ranges = peers.iter().flat_map(|(list, key)| {
            permission.structures(list).into_iter().map(|range| range.text(key).to_owned()).collect::<Vec<_>>()
        });
        let pairs = ["UserIdGroupPairs", "Groups"].into_iter().flat_map(|list| permission.structures(list));
        for peer in ranges.chain(pairs.map(|pair| pair.text("GroupId").to_owned())) {
            let (from, to) = (permission.text("FromPort"), permission.text("ToPort"));
            let rule = rule_of(permission.text("IpProtocol"), from, to, &peer);
            if existing.contains(&rule) {
                let message = format!(
                    "the specified rule \"peer: {peer}, {}, from port: {from}, to port: {to}, ALLOW\" already exists",
                    permission.text("IpProtocol")
                );
                return Err(Refusal::new("InvalidPermission.Duplicate", message));
            }
        }
    }
    Ok(())
}

async fn unknown_rule(state: &State, call: &Call) -> Result<(), Refusal> {
    let group = call.form.text("GroupId");
    let answer = filtered(state, call, "DescribeSecurityGroupRules", &[("group-id", group)]).await?;
    let rules = answer.members("securityGroupRuleSet");
    for id in call.form.list("SecurityGroupRuleId") {
        if !rules.iter().any(|rule| rule.get("securityGroupRuleId") == id) {
            let message = format!("The security group rule ID '{id}' does not exist");
            return Err(Refusal::new("InvalidSecurityGroupRuleId.NotFound", message));
        }
    }
    Ok(())
}

async fn second_association(state: &State, call: &Call) -> Result<(), Refusal> {
    let subnet = call.form.text("SubnetId");
    if subnet.is_empty() {
        return Ok(());
    }
    let answer = filtered(state, call, "DescribeRouteTables", &[("association.subnet-id", subnet)]).await?;
    for table in answer.members("routeTableSet") {
        let id = table.get("routeTableId");
        for association in table.members("associationSet") {
            if association.get("subnetId") == subnet && id != call.form.text("RouteTableId") {
                let association = association.get("routeTableAssociationId");
                let message = format!(
                    "the specified association for route table {id} conflicts with an existing association {association}"
                );
                return Err(Refusal::new("Resource.AlreadyAssociated", message));
            }
        }
    }
    Ok(())
}

async fn address_in_use(state: &State, call: &Call) -> Result<(), Refusal> {
    let parameters = [("AllocationId.1", call.form.text("AllocationId"))];
    let answer = state.upstream.ask(call, "ec2", "DescribeAddresses", &parameters).await?;
    match answer.members("addressesSet").first() {
        Some(address) if !address.get("associationId").is_empty() => {
            let message = format!("Address {} is in use.", address.get("publicIp"));
            Err(Refusal::new("InvalidIPAddress.InUse", message))
        }
        _ => Ok(()),
    }
}

/// Whether a NAT gateway, an instance, a load balancer or an endpoint lives in what the filter names.
async fn occupant(state: &State, call: &Call, filter: (&str, &str)) -> Result<Option<String>, Refusal> {
    let gateways = filtered(state, call, "DescribeNatGateways", &[filter]).await?;
    let gateway = gateways.members("natGatewaySet").iter().find(|gateway| gateway.get("state") != "deleted");
    if let Some(gateway) = gateway {
        return Ok(Some(gateway.get("natGatewayId").to_owned()));
    }
    running(state, call, filter).await
}

async fn running(state: &State, call: &Call, filter: (&str, &str)) -> Result<Option<String>, Refusal> {
    let instances = filtered(state, call, "DescribeInstances", &[filter]).await?;
    let ended = ["terminated", "shutting-down"];
    let instance = instances.all("instanceState").iter().any(|instance| !ended.contains(&instance.get("name")));
    if instance {
        return Ok(instances.find("instanceId").map(|id| id.text.clone()));
    }
    Ok(None)
}

async fn subnet_in_use(state: &State, call: &Call) -> Result<(), Refusal> {
    let subnet = call.form.text("SubnetId");
    let in_use = || dependency(format!("The subnet '{subnet}' has dependencies and cannot be deleted."));
    if occupant(state, call, ("subnet-id", subnet)).await?.is_some() {
        return Err(in_use());
    }
    let mut interfaces = filtered(state, call, "DescribeNetworkInterfaces", &[("subnet-id", subnet)]).await?;
    leave_out_terminated(state, call, &mut interfaces).await?;
    if !interfaces.members("networkInterfaceSet").is_empty() {
        return Err(in_use());
    }
    let balancers = state.upstream.ask(call, "elasticloadbalancing", "DescribeLoadBalancers", &[]).await?;
    if balancers.all("SubnetId").iter().any(|id| id.text == subnet) {
        return Err(in_use());
    }
    let endpoints = state.upstream.ask(call, "ec2", "DescribeVpcEndpoints", &[]).await?;
    let live = endpoints.members("vpcEndpointSet").iter().filter(|endpoint| endpoint.get("state") != "deleted");
    if live.flat_map(|endpoint| endpoint.members("subnetIdSet")).any(|id| id.text == subnet) {
        return Err(in_use());
    }
    Ok(())
}

async fn security_group_in_use(state: &State, call: &Call) -> Result<(), Refusal> {
    let group = call.form.text("GroupId");
    let in_use = || dependency(format!("resource {group} has a dependent object"));
    let groups = filtered(state, call, "DescribeSecurityGroups", &[("ip-permission.group-id", group)]).await?;
    let egress = filtered(state, call, "DescribeSecurityGroups", &[("egress.ip-permission.group-id", group)]).await?;
    let referring = groups.members("securityGroupInfo").iter().chain(egress.members("securityGroupInfo"));
    if referring.into_iter().any(|other| other.get("groupId") != group) {
        return Err(in_use());
    }
    // NAT gateways have no groups, and moto would list all of them for this filter.
    if running(state, call, ("instance.group-id", group)).await?.is_some() {
        return Err(in_use());
    }
    let balancers = state.upstream.ask(call, "elasticloadbalancing", "DescribeLoadBalancers", &[]).await?;
    let on_balancers =
        balancers.all("SecurityGroups").into_iter().flat_map(|groups| &groups.children).any(|id| id.text == group);
    let databases = state.upstream.ask(call, "rds", "DescribeDBClusters", &[]).await?;
    let on_databases = databases.all("VpcSecurityGroupId").iter().any(|id| id.text == group);
    let on_caches =
        state.memory().replication_groups.values().any(|cache| cache.security_groups().iter().any(|id| id == group));
    let endpoints = state.upstream.ask(call, "ec2", "DescribeVpcEndpoints", &[]).await?;
    let live = endpoints.members("vpcEndpointSet").iter().filter(|endpoint| endpoint.get("state") != "deleted");
    let on_endpoints =
        live.flat_map(|endpoint| endpoint.members("groupSet")).any(|member| member.get("groupId") == group);
    if on_balancers || on_databases || on_caches || on_endpoints { Err(in_use()) } else { Ok(()) }
}

async fn mapped_addresses(state: &State, call: &Call) -> Result<(), Refusal> {
    let vpc = call.form.text("VpcId");
    let gateways = filtered(state, call, "DescribeNatGateways", &[("vpc-id", vpc)]).await?;
    let gateway = gateways.members("natGatewaySet").iter().any(|gateway| gateway.get("state") != "deleted");
    let balancers = state.upstream.ask(call, "elasticloadbalancing", "DescribeLoadBalancers", &[]).await?;
    let balancer = balancers
        .members("LoadBalancers")
        .iter()
        .any(|balancer| balancer.get("VpcId") == vpc && balancer.get("Scheme") == "internet-facing");
    if gateway || balancer {
        let message = format!(
            "Network {vpc} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway."
        );
        return Err(dependency(message));
    }
    Ok(())
}

async fn internet_gateway_attached(state: &State, call: &Call) -> Result<(), Refusal> {
    let id = call.form.text("InternetGatewayId");
    let answer = filtered(state, call, "DescribeInternetGateways", &[("internet-gateway-id", id)]).await?;
    if answer.members("attachmentSet").is_empty() {
        return Ok(());
    }
    Err(dependency(format!("The internetGateway '{id}' has dependencies and cannot be deleted.")))
}

async fn vpc_in_use(state: &State, call: &Call) -> Result<(), Refusal> {
    let vpc = call.form.text("VpcId");
    let in_use = || dependency(format!("The vpc '{vpc}' has dependencies and cannot be deleted."));
    let by_vpc = [("vpc-id", vpc)];
    if !filtered(state, call, "DescribeSubnets", &by_vpc).await?.members("subnetSet").is_empty() {
        return Err(in_use());
    }
    let groups = filtered(state, call, "DescribeSecurityGroups", &by_vpc).await?;
    if groups.members("securityGroupInfo").iter().any(|group| group.get("groupName") != "default") {
        return Err(in_use());
    }
    let gateways = filtered(state, call, "DescribeInternetGateways", &[("attachment.vpc-id", vpc)]).await?;
    if !gateways.members("internetGatewaySet").is_empty() {
        return Err(in_use());
    }
    let tables = filtered(state, call, "DescribeRouteTables", &by_vpc).await?;
    let is_main =
        |table: &Element| table.members("associationSet").iter().any(|association| association.get("main") == "true");
    if tables.members("routeTableSet").iter().any(|table| !is_main(table)) {
        return Err(in_use());
    }
    Ok(())
}
