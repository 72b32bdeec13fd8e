//! The network's kinds.

use serde_json::{Value, json};

use super::{
    intrinsic::Fact,
    names::pascal,
    resource::{CloudFormation, Part, Resource},
};
use crate::resource::{
    Address, InternetGateway, NatGateway, RouteTable, SecurityGroup, Subnet, Vpc, VpcEndpoint,
    address::AddressSpec,
    internet_gateway::InternetGatewaySpec,
    nat_gateway::NatGatewaySpec,
    route_table::{RouteTableSpec, RouteTarget},
    security_group::{Rules, SecurityGroupSpec},
    subnet::SubnetSpec,
    targets,
    vpc::VpcSpec,
    vpc_endpoint::{Access, VpcEndpointSpec},
};

impl CloudFormation for Vpc {
    const TYPE: &'static str = "AWS::EC2::VPC";

    fn write(part: &Part<'_>, spec: VpcSpec) -> Resource {
        let VpcSpec { cidr, dns_support, dns_hostnames } = spec;
        Resource::new::<Vpc>(json!({
            "CidrBlock": cidr,
            "EnableDnsSupport": dns_support,
            "EnableDnsHostnames": dns_hostnames,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for Subnet {
    const TYPE: &'static str = "AWS::EC2::Subnet";

    fn write(part: &Part<'_>, spec: SubnetSpec) -> Resource {
        let SubnetSpec { vpc, zone, cidr, public_ips } = spec;
        Resource::new::<Subnet>(json!({
            "VpcId": vpc,
            "AvailabilityZone": zone,
            "CidrBlock": cidr,
            "MapPublicIpOnLaunch": public_ips,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for InternetGateway {
    const TYPE: &'static str = "AWS::EC2::InternetGateway";

    fn write(part: &Part<'_>, spec: InternetGatewaySpec) -> Resource {
        let InternetGatewaySpec { vpc, attached } = spec;
        let gateway = Resource::new::<InternetGateway>(json!({"Tags": part.tags()}));
        if !attached {
            return gateway;
        }
        let attachment = json!({"VpcId": vpc, "InternetGatewayId": part.me()});
        gateway.with(part, "Attachment", "AWS::EC2::VPCGatewayAttachment", attachment)
    }
}

impl CloudFormation for Address {
    const TYPE: &'static str = "AWS::EC2::EIP";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Attribute("AllocationId")),
            Some("public_ip") => Some(Fact::Ref),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: AddressSpec) -> Resource {
        let AddressSpec {} = spec;
        Resource::new::<Address>(json!({"Domain": "vpc", "Tags": part.tags()}))
    }
}

impl CloudFormation for NatGateway {
    const TYPE: &'static str = "AWS::EC2::NatGateway";

    fn write(part: &Part<'_>, spec: NatGatewaySpec) -> Resource {
        let NatGatewaySpec { subnet, address } = spec;
        Resource::new::<NatGateway>(json!({"SubnetId": subnet, "AllocationId": address, "Tags": part.tags()}))
    }
}

impl CloudFormation for RouteTable {
    const TYPE: &'static str = "AWS::EC2::RouteTable";

    fn write(part: &Part<'_>, spec: RouteTableSpec) -> Resource {
        let RouteTableSpec { vpc, routes, subnets } = spec;
        let mut table = Resource::new::<RouteTable>(json!({"VpcId": vpc, "Tags": part.tags()}));
        for (number, (destination, target)) in routes.into_iter().enumerate() {
            let (key, target) = match target {
                RouteTarget::InternetGateway(gateway) => ("GatewayId", gateway.to_string()),
                RouteTarget::NatGateway(gateway) => ("NatGatewayId", gateway.to_string()),
                RouteTarget::Other(target) => unreachable!("a blueprint has no route to {target}"),
            };
            let route = json!({"RouteTableId": part.me(), "DestinationCidrBlock": destination, key: target});
            table = table.with(part, format!("Route{}", number + 1), "AWS::EC2::Route", route);
        }
        for subnet in subnets {
            let name = targets(&json!(subnet)).into_iter().map(|target| pascal(&target.id)).collect::<String>();
            let association = json!({"RouteTableId": part.me(), "SubnetId": subnet});
            table = table.with(part, name, "AWS::EC2::SubnetRouteTableAssociation", association);
        }
        table
    }
}

impl CloudFormation for SecurityGroup {
    const TYPE: &'static str = "AWS::EC2::SecurityGroup";

    fn fact(output: Option<&str>) -> Option<Fact> {
        output.is_none().then_some(Fact::Attribute("GroupId"))
    }

    fn write(part: &Part<'_>, spec: SecurityGroupSpec) -> Resource {
        let SecurityGroupSpec { vpc, description, ingress, egress } = spec;
        let egress = match egress.is_empty() {
            // Without any rule CloudFormation would let everything out.
            true => vec![json!({"IpProtocol": "-1", "CidrIp": "127.0.0.1/32", "Description": "Nothing goes out"})],
            false => rules(egress, "Destination"),
        };
        Resource::new::<SecurityGroup>(json!({
            "GroupName": format!("{}-{}", part.stack, part.id),
            "GroupDescription": description,
            "VpcId": vpc,
            "SecurityGroupIngress": rules(ingress, "Source"),
            "SecurityGroupEgress": egress,
            "Tags": part.tags(),
        }))
    }
}

/// `side` is what CloudFormation calls the peer: `Source` or `Destination`.
fn rules(rules: Rules, side: &str) -> Vec<Value> {
    let rule = |(rule, description): (crate::resource::security_group::Rule, String)| {
        let peer = rule.peer();
        let key = match peer {
            peer if peer.starts_with(crate::resource::OPEN) => format!("{side}SecurityGroupId"),
            peer if peer.contains(':') => "CidrIpv6".to_owned(),
            _ => "CidrIp".to_owned(),
        };
        json!({
            "IpProtocol": rule.protocol(),
            "FromPort": rule.ports().map(|(from, _)| from),
            "ToPort": rule.ports().map(|(_, to)| to),
            key: peer,
            "Description": Some(description).filter(|text| !text.is_empty()),
        })
    };
    rules.into_iter().map(rule).collect()
}

impl CloudFormation for VpcEndpoint {
    const TYPE: &'static str = "AWS::EC2::VPCEndpoint";

    fn write(part: &Part<'_>, spec: VpcEndpointSpec) -> Resource {
        let VpcEndpointSpec { vpc, service, access, policy } = spec;
        let mut properties =
            json!({"VpcId": vpc, "ServiceName": service, "PolicyDocument": policy, "Tags": part.tags()});
        match access {
            Access::Gateway { route_tables } => {
                properties["VpcEndpointType"] = json!("Gateway");
                properties["RouteTableIds"] = json!(route_tables);
            }
            Access::Interface { subnets, security_groups, private_dns } => {
                properties["VpcEndpointType"] = json!("Interface");
                properties["SubnetIds"] = json!(subnets);
                properties["SecurityGroupIds"] = json!(security_groups);
                properties["PrivateDnsEnabled"] = json!(private_dns);
            }
        }
        Resource::new::<VpcEndpoint>(properties)
    }
}
