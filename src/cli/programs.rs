//! The services' programs: built, checked, and sent to the control bucket before anything is changed.

use std::{collections::BTreeSet, process::Stdio};
use tokio::process::Command;

use super::{Failure, Result, project::Project};
use crate::{
    blueprint::Blueprint,
    rollout::{self, artifact::Flaw},
    stack::types::Service,
    ui,
};

/// Runs the services' build commands; of equal ones only the first.
///
/// # Errors
/// A command that failed or isn't there.
pub async fn build(project: &Project) -> Result<()> {
    let commands: BTreeSet<&str> =
        project.stack.services.values().filter_map(|service| service.build.as_deref()).collect();
    for line in commands {
        if !project.quiet {
            ui::tell(format_args!("Building: {line}"));
        }
        // Standard output is for results, so what a build says goes to standard error.
        let status = Command::new("sh")
            .args(["-c", &format!("{{ {line}\n}} >&2")])
            .current_dir(&project.folder)
            .stdin(Stdio::null())
            .status()
            .await
            .map_err(|error| Failure::new(format!("`{line}` can't be run")).caused_by(error))?;
        if !status.success() {
            return Err(Failure::new(format!("the build failed ({status}): {line}")).hint("nothing was changed"));
        }
    }
    Ok(())
}

/// Refuses programs that can't run where they are to run, and says what becomes of those that aren't built. `must_run`:
/// a service without any program is refused as well.
///
/// # Errors
/// The first flaw, with what to do.
pub async fn check(project: &Project, blueprint: &Blueprint, must_run: bool) -> Result<()> {
    for (service, flaw) in &project.programs().await.flawed {
        let failure = || Failure::new(format!("service {service}: {flaw}")).hint(flaw.hint());
        match (flaw, blueprint.artifacts.get(service)) {
            (Flaw::Missing(_), Some(running)) => {
                let hash = &running.sha256[..12];
                project.tell_warning(format_args!(
                    "service {service}: {flaw}; its instances keep what they run ({hash}…)"
                ));
            }
            (Flaw::Missing(_), None) if !must_run => {
                project.tell_warning(format_args!("service {service}: {flaw} yet; apply needs it"));
            }
            _ => return Err(failure()),
        }
    }
    Ok(())
}

/// Refuses a plan from before there was anything to run.
///
/// # Errors
/// A service without a program.
pub fn check_planned(project: &Project, blueprint: &Blueprint) -> Result<()> {
    let is_bare =
        |(name, service): &(&String, &Service)| service.artifact.is_some() && !blueprint.artifacts.contains_key(*name);
    match project.stack.services.iter().find(is_bare) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Failure::new(format!("the plan was made before the artifact of service {name} was built"))
                .hint("build it and make a new plan"))
        }
    }
}

/// Sends what the blueprint's services run to the control bucket, as far as it isn't there.
///
/// # Errors
/// Calls that failed, and a program that is neither there nor here.
pub async fn upload(project: &Project, blueprint: &Blueprint) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (service, artifact) in &blueprint.artifacts {
        if !seen.insert(&artifact.sha256) || rollout::is_there(&project.cx, artifact).await? {
            continue;
        }
        let Some(program) = project.programs().await.with_hash(&artifact.sha256) else {
            let hash = &artifact.sha256[..12];
            return Err(Failure::new(format!(
                "service {service} is to run {hash}…, which is neither built here nor uploaded"
            ))
            .hint("make a new plan after the build"));
        };
        if !project.quiet {
            let size = ui::bytes(program.size);
            ui::tell(format_args!("Uploading {} ({size}) as {}…", program.path.display(), &artifact.sha256[..12]));
        }
        rollout::upload(&project.cx, program, artifact).await?;
    }
    Ok(())
}
