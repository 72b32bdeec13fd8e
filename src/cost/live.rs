//! AWS's prices of today, from its Price List API.
//!
//! Source: <https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html>

use aws_sdk_pricing::types::{Filter, FilterType};
use futures::{StreamExt, TryStreamExt};
use regex_lite::Regex;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

use super::Item;
use crate::aws::{Context, Result};

/// How many questions are under way at a time: the API throttles early.
const AT_A_TIME: usize = 4;

/// What was found. What wasn't is told by its absence.
#[derive(Clone, Debug, Default)]
pub struct Live {
    pub prices: BTreeMap<Item, f64>,
    /// When the newest of them was published: `2026-11-12`.
    pub published: Option<String>,
}

/// Asks for the prices of all these in a region.
///
/// # Errors
/// AWS's refusal, or no answer. A price that the list lacks isn't one.
pub async fn ask(cx: &Context, items: &BTreeSet<Item>) -> Result<Live> {
    let asked = items.iter().map(|item| async move { products(cx, item).await.map(|found| (item, found)) });
    let answers: Vec<_> = futures::stream::iter(asked).buffer_unordered(AT_A_TIME).try_collect().await?;
    let mut live = Live::default();
    for (item, products) in answers {
        if let Some((price, published)) = price(item, &products) {
            live.prices.insert(item.clone(), price);
            live.published = live.published.max(published);
        }
    }
    Ok(live)
}

async fn products(cx: &Context, item: &Item) -> Result<Vec<String>> {
    let Query { service, family, more, .. } = Query::of(item);
    // A dashboard costs the same everywhere, and is in the list without a region.
    let region = (*item != Item::Dashboard).then_some(("regionCode", cx.region.as_str()));
    let filters = family.map(|family| ("productFamily", family)).into_iter().chain(region).chain(more);
    let filter = |(field, value): (&str, &str)| {
        Filter::builder().r#type(FilterType::TermMatch).field(field).value(value).build()
    };
    let filters = filters.map(filter).collect::<std::result::Result<Vec<_>, _>>();
    let filters =
        filters.map_err(|error| crate::aws::Error::unexpected("pricing", "GetProducts", error.to_string()))?;
    let pages = cx.pricing.get_products().service_code(service).set_filters(Some(filters)).into_paginator();
    Ok(pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?)
}

/// How an item is found in the list: by filters that AWS applies, and by its usage type, which a prefix of the region precedes.
struct Query<'a> {
    service: &'static str,
    family: Option<&'static str>,
    usage: String,
    more: Vec<(&'static str, &'a str)>,
}

impl Query<'_> {
    fn of(item: &Item) -> Query<'_> {
        let plain = |service, family, usage: &str| Query { service, family, usage: usage.to_owned(), more: Vec::new() };
        match item {
            Item::NatGateway => plain("AmazonEC2", Some("NAT Gateway"), "NatGateway-Hours"),
            Item::LoadBalancer => plain("AWSELB", Some("Load Balancer-Application"), "LoadBalancerUsage"),
            Item::CapacityUnit => plain("AWSELB", Some("Load Balancer-Application"), "LCUUsage"),
            // It has no family.
            Item::PublicAddress => plain("AmazonVPC", None, "PublicIPv4:InUseAddress"),
            Item::InterfaceEndpoint => plain("AmazonVPC", Some("VpcEndpoint"), "VpcEndpoint-Hours"),
            Item::Volume => Query {
                more: vec![("volumeApiName", "gp3")],
                ..plain("AmazonEC2", Some("Storage"), "EBS:VolumeUsage.gp3")
            },
            Item::AuroraStorage => plain("AmazonRDS", Some("Database Storage"), "Aurora:StorageUsage"),
            Item::Metric => plain("AmazonCloudWatch", Some("Metric"), "CW:MetricMonitorUsage"),
            Item::Alarm => plain("AmazonCloudWatch", Some("Alarm"), "CW:AlarmMonitorUsage"),
            Item::Dashboard => plain("AmazonCloudWatch", Some("Dashboard"), "DashboardsUsageHour"),
            Item::Secret => plain("AWSSecretsManager", Some("Secret"), "AWSSecretsManager-Secrets"),
            Item::Instance(machine) => Query {
                more: vec![
                    ("instanceType", machine),
                    ("operatingSystem", "Linux"),
                    ("tenancy", "Shared"),
                    ("preInstalledSw", "NA"),
                    ("capacitystatus", "Used"),
                ],
                ..plain("AmazonEC2", Some("Compute Instance"), &format!("BoxUsage:{machine}"))
            },
            Item::Aurora(class) => Query {
                more: vec![("instanceType", class), ("databaseEngine", "Aurora MySQL")],
                ..plain("AmazonRDS", Some("Database Instance"), &format!("InstanceUsage:{class}"))
            },
            Item::Redis(class) => Query {
                more: vec![("instanceType", class), ("cacheEngine", "Redis")],
                ..plain("AmazonElastiCache", Some("Cache Instance"), &format!("NodeUsage:{class}"))
            },
        }
    }
}

/// A product of the list with its terms, as each text of the answer holds one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Product {
    product: Described,
    terms: Terms,
    publication_date: Option<String>,
}

#[derive(Deserialize)]
struct Described {
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Terms {
    #[serde(rename = "OnDemand", default)]
    on_demand: BTreeMap<String, Term>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    price_dimensions: BTreeMap<String, Dimension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimension {
    unit: String,
    #[serde(default)]
    begin_range: Option<String>,
    price_per_unit: BTreeMap<String, String>,
}

/// The price of an item and the day of its publication; none if the products have none for it, or several.
fn price(item: &Item, products: &[String]) -> Option<(f64, Option<String>)> {
    let usage = regex_lite::escape(&Query::of(item).usage);
    // Regions begin with three letters and a number, Ireland with EU; other prefixes are other products.
    let wanted = Regex::new(&format!("^(?:[A-Z]{{3}}[0-9]{{1,2}}-|EU-)?{usage}$")).ok()?;
    let products = products.iter().filter_map(|text| serde_json::from_str::<Product>(text).ok());
    let is_it =
        |product: &Product| product.product.attributes.get("usagetype").is_some_and(|usage| wanted.is_match(usage));
    let mut found: Option<(f64, Option<String>)> = None;
    for product in products.filter(is_it) {
        let Some(price) = product.terms.on_demand.values().find_map(|term| first_paid(term, item)) else { continue };
        if found.as_ref().is_some_and(|(other, _)| *other != price) {
            return None;
        }
        let published = product.publication_date.map(|date| date.chars().take(10).collect());
        found = Some((price, published));
    }
    found
}

/// The price of the first that is paid for: a free tier comes before it, a discount for many after it.
fn first_paid(term: &Term, item: &Item) -> Option<f64> {
    let begin = |dimension: &Dimension| dimension.begin_range.as_ref().and_then(|begin| begin.parse::<f64>().ok());
    let in_dollars = |dimension: &Dimension| dimension.price_per_unit.get("USD")?.parse::<f64>().ok();
    let hourly = |unit: &str| unit.to_ascii_lowercase().contains("hr") || unit.to_ascii_lowercase().contains("hour");
    let fitting = term.price_dimensions.values().filter(|dimension| hourly(&dimension.unit) == item.is_hourly());
    let paid = fitting.filter_map(|dimension| Some((begin(dimension).unwrap_or_default(), in_dollars(dimension)?)));
    paid.filter(|(_, price)| *price > 0.0).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, price)| price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn product(usage: &str, unit: &str, tiers: &[(&str, &str)]) -> String {
        let dimension = |(begin, price): &(&str, &str)| {
            let tier = json!({"unit": unit, "beginRange": begin, "endRange": "Inf", "pricePerUnit": {"USD": price}});
            (format!("SKU.TERM.{begin}"), tier)
        };
        let dimensions: serde_json::Map<_, _> = tiers.iter().map(dimension).collect();
        json!({
            "product": {"productFamily": "any", "attributes": {"usagetype": usage}, "sku": "SKU"},
            "serviceCode": "any",
            "terms": {"OnDemand": {"SKU.TERM": {"priceDimensions": dimensions, "sku": "SKU", "termAttributes": {}}}},
            "version": "20261112000000", "publicationDate": "2026-11-12T08:30:00Z",
        })
        .to_string()
    }

    #[test]
    fn a_price_is_found_by_its_usage_type_whatever_the_region_s_prefix() {
        for usage in ["LoadBalancerUsage", "APN2-LoadBalancerUsage", "EU-LoadBalancerUsage"] {
            let products = [
                product("APN2-TS-LoadBalancerUsage", "Hrs", &[("0", "0.0056")]),
                product("APN2-Outposts-LoadBalancerUsage", "Hrs", &[("0", "0.0252")]),
                product(usage, "Hrs", &[("0", "0.0225000000")]),
            ];
            assert_eq!(price(&Item::LoadBalancer, &products), Some((0.0225, Some("2026-11-12".into()))), "{usage}");
        }
        let node = Item::Redis("cache.t3.micro".into());
        assert_eq!(price(&node, &[product("APN2-NodeUsage:cache.t3.microx", "Hrs", &[("0", "1")])]), None);
    }

    #[test]
    fn the_first_tier_that_is_paid_for_counts() {
        let metrics = [product("CW:MetricMonitorUsage", "Metrics", &[("10000", "0.10"), ("0", "0.30")])];
        assert_eq!(price(&Item::Metric, &metrics).map(|(price, _)| price), Some(0.30));
        let dashboards = [product("DashboardsUsageHour", "Dashboards", &[("0", "0.00"), ("3", "3.00")])];
        assert_eq!(price(&Item::Dashboard, &dashboards).map(|(price, _)| price), Some(3.0));
    }

    #[test]
    fn what_cannot_be_told_for_certain_is_not_told() {
        let two = [
            product("NatGateway-Hours", "Hrs", &[("0", "0.059")]),
            product("NatGateway-Hours", "Hrs", &[("0", "0.07")]),
        ];
        assert_eq!(price(&Item::NatGateway, &two), None);
        let other_unit = [product("AWSSecretsManager-Secrets", "Hrs", &[("0", "0.40")])];
        assert_eq!(price(&Item::Secret, &other_unit), None);
        let yuan = product("NatGateway-Hours", "Hrs", &[("0", "0.37")]).replace("USD", "CNY");
        assert_eq!(price(&Item::NatGateway, &[yuan, "no JSON".into()]), None);
    }
}
