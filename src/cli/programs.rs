//! The services' programs: built, checked, and sent to the control bucket before anything is changed.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};
use tokio::process::Command;

use super::{Failure, Result, project::Project};
use crate::{
    blueprint::Blueprint,
    rollout::{self, artifact::Flaw},
    stack::types::{Build, CargoBuild, Service},
    ui,
};

/// Builds the services' programs; what several services ask for only once.
///
/// # Errors
/// A build that failed, or that makes something else than the artifact.
pub async fn build(project: &Project) -> Result<()> {
    let services = project.stack.services.values();
    let mut commands = BTreeSet::new();
    let mut cargo_builds = BTreeSet::new();
    for service in services {
        match (&service.build, &service.artifact) {
            (Some(Build::Command(line)), _) => _ = commands.insert(line),
            (Some(Build::Cargo), Some(artifact)) => cargo_builds.extend(CargoBuild::of(artifact)),
            _ => {}
        }
    }
    for line in commands {
        tell(project, line);
        // Standard output is for results, so what a build says goes to standard error.
        let built = Command::new("sh")
            .args(["-c", line])
            .current_dir(&project.folder)
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .await;
        succeeded(line, built)?;
    }
    for build in cargo_builds {
        cargo(project, &build).await?;
    }
    Ok(())
}

fn tell(project: &Project, line: &str) {
    if !project.quiet {
        ui::tell(format_args!("Building: {line}"));
    }
}

fn succeeded(line: &str, built: std::io::Result<ExitStatus>) -> Result<()> {
    let status = built.map_err(|error| Failure::new(format!("`{line}` can't be run")).caused_by(error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("the build failed ({status}): {line}")).hint("nothing was changed"))
}

async fn cargo(project: &Project, build: &CargoBuild) -> Result<()> {
    let artifact = build.artifact.display();
    let folder = build.folder().ok_or_else(|| {
        Failure::new(format!("`build: true` finds no Cargo.toml in the folders above {artifact}"))
            .hint("name an artifact in a Cargo workspace's target directory, or write a command instead of `true`")
    })?;
    let arguments = build.arguments();
    let line = format!("cargo {}, in {}", arguments.join(" "), folder.display());
    tell(project, &line);
    let begun = Command::new("cargo")
        .args(arguments)
        .arg("--target-dir")
        .arg(std::path::absolute(&build.target_dir)?)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let ran = match begun {
        Ok(cargo) => cargo.wait_with_output().await,
        Err(error) => Err(error),
    };
    let (status, told) = match ran {
        Ok(ran) => (Ok(ran.status), String::from_utf8_lossy(&ran.stdout).into_owned()),
        Err(error) => (Err(error), String::new()),
    };
    succeeded(&line, status)?;
    // Cargo's own settings may send it elsewhere, and what then lies at the artifact's path is an older build.
    let made: Vec<PathBuf> = told.lines().filter_map(|line| executable(line, &build.binary)).collect();
    let is_it =
        |path: &PathBuf| path.canonicalize().ok().is_some_and(|made| build.artifact.canonicalize().ok() == Some(made));
    if made.iter().any(is_it) {
        return Ok(());
    }
    let made: Vec<_> = made.iter().map(|path| path.display().to_string()).collect();
    Err(Failure::new(format!("cargo built {}, and the artifact is {artifact}", made.join(", "))).hint(
        "name what it builds as the artifact; build.target in cargo's configuration and CARGO_BUILD_TARGET move it",
    ))
}

/// The program that a message of cargo's tells of.
fn executable(line: &str, binary: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_it = message["reason"] == "compiler-artifact" && message["target"]["name"] == binary;
    is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
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
