//! The exported templates of all ready stacks.

use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::environment::{program, run};
use crate::support::Ran;

/// An ARN of the right form; production then has HTTPS.
const CERTIFICATE: &str = "arn:aws:acm:ap-northeast-2:123456789012:certificate/11111111-2222-3333-4444-555555555555";

/// Writes the template of every ready stack, and of production with all that it doesn't have by itself.
fn exported(folder: &Path) -> Vec<PathBuf> {
    let stacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks");
    let files = std::fs::read_dir(&stacks).expect("the ready stacks").map(|file| file.expect("a file").path());
    let plain = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut templates: Vec<PathBuf> = plain
        .map(|stack| {
            let name = stack.file_stem().expect("a name").to_string_lossy().into_owned();
            export(folder, &name, &stack, &[])
        })
        .collect();
    templates.push(export(folder, "prod-https", &stacks.join("prod.yaml"), &["--set", "network.nat=none"]));
    templates
}

fn export(folder: &Path, name: &str, stack: &Path, more: &[&str]) -> PathBuf {
    let path = folder.join(format!("{name}.yaml"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
    command.args(["export", "cloudformation", "-f"]).arg(stack).args(more).env_clear().stdin(Stdio::null());
    if name == "prod-https" {
        command.env("TICKETCTL_CERTIFICATE", CERTIFICATE);
    }
    std::fs::write(&path, run(command).exits(0).out).expect("a writable folder");
    path
}

#[test]
fn cloudformation_s_schemas_and_rules_have_nothing_against_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut templates = exported(folder.path());
    // So long a name that nothing of the account is left in the bucket's.
    let long = ["--set", "project=tickets-of-all-the-theatres", "--set", "environment=production-of-the-south"];
    let prod = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/prod.yaml");
    templates.push(export(folder.path(), "prod-long", &prod, &long));
    let mut lint = program("cfn-lint");
    // A stack file says its zones, so they stand in the template.
    lint.args(["--ignore-checks", "W3010", "--"]).args(templates);
    let Ran { code, out, err } = run(lint);
    assert_eq!((code, out.as_str()), (0, ""), "{out}{err}");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    check: String,
    templates: Templates,
    resources: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    Some(Vec<String>),
    All(String),
}

impl Accepted {
    fn covers(&self, finding: &Finding) -> bool {
        let here = match &self.templates {
            Templates::Some(names) => names.contains(&finding.template),
            Templates::All(all) => all == "*",
        };
        here && self.check == finding.check && self.resources.contains(&finding.resource)
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    check: String,
    template: String,
    resource: String,
    says: String,
}

/// What checkov finds; it gives one report, or a list of them.
fn findings(report: &Value) -> BTreeSet<Finding> {
    let reports = report.as_array().map_or(std::slice::from_ref(report), Vec::as_slice);
    let failed = reports.iter().flat_map(|report| report["results"]["failed_checks"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    failed
        .map(|failed| Finding {
            check: text(&failed["check_id"]),
            template: file_stem(&text(&failed["file_path"])),
            resource: text(&failed["resource"]).rsplit('.').next().unwrap_or_default().to_owned(),
            says: text(&failed["check_name"]),
        })
        .collect()
}

fn file_stem(path: &str) -> String {
    Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[test]
fn what_checkov_finds_is_known_and_has_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let templates = exported(folder.path());
    let mut checkov = program("checkov");
    checkov.args(["--framework", "cloudformation", "--skip-download", "--output", "json", "--soft-fail", "--file"]);
    checkov.args(&templates).env("HOME", folder.path());
    let report = run(checkov).exits(0).json();
    let findings = findings(&report);
    assert!(!findings.is_empty(), "checkov has looked at nothing: {report}");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkov-accepted.yaml");
    let text = std::fs::read_to_string(path).expect("the accepted findings");
    let accepted: Vec<Accepted> = serde_yaml::from_str(&text).expect("a list of accepted findings");
    let new: Vec<_> = findings.iter().filter(|finding| !accepted.iter().any(|known| known.covers(finding))).collect();
    assert!(new.is_empty(), "not accepted: {new:#?}");
    for known in &accepted {
        assert!(!known.reason.is_empty(), "{} has no reason", known.check);
        for resource in &known.resources {
            let needed = findings.iter().any(|finding| known.covers(finding) && finding.resource == *resource);
            assert!(needed, "checkov doesn't find {} in {resource} any more", known.check);
        }
    }
}
