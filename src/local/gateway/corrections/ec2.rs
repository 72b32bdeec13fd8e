//! NAT gateways, security groups and network interfaces.

use super::vpc_endpoints;
use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

pub async fn answer(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    match call.operation.as_str() {
        "DescribeNatGateways" => nat_gateways(call, reply),
        "DeleteNatGateway" => {
            free_address(state, call).await?;
            Ok(reply)
        }
        "DescribeInstanceAttribute" if call.form.text("Attribute") == "userData" => user_data(state, call, reply),
        "DescribeInstances" => instances(state, call, reply),
        "DescribeNetworkInterfaces" => network_interfaces(state, call, reply).await,
        "DescribeVpcEndpoints" => vpc_endpoints::listed(call, reply),
        "ModifyVpcEndpoint" => {
            vpc_endpoints::modified(state, call).await?;
            Ok(reply)
        }
        "CreateSecurityGroup" => {
            let mut answer = reply.element()?;
            let tags = call.form.structures("TagSpecification").into_iter().flat_map(|spec| spec.structures("Tag"));
            let tags = tags.map(|tag| {
                Element::new("item")
                    .with(Element::leaf("key", tag.text("Key")))
                    .with(Element::leaf("value", tag.text("Value")))
            });
            answer.set(Element::new("tagSet").with_all(tags));
            Ok(reply.with_element(&answer))
        }
        _ => Ok(reply),
    }
}

fn nat_gateways(call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    let Some(gateways) = answer.find_mut("natGatewaySet") else {
        return Ok(reply);
    };
    for id in call.form.list("NatGatewayId") {
        if !gateways.children.iter().any(|gateway| gateway.get("natGatewayId") == id) {
            return Err(Refusal::new("NatGatewayNotFound", format!("The Nat Gateway {id} was not found")));
        }
    }
    for gateway in &mut gateways.children {
        if gateway.get("connectivityType").is_empty() {
            gateway.set(Element::leaf("connectivityType", "public"));
        }
    }
    Ok(reply.with_element(&answer))
}

/// A deleted NAT gateway gives its address back and takes its network interface with it.
async fn free_address(state: &State, call: &Call) -> Result<(), Refusal> {
    let parameters = [("NatGatewayId.1", call.form.text("NatGatewayId"))];
    let answer = state.upstream.ask(call, "ec2", "DescribeNatGateways", &parameters).await?;
    for address in answer.members("natGatewayAddressSet") {
        let allocation = [("AllocationId.1", address.get("allocationId"))];
        let addresses = state.upstream.ask(call, "ec2", "DescribeAddresses", &allocation).await?;
        for held in addresses.members("addressesSet") {
            // The address may long be another gateway's: only the association with this one's interface ends.
            if held.get("networkInterfaceId") == address.get("networkInterfaceId")
                && !held.get("associationId").is_empty()
            {
                let association = [("AssociationId", held.get("associationId"))];
                state.upstream.ask(call, "ec2", "DisassociateAddress", &association).await?;
            }
        }
        delete_interface(state, call, address.get("networkInterfaceId")).await?;
    }
    Ok(())
}

/// Deletes a network interface that may be gone already.
pub async fn delete_interface(state: &State, call: &Call, id: &str) -> Result<(), Refusal> {
    match state.upstream.ask(call, "ec2", "DeleteNetworkInterface", &[("NetworkInterfaceId", id)]).await {
        Err(refusal) if refusal.code != "InvalidNetworkInterfaceID.NotFound" => Err(refusal),
        _ => Ok(()),
    }
}

/// What a launch template says of its instances and moto forgets to give them: profile, metadata options, monitoring.
fn instances(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    let memory = state.memory();
    let reservations = answer.find_mut("reservationSet").map(|set| set.children.as_mut_slice()).unwrap_or_default();
    for instance in
        reservations.iter_mut().filter_map(|one| one.child_mut("instancesSet")).flat_map(|set| &mut set.children)
    {
        let data = memory.launched_with.get(instance.get("instanceId")).and_then(|template| {
            let key = (template.get("LaunchTemplateId").to_owned(), template.get("Version").to_owned());
            memory.template_data.get(&key)
        });
        let Some(data) = data else {
            continue;
        };
        let profile = match (data.get("IamInstanceProfile.Arn"), data.get("IamInstanceProfile.Name")) {
            (Some(arn), _) => Some(arn.to_owned()),
            (None, Some(name)) => Some(format!("arn:aws:iam::{}:instance-profile/{name}", call.account())),
            (None, None) => None,
        };
        if let Some(arn) = profile {
            instance.set(Element::new("iamInstanceProfile").with(Element::leaf("arn", arn)));
        }
        if let Some(options) = instance.child_mut("metadataOptions") {
            for (parameter, member) in [
                ("MetadataOptions.HttpTokens", "httpTokens"),
                ("MetadataOptions.HttpPutResponseHopLimit", "httpPutResponseHopLimit"),
            ] {
                if let Some(value) = data.get(parameter) {
                    options.set(Element::leaf(member, value));
                }
            }
        }
        if data.text("Monitoring.Enabled") == "true" {
            instance.set(Element::new("monitoring").with(Element::leaf("state", "enabled")));
        }
    }
    Ok(reply.with_element(&answer))
}

/// The user data of an Auto Scaling instance is that of the launch template version it was launched with.
fn user_data(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let memory = state.memory();
    let Some(template) = memory.launched_with.get(call.form.text("InstanceId")) else {
        return Ok(reply);
    };
    let key = (template.get("LaunchTemplateId").to_owned(), template.get("Version").to_owned());
    let Some(user_data) = memory.template_data.get(&key).and_then(|data| data.get("UserData")) else {
        return Ok(reply);
    };
    let mut answer = reply.element()?;
    answer.set(Element::new("userData").with(Element::leaf("value", user_data)));
    Ok(reply.with_element(&answer))
}

/// The interfaces of terminated instances go with them; the emulator leaves them behind.
async fn network_interfaces(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    leave_out_terminated(state, call, &mut answer).await?;
    Ok(reply.with_element(&answer))
}

/// Takes the interfaces of terminated instances out of a description of network interfaces.
pub async fn leave_out_terminated(state: &State, call: &Call, described: &mut Element) -> Result<(), Refusal> {
    let filters = [("Filter.1.Name", "instance-state-name"), ("Filter.1.Value.1", "terminated")];
    let answer = state.upstream.ask(call, "ec2", "DescribeInstances", &filters).await?;
    let terminated: Vec<&str> = answer.all("instanceId").into_iter().map(|id| id.text.as_str()).collect();
    if let Some(interfaces) = described.find_mut("networkInterfaceSet") {
        interfaces.children.retain(|interface| {
            let attachment = interface.child("attachment");
            !attachment.is_some_and(|attachment| terminated.contains(&attachment.get("instanceId")))
        });
    }
    Ok(())
}
