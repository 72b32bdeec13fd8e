//! The endpoints of a cluster, resetting parameter groups, and changing a subnet group (moto loses the group when told to).

use crate::local::gateway::call::Call;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

pub async fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    match call.operation.as_str() {
        "DescribeDBClusterEndpoints" => endpoints(state, call).await.map(Some),
        "ModifyDBSubnetGroup" => modify_subnet_group(state, call).await.map(Some),
        "ResetDBClusterParameterGroup" => {
            reset(state, call, "DescribeDBClusterParameters", "DBClusterParameterGroupName").await.map(Some)
        }
        "ResetDBParameterGroup" => reset(state, call, "DescribeDBParameters", "DBParameterGroupName").await.map(Some),
        _ => Ok(None),
    }
}

async fn endpoints(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let mut ask = Form::of([("Action", "DescribeDBClusters")]);
    if let Some(cluster) = call.form.get("DBClusterIdentifier") {
        ask.set("DBClusterIdentifier", cluster);
    }
    let clusters = state.upstream.ask_form(call, "rds", ask).await?;
    let endpoints = clusters.members("DBClusters").iter().flat_map(|cluster| {
        [("WRITER", "Endpoint"), ("READER", "ReaderEndpoint")].map(|(kind, member)| {
            Element::new("DBClusterEndpointList").with_all([
                Element::leaf("DBClusterIdentifier", cluster.get("DBClusterIdentifier")),
                Element::leaf("Endpoint", cluster.get(member)),
                Element::leaf("Status", "available"),
                Element::leaf("EndpointType", kind),
            ])
        })
    });
    let endpoints: Vec<Element> = endpoints.collect();
    Ok(Reply::result(call, [Element::new("DBClusterEndpoints").with_all(endpoints)]))
}

/// Remembers which parameters were reset; the answers about the group leave them out until they are set again.
async fn reset(state: &State, call: &Call, describe: &'static str, key: &str) -> Result<Reply, Refusal> {
    let group = call.form.text(key).to_owned();
    let described = state.upstream.ask(call, "rds", describe, &[(key, &group)]).await?;
    let all = call.form.text("ResetAllParameters") == "true";
    let named: Vec<String> = if all {
        described.members("Parameters").iter().map(|parameter| parameter.get("ParameterName").to_owned()).collect()
    } else {
        call.form.structures("Parameters").iter().map(|parameter| parameter.text("ParameterName").to_owned()).collect()
    };
    let mut memory = state.memory();
    memory.reset_parameters.extend(named.into_iter().map(|name| (describe, group.clone(), name)));
    Ok(Reply::result(call, [Element::leaf(key, group)]))
}

/// Making a group of the same name takes the old one's place in the emulator: its tags go with it.
async fn modify_subnet_group(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("DBSubnetGroupName").to_lowercase();
    let described = state.upstream.ask(call, "rds", "DescribeDBSubnetGroups", &[("DBSubnetGroupName", &name)]).await?;
    let group = described.find("DBSubnetGroup").cloned().unwrap_or_default();
    let arn = group.get("DBSubnetGroupArn");
    let tags = state.upstream.ask(call, "rds", "ListTagsForResource", &[("ResourceName", arn)]).await?;
    let description = call.form.get("DBSubnetGroupDescription").unwrap_or(group.get("DBSubnetGroupDescription"));
    let mut create = Form::of([
        ("Action", "CreateDBSubnetGroup"),
        ("DBSubnetGroupName", &name),
        ("DBSubnetGroupDescription", description),
    ]);
    for (index, subnet) in call.form.list("SubnetIds").iter().enumerate() {
        create.push(format!("SubnetIds.SubnetIdentifier.{}", index + 1), subnet);
    }
    for (index, tag) in tags.members("TagList").iter().enumerate() {
        create.push(format!("Tags.Tag.{}.Key", index + 1), tag.get("Key"));
        create.push(format!("Tags.Tag.{}.Value", index + 1), tag.get("Value"));
    }
    let created = state.upstream.ask_form(call, "rds", create).await?;
    Ok(Reply::result(call, created.find("DBSubnetGroup").cloned()))
}
