//! `ticketctl exec` and `ticketctl connect`: onto an instance through Systems Manager, without SSH and open ports.

use aws_sdk_ssm::types::CommandInvocationStatus;
use clap::Args;
use rustix::process::Signal;
use std::{
    io::Write,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Global, Result, deploy, project::Project};
use crate::{
    aws::{Class, Error},
    resource::{AutoScalingGroup, Scan},
    rollout::fleet::{Fleet, State},
};

/// AWS's program that carries a session's terminal.
const PLUGIN: &str = "session-manager-plugin";
const PLUGIN_MANUAL: &str =
    "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html";

/// Instances that one SendCommand may name.
/// Source: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html>
const TARGETS: usize = 50;

#[derive(Debug, Args)]
pub struct ConnectArguments {
    /// A service, of which the first healthy instance is taken, or an instance's id.
    target: String,
}

#[derive(Debug, Args)]
pub struct ExecArguments {
    /// A service, of which the first healthy instance is taken, or an instance's id.
    target: String,

    /// On every instance of the service.
    #[arg(long)]
    all: bool,

    /// How long the command may take, in seconds.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(30..=172_800))]
    timeout: u32,

    /// The command; the shell of root runs it.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// A terminal on an instance.
pub async fn connect(global: &Global, arguments: ConnectArguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let instance = instances(&project, &arguments.target).await?.swap_remove(0);
    if which(PLUGIN).is_none() {
        return Err(Failure::new(format!("{PLUGIN} isn't installed; a session's terminal needs it")).hint(format!(
            "install it as {PLUGIN_MANUAL} says; `ticketctl exec {} -- COMMAND` works without it",
            arguments.target
        )));
    }
    let answer =
        project.cx.ssm.start_session().target(&instance).send().await.map_err(|error| refused(error.into()))?;
    // The plugin takes the answer to StartSession and the request as the AWS CLI's JSON.
    let session = serde_json::json!({
        "SessionId": answer.session_id(), "TokenValue": answer.token_value(), "StreamUrl": answer.stream_url(),
    });
    let request = serde_json::json!({ "Target": instance });
    let region = &project.cx.region;
    let endpoint = format!("https://ssm.{region}.{}", crate::aws::dns_suffix(region));
    // These are for the program on the instance. The plugin passes them on, and must not lose its terminal to the shell.
    let ignored =
        [SignalKind::interrupt(), SignalKind::quit(), SignalKind::from_raw(Signal::TSTP.as_raw())].map(signal);
    let _ignored = ignored.into_iter().collect::<std::io::Result<Vec<_>>>()?;
    let status = tokio::process::Command::new(PLUGIN)
        // In the environment, not among the arguments, which every user of this machine can read.
        .env("AWS_SSM_START_SESSION_RESPONSE", session.to_string())
        .args(["AWS_SSM_START_SESSION_RESPONSE", region, "StartSession", "", &request.to_string(), &endpoint])
        .status()
        .await?;
    Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

/// One command on one instance, or on all of a service.
pub async fn exec(global: &Global, arguments: ExecArguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let mut targets = instances(&project, &arguments.target).await?;
    if !arguments.all {
        targets.truncate(1);
    }
    let mut sent = Vec::new();
    for some in targets.chunks(TARGETS) {
        let id = send(&project, some, &arguments).await?;
        sent.extend(some.iter().map(|target| (id.clone(), target)));
    }
    let mut code = 0;
    for (id, target) in sent {
        code = code.max(result(&project, &id, target, &arguments, targets.len() > 1).await?);
    }
    Ok(code)
}

async fn send(project: &Project, targets: &[String], arguments: &ExecArguments) -> Result<String> {
    // Sent once: after a lost answer nobody knows whether the command runs already.
    let sent = project
        .cx
        .without_retries()
        .ssm
        .send_command()
        .document_name("AWS-RunShellScript")
        .set_instance_ids(Some(targets.to_vec()))
        .parameters("commands", vec![arguments.command.join(" ")])
        .parameters("executionTimeout", vec![arguments.timeout.to_string()])
        .send()
        .await
        .map_err(|error| refused(error.into()))?;
    Ok(sent.command().and_then(|command| command.command_id()).unwrap_or_default().to_owned())
}

async fn result(project: &Project, id: &str, target: &str, arguments: &ExecArguments, named: bool) -> Result<u8> {
    let begun = Instant::now();
    loop {
        let call = project.cx.ssm.get_command_invocation().command_id(id).instance_id(target);
        let answer = match call.send().await.map_err(Error::from) {
            Ok(answer) => answer,
            // The invocation is listed a moment after the command.
            Err(error) if error.code == "InvocationDoesNotExist" && begun.elapsed() < Duration::from_secs(10) => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        use CommandInvocationStatus::{Delayed, InProgress, Pending, Success};
        match answer.status() {
            Some(Pending | InProgress | Delayed) => {}
            status => {
                if named {
                    super::say(format_args!("{target}:"))?;
                }
                write!(anstream::stdout(), "{}", answer.standard_output_content().unwrap_or_default())?;
                write!(anstream::stderr(), "{}", answer.standard_error_content().unwrap_or_default())?;
                let failed = if status == Some(&Success) { 0 } else { answer.response_code().max(1) };
                return Ok(u8::try_from(failed).unwrap_or(1));
            }
        }
        // What never reaches its instance runs out by itself, a little later than what runs too long.
        if begun.elapsed() > Duration::from_secs(u64::from(arguments.timeout) + 60) {
            return Err(Failure::new(format!("no answer from {target} after {} s", begun.elapsed().as_secs())));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The instances that a service's name or an id stands for, the healthy first.
async fn instances(project: &Project, target: &str) -> Result<Vec<String>> {
    if project.cx.endpoint_url.is_some() {
        return Err(Failure::new("there is no Systems Manager agent on the instances of an emulator").hint(
            "on the local cloud an instance is a sandbox of this machine: `ticketctl local status` names its directory",
        ));
    }
    if target.starts_with("i-") {
        return Ok(vec![target.to_owned()]);
    }
    let service = deploy::named(project, Some(target))?[0];
    let groups = Scan::new(&project.cx).of::<AutoScalingGroup>().await?;
    let group = groups.iter().find(|group| group.logical_id == AutoScalingGroup::id_of(service));
    let fleet = match group {
        Some(group) => Fleet::look(&project.cx, &group.id).await?,
        None => None,
    };
    let mut members = fleet.map(|fleet| fleet.members).unwrap_or_default();
    members.sort_by_key(|member| member.state != State::Healthy);
    let ids: Vec<String> = members.into_iter().map(|member| member.id).collect();
    if ids.is_empty() { Err(Failure::new(format!("service {service} has no instances"))) } else { Ok(ids) }
}

fn refused(error: Error) -> Failure {
    let offline = error.class() == Class::Invalid || error.code == "TargetNotConnected";
    let failure = Failure::from(error);
    if offline {
        failure.hint("the instance's agent may not be connected yet: that takes a minute after its start")
    } else {
        failure
    }
}

fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
