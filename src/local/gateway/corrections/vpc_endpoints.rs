//! VPC endpoints that are gone, and what a change of one means for subnets and route tables.

use super::ec2::delete_interface;
use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

/// AWS stops listing an endpoint soon after it was deleted; the emulator lists it for ever.
pub fn listed(call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    let Some(endpoints) = answer.find_mut("vpcEndpointSet") else {
        return Ok(reply);
    };
    endpoints.children.retain(|endpoint| endpoint.get("state") != "deleted");
    for id in call.form.list("VpcEndpointId") {
        if !endpoints.children.iter().any(|endpoint| endpoint.get("vpcEndpointId") == id) {
            let message = format!("The Vpc Endpoint Id '{id}' does not exist");
            return Err(Refusal::new("InvalidVpcEndpointId.NotFound", message));
        }
    }
    Ok(reply.with_element(&answer))
}

/// Does the rest of a change: the emulator only notes which subnets and route tables the endpoint has now.
pub async fn modified(state: &State, call: &Call) -> Result<(), Refusal> {
    let id = [("VpcEndpointId.1", call.form.text("VpcEndpointId"))];
    let endpoint = state.upstream.ask(call, "ec2", "DescribeVpcEndpoints", &id).await?;
    leave_subnets(state, call, &endpoint).await?;
    follow_route_tables(state, call, &endpoint).await
}

/// An endpoint that leaves a subnet takes its network interface there with it.
async fn leave_subnets(state: &State, call: &Call, endpoint: &Element) -> Result<(), Refusal> {
    let held: Vec<&str> = endpoint.members("networkInterfaceIdSet").iter().map(|id| id.text.as_str()).collect();
    for subnet in call.form.list("RemoveSubnetId") {
        let filter = [("Filter.1.Name", "subnet-id"), ("Filter.1.Value.1", subnet.as_str())];
        let interfaces = state.upstream.ask(call, "ec2", "DescribeNetworkInterfaces", &filter).await?;
        for interface in interfaces.members("networkInterfaceSet") {
            let id = interface.get("networkInterfaceId");
            if held.contains(&id) {
                delete_interface(state, call, id).await?;
            }
        }
    }
    Ok(())
}

/// A gateway endpoint has a route in each of its tables. Without it the emulator fails to delete the endpoint.
async fn follow_route_tables(state: &State, call: &Call, endpoint: &Element) -> Result<(), Refusal> {
    let changes = [("CreateRoute", "AddRouteTableId"), ("DeleteRoute", "RemoveRouteTableId")];
    let service = endpoint.find("serviceName").map(|name| name.text.as_str()).unwrap_or_default();
    let lists = state.upstream.ask(call, "ec2", "DescribePrefixLists", &[]).await?;
    let Some(list) = lists.members("prefixListSet").iter().find(|list| list.get("prefixListName") == service) else {
        return Ok(());
    };
    for (action, tables) in changes {
        for table in call.form.list(tables) {
            let route = [
                ("RouteTableId", table.as_str()),
                ("DestinationPrefixListId", list.get("prefixListId")),
                ("GatewayId", call.form.text("VpcEndpointId")),
            ];
            match state.upstream.ask(call, "ec2", action, &route).await {
                // The table may have gone first.
                Err(refusal) if action == "DeleteRoute" && refusal.code.ends_with(".NotFound") => {}
                answer => drop(answer?),
            }
        }
    }
    Ok(())
}
