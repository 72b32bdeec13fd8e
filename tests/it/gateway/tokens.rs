//! Client tokens.

use super::world::{code, network};
use crate::support::Endpoint;

#[tokio::test]
async fn a_repeated_token_answers_with_the_first_result() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let address = cx.ec2.allocate_address().send().await.expect("an address");
    let address = address.allocation_id().expect("its id");
    let create = |subnet: &str| {
        let create = cx.ec2.create_nat_gateway().subnet_id(subnet).allocation_id(address);
        create.client_token("token-1").send()
    };
    let first = create(&network.subnets[0]).await.expect("a gateway");
    let again = create(&network.subnets[0]).await.expect("the same gateway");
    let id = |nat: &aws_sdk_ec2::operation::create_nat_gateway::CreateNatGatewayOutput| {
        nat.nat_gateway().and_then(|nat| nat.nat_gateway_id()).map(str::to_owned)
    };
    assert!(id(&first).is_some());
    assert_eq!(id(&first), id(&again));
    let all = cx.ec2.describe_nat_gateways().send().await.expect("the gateways");
    assert_eq!(all.nat_gateways().len(), 1);
    assert_eq!(code(create(&network.subnets[1]).await), "IdempotentParameterMismatch");
}
