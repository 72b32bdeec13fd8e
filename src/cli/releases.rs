//! `ticketctl releases`: what ran when.

use clap::Args;
use futures::future::try_join_all;
use std::{collections::BTreeMap, io::Write};

use super::{Global, Result, deploy, project::Project};
use crate::{
    resource::{LaunchTemplate, Scan},
    rollout::release::{self, Release},
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Which service; all if left out.
    service: Option<String>,

    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let services = deploy::named(&project, arguments.service.as_deref())?;
    let templates = Scan::new(&project.cx).of::<LaunchTemplate>().await?;
    let project = &project;
    let listings = services.iter().filter_map(|service| {
        let id = LaunchTemplate::id_of(service);
        let template = templates.iter().find(|template| template.logical_id == id)?;
        Some(async move { Result::Ok(((*service).clone(), release::list(&project.cx, &template.id).await?)) })
    });
    let releases: BTreeMap<String, Vec<Release>> = try_join_all(listings).await?.into_iter().collect();
    let mut out = anstream::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&releases).expect("releases are plain data"))?;
        return Ok(0);
    }
    for (service, releases) in &releases {
        writeln!(out, "{service}")?;
        for release in releases {
            writeln!(out, "{}", ui::release::line(release))?;
        }
    }
    Ok(0)
}
