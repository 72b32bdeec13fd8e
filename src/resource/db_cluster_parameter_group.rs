//! Parameters of a whole Aurora cluster.

use aws_sdk_rds::types::Parameter;

use super::{
    db_parameter_group::{Asked, ParameterGroup, ParameterGroupSpec, Scope},
    rds,
};
use crate::aws::{Context, Error, Result, Tags};

/// Parameters of a whole cluster.
pub type DbClusterParameterGroup = ParameterGroup<OfCluster>;

/// All instances of a cluster together.
pub struct OfCluster;

impl Scope for OfCluster {
    const NAME: &'static str = "db_cluster_parameter_group";
    const ID: &'static str = "db-cluster-parameters";
    const SUFFIX: &'static str = "cluster-pg";
    const ARN_PART: &'static str = "cluster-pg";
    const WHAT: &'static str = "the database";

    async fn create(cx: &Context, spec: &ParameterGroupSpec, description: String, tags: &Tags) -> Result<()> {
        let call = cx.rds.create_db_cluster_parameter_group().db_cluster_parameter_group_name(&spec.name);
        let call = call.db_parameter_group_family(&spec.family).description(description);
        call.set_tags(Some(rds::list(tags))).send().await?;
        Ok(())
    }

    async fn describe(cx: &Context, group: &str, asked: Asked) -> Result<Vec<Parameter>> {
        let (source, filters) = asked.terms();
        let call = cx.rds.describe_db_cluster_parameters().db_cluster_parameter_group_name(group);
        let pages = call.set_source(source).set_filters(filters).into_paginator().items().send();
        pages.collect::<std::result::Result<_, _>>().await.map_err(Error::from)
    }

    async fn modify(cx: &Context, group: &str, parameters: &[Parameter]) -> Result<()> {
        let call = cx.rds.modify_db_cluster_parameter_group().db_cluster_parameter_group_name(group);
        call.set_parameters(Some(parameters.to_vec())).send().await?;
        Ok(())
    }

    async fn reset(cx: &Context, group: &str, parameters: &[Parameter]) -> Result<()> {
        let call = cx.rds.reset_db_cluster_parameter_group().db_cluster_parameter_group_name(group);
        call.set_parameters(Some(parameters.to_vec())).send().await?;
        Ok(())
    }

    async fn delete(cx: &Context, group: &str) -> Result<()> {
        cx.rds.delete_db_cluster_parameter_group().db_cluster_parameter_group_name(group).send().await?;
        Ok(())
    }
}
