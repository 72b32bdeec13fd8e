//! Region, zones, addresses and ways out.

use ipnet::Ipv4Net;

use super::Checker;
use crate::stack::diagnostic::{did_you_mean, one_of};
use crate::stack::facts::registry::private_registry;
use crate::stack::facts::{limits, regions};
use crate::stack::types::{NatMode, Subnets};

pub(super) fn check(c: &mut Checker<'_>) {
    region(c);
    zones(c);
    vpc(c);
    if let Some(subnets) = &c.stack.network.subnets {
        written_subnets(c, subnets);
    }
    capacity(c);
    ways_out(c);
    endpoints(c);
}

fn region(c: &mut Checker<'_>) {
    let region = c.stack.region.as_str();
    if regions::find(region).is_some() {
        return;
    }
    let similar = did_you_mean(region, regions::REGIONS.iter().map(|r| r.name));
    if regions::is_plausible(region) && similar.is_none() {
        c.warning("unknown-region", format!("ticketctl doesn't know the region `{region}`"))
            .at("region", "its zones can't be checked")
            .report();
        return;
    }
    c.error("region", format!("AWS has no region `{region}`")).at("region", "").maybe_help(similar).report();
}

fn zones(c: &mut Checker<'_>) {
    let stack = c.stack;
    let zones = stack.zones();
    let region = regions::find(&stack.region);
    for (index, zone) in zones.iter().enumerate() {
        let path = format!("network.zones[{index}]");
        if zones[..index].contains(zone) {
            c.error("zones", format!("the zone {zone} is listed twice")).at(&path, "").report();
            continue;
        }
        let Some(region) = region else { continue };
        let letters = || region.zones.chars().map(|letter| letter.to_string()).collect::<Vec<_>>();
        let letter = zone.strip_prefix(region.name).unwrap_or_default();
        let is_one = |letters: &str| letter.len() == 1 && letters.contains(letter);
        if is_one(region.some) {
            c.warning("zones", format!("only some accounts have the zone {zone}")).at(&path, "").report();
        } else if !is_one(region.zones) {
            let letters = letters();
            c.error("zones", format!("the region {} has no zone `{}`", region.name, stack.network.zones[index]))
                .at(&path, "")
                .at("region", "")
                .help(format!("its zones are {}", one_of(letters.iter().map(String::as_str))))
                .report();
        }
    }
    let mut distinct = zones.clone();
    distinct.sort();
    distinct.dedup();
    if distinct.len() < 2 {
        c.error("zones", "a stack needs at least two zones")
            .at("network.zones", "")
            .help("the load balancer and the database refuse to be in one zone only")
            .report();
    }
}

/// AWS takes a VPC from /16 to /28.
fn vpc(c: &mut Checker<'_>) {
    let network = &c.stack.network;
    let cidr = network.cidr;
    host_bits(c, "network.cidr", cidr);
    if !(16..=28).contains(&cidr.prefix_len()) {
        c.error("cidr", format!("a VPC can't be a /{}", cidr.prefix_len()))
            .at("network.cidr", "AWS allows /16 to /28")
            .report();
    } else if network.subnet_layout().is_none() {
        c.error("cidr", "the VPC is too small to be cut into subnets")
            .at("network.cidr", "")
            .help(format!(
                "use a /22 or larger (the load balancer needs subnets of /{}), or write out `network.subnets`",
                limits::LOAD_BALANCER_PREFIX
            ))
            .report();
    }
    if let Some(reserved) =
        RESERVED.iter().find_map(|net| net.parse::<Ipv4Net>().ok().filter(|net| net.contains(&cidr)))
    {
        c.error("cidr", format!("a VPC can't be in {reserved}"))
            .at("network.cidr", "these addresses belong to no network")
            .help("use a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
            .report();
    } else if !is_private(cidr) {
        c.warning("cidr", format!("{cidr} is not a private network"))
            .at("network.cidr", "hosts of the internet with these addresses can't be reached from here")
            .help("use a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
            .report();
    }
}

/// This host, loopback, link-local, multicast and what lies above it. Source: RFC 6890.
const RESERVED: [&str; 5] = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"];

fn is_private(cidr: Ipv4Net) -> bool {
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
        .iter()
        .filter_map(|net| net.parse::<Ipv4Net>().ok())
        .any(|private| private.contains(&cidr))
}

/// Refuses `10.0.0.5/16`.
pub(super) fn host_bits(c: &mut Checker<'_>, path: &str, net: Ipv4Net) {
    if net.trunc() != net {
        c.error("cidr", format!("{net} is an address in a network and not a network"))
            .at(path, "")
            .help(format!("did you mean `{}`?", net.trunc()))
            .report();
    }
}

/// The subnets of all tiers, with their paths.
fn with_paths(subnets: &Subnets) -> Vec<(String, Ipv4Net)> {
    let tiers = [("public", &subnets.public), ("private", &subnets.private), ("database", &subnets.database)];
    let in_tier = |(tier, nets): (&'static str, &Vec<Ipv4Net>)| {
        let nets = nets.clone().into_iter().enumerate();
        nets.map(move |(index, net)| (format!("network.subnets.{tier}[{index}]"), net))
    };
    tiers.into_iter().flat_map(in_tier).collect()
}

fn written_subnets(c: &mut Checker<'_>, subnets: &Subnets) {
    let network = &c.stack.network;
    let zones = network.zones.len();
    for (tier, nets) in [("public", &subnets.public), ("private", &subnets.private), ("database", &subnets.database)] {
        if nets.len() != zones {
            c.error("subnets", format!("{} {tier} subnets for {zones} zones", nets.len()))
                .at(&format!("network.subnets.{tier}"), "write one per zone")
                .at("network.zones", "")
                .report();
        }
    }
    let all = with_paths(subnets);
    for (index, (path, net)) in all.iter().enumerate() {
        host_bits(c, path, *net);
        if !network.cidr.trunc().contains(net) {
            c.error("subnets", format!("{net} lies outside the VPC"))
                .at(path, "")
                .at("network.cidr", "the VPC")
                .report();
        }
        if !(16..=28).contains(&net.prefix_len()) {
            c.error("subnets", format!("a subnet can't be a /{}", net.prefix_len()))
                .at(path, "AWS allows /16 to /28")
                .report();
        } else if path.contains(".public") && net.prefix_len() > limits::LOAD_BALANCER_PREFIX {
            c.error("subnets", format!("{net} is too small for the load balancer"))
                .at(path, format!("needs a /{} or larger", limits::LOAD_BALANCER_PREFIX))
                .report();
        }
        for (other_path, other) in &all[..index] {
            if net.contains(other) || other.contains(net) {
                c.error("subnets", format!("{net} and {other} overlap")).at(path, "").at(other_path, "").report();
            }
        }
    }
}

/// Addresses that instances can have in a subnet.
fn usable(net: Ipv4Net, endpoints: usize) -> u64 {
    let all = 1_u64 << (32 - u32::from(net.prefix_len()));
    all.saturating_sub(limits::RESERVED_ADDRESSES + endpoints as u64)
}

/// All services at their maximum must fit into the private subnets.
fn capacity(c: &mut Checker<'_>) {
    let stack = c.stack;
    let Some(layout) = stack.network.subnet_layout() else {
        return;
    };
    database_capacity(c, &layout);
    let endpoints = stack.interface_endpoints().len();
    // Each endpoint has an address in each of them.
    if let Some(full) = layout.private.iter().find(|net| usable(**net, 0) < endpoints as u64) {
        c.error("capacity", format!("{endpoints} VPC endpoints don't fit into the private subnet {full}"))
            .at("network.subnets.private", format!("has room for {}", usable(*full, 0)))
            .at("network.endpoints", "")
            .report();
        return;
    }
    let room: u64 = layout.private.iter().map(|net| usable(*net, endpoints)).sum();
    let wanted: u64 = stack.services.values().map(|s| u64::from(s.instances.max)).sum();
    let largest = stack.services.iter().max_by_key(|(_, s)| s.instances.max);
    let Some((service, _)) = largest.filter(|_| wanted > room) else {
        return;
    };
    c.error("capacity", format!("{wanted} instances don't fit into the private subnets, which have room for {room}"))
        .at(&format!("services.{service}.instances.max"), "the most instances")
        .at("network.cidr", "the VPC")
        .maybe_help(larger_subnets(stack.network.cidr, stack.network.zones.len(), wanted))
        .report();
}

/// All database instances and Redis nodes must fit into the database subnets.
fn database_capacity(c: &mut Checker<'_>, layout: &Subnets) {
    let database = c.stack.database.as_ref().map_or(0, |database| database.readers + 1);
    let cache =
        c.stack.cache.as_ref().map_or(0, |cache| {
            cache.replicas + 1 + cache.eviction.as_ref().map_or(0, |eviction| eviction.replicas + 1)
        });
    let nodes = u64::from(database + cache);
    let room: u64 = layout.database.iter().map(|net| usable(*net, 0)).sum();
    if nodes > room {
        c.error("capacity", format!("{nodes} database and Redis nodes don't fit into the database subnets"))
            .at("network.subnets.database", format!("have room for {room}"))
            .report();
    }
}

/// Subnets to write out that have room for `wanted` instances: the VPC in 32 parts, or 16 for two or three zones.
fn larger_subnets(cidr: Ipv4Net, zones: usize, wanted: u64) -> Option<String> {
    let bits = if zones <= 5 { 4 } else { 5 };
    let parts: Vec<Ipv4Net> = cidr.trunc().subnets(cidr.prefix_len() + bits).ok()?.collect();
    let tiers: Vec<&[Ipv4Net]> = parts.chunks_exact(zones.max(1)).take(3).collect();
    let [public, private, database] = tiers.as_slice() else {
        return None;
    };
    let room: u64 = private.iter().map(|net| usable(*net, 0)).sum();
    let list = |nets: &[Ipv4Net]| nets.iter().map(Ipv4Net::to_string).collect::<Vec<_>>().join(", ");
    (room >= wanted).then(|| {
        format!(
            "write larger ones out under `network.subnets`: public: [{}], private: [{}], database: [{}]; \
             moving the subnets of a stack that is there replaces what lives in them",
            list(public),
            list(private),
            list(database)
        )
    })
}

fn ways_out(c: &mut Checker<'_>) {
    let stack = c.stack;
    if stack.network.nat == NatMode::Single && stack.protect {
        c.warning("single-nat", "one NAT gateway for all zones of a protected stack")
            .at("network.nat", "when its zone is lost, no zone reaches the internet")
            .help("use `per-zone`")
            .report();
    }
    for (name, service) in &stack.services {
        // Interface endpoints lead to their own region only.
        let reached = |image: &str| private_registry(image).is_some_and(|registry| registry.region == stack.region);
        if stack.network.nat == NatMode::None && service.image.as_deref().is_some_and(|image| !reached(image)) {
            c.error("no-way-out", format!("without NAT an image can come from the ECR of {} only", stack.region))
                .at(&format!("services.{name}.image"), "can't be reached")
                .at("network.nat", "")
                .report();
        }
    }
}

fn endpoints(c: &mut Checker<'_>) {
    let stack = c.stack;
    let all = stack.interface_endpoints();
    // There some services' begin with the name of another company, and which do isn't known here.
    if !all.is_empty() && ["cn-", "eusc-"].iter().any(|beginning| stack.region.starts_with(beginning)) {
        c.error("endpoint", format!("ticketctl doesn't know what VPC endpoints are called in {}", stack.region))
            .at("network.nat", "")
            .at("network.endpoints", "")
            .help("use NAT gateways, and no endpoints")
            .report();
    }
    // What an endpoint is called in the stack.
    let id = |endpoint: &str| endpoint.replace('.', "-");
    for (index, endpoint) in stack.network.endpoints.iter().enumerate() {
        let path = format!("network.endpoints[{index}]");
        let before = stack.network.endpoints[..index].iter();
        let brought = all.iter().filter(|other| !stack.network.endpoints.contains(other));
        if let Some(other) = before.chain(brought).find(|other| id(other) == id(endpoint)) {
            c.error("endpoint", format!("the endpoint `{other}` is there already")).at(&path, "leave it out").report();
            continue;
        }
        if endpoint == "s3" {
            c.error("endpoint", "every stack has an endpoint of S3 already")
                .at(&path, "leave it out")
                .help("it is a gateway endpoint, which costs nothing")
                .report();
            continue;
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if let Some(short) = endpoint.strip_prefix(&format!("com.amazonaws.{}.", stack.region)) {
            c.error("endpoint", "an endpoint is written by its short name")
                .at(&path, "")
                .help(format!("did you mean `{short}`?"))
                .report();
        } else if endpoint.is_empty() || !endpoint.chars().all(plain) {
            c.error("endpoint", format!("`{endpoint}` can't be the name of a VPC endpoint")).at(&path, "").report();
        } else if !limits::ENDPOINTS.contains(&endpoint.as_str()) {
            c.warning("endpoint", format!("ticketctl doesn't know the VPC endpoint `{endpoint}`"))
                .at(&path, "AWS may refuse this")
                .maybe_help(did_you_mean(endpoint, limits::ENDPOINTS.iter().copied()))
                .report();
        }
    }
}
