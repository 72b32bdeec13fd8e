//! The script that an instance runs at its first boot, from `templates/user-data.sh.tera`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write};
use tera::{Context, Tera};

use super::Facts;
use crate::stack::facts::registry::private_registry;

/// What EC2 takes at most, in bytes, before base64.
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html>
pub const LIMIT: usize = 16 * 1024;

const NAME: &str = "user-data.sh";
const TEMPLATE: &str = include_str!("../../templates/user-data.sh.tera");

/// A program in the control bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub bucket: String,
    pub key: String,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

impl Artifact {
    /// The program with this hash, in the control bucket of the account and region.
    pub fn new(place: &Facts, stack: &str, sha256: String) -> Artifact {
        let bucket = format!("ticketctl-{}-{}", place.account, place.region);
        Artifact { bucket, key: format!("{}{sha256}", artifact_prefix(stack)), sha256 }
    }
}

/// What an instance runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    Artifact(Artifact),
    /// A container image, pinned by digest.
    Image(String),
    /// Nothing yet.
    None,
}

/// All that a boot script says.
pub struct Boot<'a> {
    pub stack: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub program: Program,
    /// What the program is started with.
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub log_group: String,
    /// The group whose name the instance's own metrics carry.
    pub group: String,
    /// Where the program listens, and the path that answers when it can take requests.
    pub port: u16,
    pub health_path: &'a str,
    /// How long the program may take to stop.
    pub stop_seconds: i32,
}

/// The namespace of the metrics that a stack's instances send; their role allows no other.
pub fn metric_namespace(stack: &str) -> String {
    format!("ticketctl/{stack}")
}

/// The script.
///
/// Everything that a value brings along is quoted by the template engine itself, so none can be forgotten.
pub fn render(boot: &Boot<'_>) -> String {
    let mut tera = Tera::default();
    tera.set_escape_fn(quote_for_shell);
    tera.autoescape_on([".sh"]);
    tera.add_raw_template(NAME, TEMPLATE).expect("the template is checked by the tests");
    let log_file = format!("/var/log/ticketctl/{}.log", boot.service);
    let words = |words: &[String]| words.iter().map(|word| systemd_word(word)).collect::<Vec<_>>().join(" ");
    let names = boot.environment.keys().flat_map(|name| ["--env".to_owned(), name.clone()]).collect::<Vec<_>>();
    let mut context = Context::new();
    context.insert("stack", boot.stack);
    context.insert("service", boot.service);
    context.insert("region", boot.region);
    context.insert("agent", &agent(boot, &log_file).to_string());
    context.insert("scrape", &scrape(boot).to_string());
    context.insert("log_file", &log_file);
    context.insert("environment", &environment(&boot.environment));
    context.insert("arguments", &words(&boot.arguments));
    context.insert("names", &words(&names));
    context.insert("stop_seconds", &boot.stop_seconds);
    context.insert("health_url", &format!("http://127.0.0.1:{}{}", boot.port, boot.health_path));
    context.insert("runs", &(boot.program != Program::None));
    let (artifact, image) = match &boot.program {
        Program::Artifact(artifact) => (Some(artifact), None),
        Program::Image(image) => (None, Some(image)),
        Program::None => (None, None),
    };
    context.insert("artifact", &artifact);
    context.insert("image", &image);
    let registry = image.and_then(|image| private_registry(image));
    context.insert("registry", &registry.map(|registry| registry.host));
    context.insert("registry_region", &registry.map(|registry| registry.region));
    tera.render(NAME, &context).expect("every variable of the template is set")
}

/// In single quotes nothing is special but the quote itself.
fn quote_for_shell(text: &str, output: &mut dyn Write) -> std::io::Result<()> {
    write!(output, "'{}'", text.replace('\'', r"'\''"))
}

/// Lines of an `EnvironmentFile`, in which double quotes keep everything but four characters as it is.
/// Source: <https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=>
fn environment(variables: &BTreeMap<String, String>) -> Vec<String> {
    let line = |(name, value): (&String, &String)| {
        let mut quoted = String::new();
        for character in value.chars() {
            if ['"', '\\', '`', '$'].contains(&character) {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        format!("{name}=\"{quoted}\"")
    };
    variables.iter().map(line).collect()
}

/// A word of a command line in a unit file: quoted, with what systemd would replace doubled.
/// Source: <https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines>
fn systemd_word(word: &str) -> String {
    let mut quoted = String::from("\"");
    for character in word.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '%' | '$' => quoted.extend([character, character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// What the agent scrapes, as Prometheus is told it; JSON is YAML, too.
fn scrape(boot: &Boot<'_>) -> Value {
    let target = json!({"targets": [format!("127.0.0.1:{}", boot.port)], "labels": {"service": boot.service}});
    json!({
        "global": {"scrape_interval": "1m"},
        "scrape_configs": [{"job_name": boot.service, "metrics_path": "/metrics", "static_configs": [target]}],
    })
}

/// The CloudWatch agent's configuration: the two logs, what EC2 itself doesn't measure, and the service's own figures.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-PrometheusEC2.html>
fn agent(boot: &Boot<'_>, log_file: &str) -> Value {
    let log = |path: &str, stream: &str| json!({"file_path": path, "log_group_name": boot.log_group, "log_stream_name": format!("{{instance_id}}/{stream}")});
    let dimensions = json!({"AutoScalingGroupName": boot.group});
    json!({
        "agent": {"region": boot.region, "run_as_user": "root"},
        "logs": {
            "logs_collected": {"files": {"collect_list": [
                log(log_file, boot.service),
                log("/var/log/user-data.log", "user-data"),
            ]}},
            "metrics_collected": {"prometheus": {
                "log_group_name": boot.log_group,
                "prometheus_config_path": "/etc/ticketctl/prometheus.yaml",
                "emf_processor": {
                    "metric_namespace": metric_namespace(boot.stack),
                    "metric_declaration": [{
                        "source_labels": ["service"],
                        "label_matcher": ".+",
                        "dimensions": [["service"]],
                        "metric_selectors": ["^ticketing_"],
                    }],
                },
            }},
        },
        "metrics": {
            "namespace": metric_namespace(boot.stack),
            "metrics_collected": {
                "mem": {"measurement": ["used_percent"], "append_dimensions": dimensions},
                "disk": {"measurement": ["used_percent"], "resources": ["/"], "append_dimensions": dimensions},
            },
        },
    })
}

/// Where a stack's artifacts are in the control bucket; what follows is the program's SHA-256.
pub fn artifact_prefix(stack: &str) -> String {
    format!("stacks/{stack}/artifacts/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::{Command, Stdio};

    const HOSTILE: [&str; 7] = [
        "'; touch broken-out; '",
        "$(touch broken-out)",
        "`touch broken-out`",
        "\"\nEND\ntouch broken-out\n",
        "{{ stack }} {% if x %} \\ %h $HOME ${HOME}",
        "-n -e \\x41 * ? [a]",
        "ünïcode \t tab",
    ];

    fn artifact() -> Program {
        let prefix = artifact_prefix("ticketing-dev");
        let sha256 = "ab".repeat(32);
        let bucket = "ticketctl-123456789012-ap-northeast-2".into();
        Program::Artifact(Artifact { bucket, key: format!("{prefix}{sha256}"), sha256 })
    }

    fn image(host: &str) -> Program {
        Program::Image(format!("{host}/shop/web@sha256:{}", "0".repeat(64)))
    }

    fn boot(program: Program, values: &[&str]) -> String {
        let environment = values.iter().enumerate().map(|(n, value)| (format!("VALUE_{n}"), (*value).to_owned()));
        render(&Boot {
            stack: "ticketing-dev",
            service: "web",
            region: "ap-northeast-2",
            program,
            arguments: ["serve", "--role", "all"].iter().chain(values).map(ToString::to_string).collect(),
            environment: environment.collect(),
            log_group: "/ticketctl/ticketing-dev/web".into(),
            group: "ticketing-dev-web-asg".into(),
            port: 8080,
            health_path: "/healthz",
            stop_seconds: 60,
        })
    }

    fn all() -> Vec<String> {
        let ecr = image("123456789012.dkr.ecr.ap-northeast-2.amazonaws.com");
        [artifact(), image("docker.io"), ecr, Program::None].map(|program| boot(program, &HOSTILE)).into()
    }

    /// Feeds `script` to a program and gives back what it says, or none where the machine doesn't have it.
    fn told(program: &str, args: &[&str], script: &str) -> Option<(bool, String)> {
        let mut command = Command::new(program);
        let child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.ok()?;
        child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Some((output.status.success(), text.into_owned()))
    }

    #[test]
    fn scripts_are_clean_and_fit() {
        for script in all() {
            assert!(script.starts_with("#!/bin/bash\n"));
            assert!(script.len() < LIMIT / 2, "{} bytes", script.len());
            let (right, text) = told("bash", &["-n"], &script).expect("bash");
            assert!(right, "{text}");
            if let Some((right, text)) = told("shellcheck", &["-"], &script) {
                assert!(right, "{text}\n{script}");
            }
        }
    }

    /// Runs a script with `/` moved into a directory and what changes the machine left out.
    fn carried_out(script: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let inside = root.path().display();
        for directory in ["var/log", "etc/systemd/system", "etc/logrotate.d", "opt/ticketctl/bin", "bin"] {
            std::fs::create_dir_all(root.path().join(directory)).expect("a directory");
        }
        let mut moved = script.to_owned();
        for place in ["/var/log", "/etc/", "/opt/"] {
            moved = moved.replace(place, &format!("{inside}{place}"));
        }
        let stand_ins = "aws() { :; }; curl() { :; }; docker() { :; }; systemctl() { :; }; dnf() { :; }; sleep() { :; }\n\
                         logger() { cat > /dev/null; }; sha256sum() { cat > /dev/null; }; export -f logger\n";
        let script =
            format!("cd {inside}\n{stand_ins}{}", moved.replace("mv -f", "true").replace("chmod 0755", "true"));
        let (right, text) = told("bash", &["-s"], &script).expect("bash");
        let log = || std::fs::read_to_string(root.path().join("var/log/user-data.log")).unwrap_or_default();
        assert!(right, "{text}{}", log());
        assert!(!root.path().join("broken-out").exists(), "a value ran as a command");
        root
    }

    fn assert_come_through(script: &str, values: &[&str]) {
        let root = carried_out(script);
        let written = std::fs::read_to_string(root.path().join("etc/ticketctl/web.env")).expect("the environment");
        let named = values.iter().enumerate().map(|(n, value)| (format!("VALUE_{n}"), (*value).to_owned()));
        assert_eq!(written.trim_end(), environment(&named.collect()).join("\n").trim_end());
        let unit = root.path().join("etc/systemd/system/ticketctl-web.service");
        let Ok(unit) = std::fs::read_to_string(unit) else { return };
        let lines: Vec<&str> = unit.lines().filter(|line| line.starts_with("ExecStart=")).collect();
        assert_eq!(lines.len(), 1, "{unit}");
        assert!(values.iter().all(|value| lines[0].contains(&systemd_word(value))), "{}", lines[0]);
        assert!(unit.contains("\nTimeoutStopSec=60\n") && unit.ends_with("WantedBy=multi-user.target\n"), "{unit}");
    }

    #[test]
    fn values_come_through_as_they_are_and_never_run() {
        for script in all() {
            assert_come_through(&script, &HOSTILE);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_value_it_never_runs(
            values in prop::collection::vec(prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat()), 1..5),
            program in prop::sample::select(vec![artifact(), image("docker.io")]),
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            assert_come_through(&boot(program, &values), &values);
        }
    }

    /// What means something to a shell, a here-document, systemd or the template engine; and anything else that is no slash, which
    /// the test itself moves.
    fn piece() -> impl Strategy<Value = String> {
        let words = [
            "touch broken-out",
            "'",
            "\"",
            "`",
            "$(",
            ")",
            "${",
            "}",
            "$HOME",
            ";",
            "&&",
            "||",
            "|",
            ">",
            "<",
            "<<END",
            "\nEND\n",
            "\n",
            "\\",
            "\\'",
            "'\\''",
            "{{",
            "{%",
            "%}",
            "}}",
            "%h",
            "%%",
            "!",
            "#",
            "~",
            "*",
            "$'",
            "\r",
            "\t",
            "-n ",
            "%s",
        ];
        prop_oneof![3 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => "[^/\\p{C}]{0,6}"]
    }

    #[test]
    fn systemd_replaces_nothing_in_words() {
        assert_eq!(systemd_word("50% of $HOME \"x\" \\ \n"), r#""50%% of $$HOME \"x\" \\ \n""#);
        let values = BTreeMap::from([("A".to_owned(), "a\"b\\c$d`e'f".to_owned())]);
        assert_eq!(environment(&values), [r#"A="a\"b\\c\$d\`e'f""#]);
    }

    #[test]
    fn a_program_is_checked_before_it_runs_and_no_script_upgrades_packages() {
        let script = boot(artifact(), &[]);
        let check = script.find("sha256sum --check").expect("a check");
        assert!(check < script.find("systemctl restart").expect("a start"));
        for script in all() {
            assert!(!script.contains("upgrade") && !script.contains("update"), "{script}");
        }
        assert!(!boot(Program::None, &[]).contains("systemctl"));
    }
}
