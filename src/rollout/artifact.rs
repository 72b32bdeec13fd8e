//! The programs that a stack file names: whether each can run where it is to run, and its hash.

use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::elf::{self, Executable, Glibc};
use crate::{
    aws::Context,
    stack::{Stack, facts::instances::architecture},
};

/// glibc of Amazon Linux 2023, in all its releases.
/// Source: <https://docs.aws.amazon.com/linux/al2023/ug/core-glibc.html>
const AMAZON_LINUX: Glibc = Glibc(2, 34);

/// A program that is built and fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// What the stack file names, service by service.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    pub ready: BTreeMap<String, Program>,
    pub flawed: BTreeMap<String, Flaw>,
}

/// Why a program can't be taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Flaw {
    #[error("{} isn't there", .0.display())]
    Missing(PathBuf),
    #[error("{} can't be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, String),
    #[error("{} can't run: {}", .0.display(), .1)]
    NoProgram(PathBuf, String),
    #[error("{} is for {found}, and {machine} is {wanted}", path.display())]
    Architecture { path: PathBuf, found: &'static str, wanted: &'static str, machine: String },
    #[error("{} needs glibc {found}, and {machine} has {newest}", path.display())]
    Glibc { path: PathBuf, found: Glibc, newest: Glibc, machine: String, architecture: &'static str },
}

impl Flaw {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let target = |architecture: &str| if architecture == "arm64" { "aarch64" } else { "x86_64" };
        match self {
            Flaw::Missing(_) | Flaw::Unreadable(..) => {
                "build it (`cargo build --release --workspace --bin ticketing`), or name another with \
                 `--set services.<name>.artifact=PATH`; `build: true` in the stack file lets cargo build it by itself"
                    .into()
            }
            Flaw::NoProgram(..) => "name an executable for Linux".into(),
            Flaw::Architecture { wanted, .. } => format!(
                "build it for {0}-unknown-linux-musl, or choose an instance type of the other architecture",
                target(wanted)
            ),
            Flaw::Glibc { newest, architecture, .. } => format!(
                "build it so that it runs on older systems: `cargo zigbuild --release --target {0}-unknown-linux-gnu.{newest}` \
                 (cargo install cargo-zigbuild), or statically: `cargo build --release --target {0}-unknown-linux-musl` \
                 (rustup target add {0}-unknown-linux-musl; on Debian with the package musl-tools)",
                target(architecture)
            ),
        }
    }
}

/// Where programs run.
#[derive(Clone, Debug)]
pub enum Machine {
    /// Instances of EC2 with Amazon Linux 2023; the instance type decides on the architecture.
    AmazonLinux,
    /// This machine, whatever the instance types say: the endpoint isn't AWS, so what runs, runs here.
    Here { glibc: Option<Glibc> },
}

impl Machine {
    /// The one that the connection leads to.
    pub async fn of(cx: &Context) -> Machine {
        match cx.endpoint_url {
            None => Machine::AmazonLinux,
            Some(_) => Machine::Here { glibc: glibc_here().await },
        }
    }

    /// Whether a program fits a service with these instances.
    fn check(&self, path: &Path, executable: Executable, instance_type: &str) -> Result<(), Flaw> {
        let (wanted, newest, machine) = match self {
            Machine::AmazonLinux => (architecture(instance_type), Some(AMAZON_LINUX), "Amazon Linux 2023".to_owned()),
            Machine::Here { glibc } => (architecture_here(), *glibc, "this machine".to_owned()),
        };
        let Executable { architecture: found, glibc } = executable;
        if found != wanted {
            let machine = if matches!(self, Machine::AmazonLinux) { instance_type.to_owned() } else { machine };
            return Err(Flaw::Architecture { path: path.into(), found, wanted, machine });
        }
        match (glibc, newest) {
            (Some(found), Some(newest)) if found > newest => {
                Err(Flaw::Glibc { path: path.into(), found, newest, machine, architecture: wanted })
            }
            _ => Ok(()),
        }
    }
}

fn architecture_here() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}

/// What `getconf` says; none where there is no glibc, or nobody who would tell.
async fn glibc_here() -> Option<Glibc> {
    let output = tokio::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Glibc::parse(text.trim().strip_prefix("glibc ")?)
}

impl Artifacts {
    /// Reads and checks what each service names. Nothing leaves this machine.
    pub async fn read(stack: &Stack, machine: Machine) -> Artifacts {
        let named: Vec<(String, PathBuf, String)> = stack
            .services
            .iter()
            .filter_map(|(name, service)| {
                let path = service.artifact.clone()?;
                Some((name.clone(), path, service.instances.instance_type.clone()))
            })
            .collect();
        let read = move || {
            // Services often share a program, which is then read once.
            let mut known: BTreeMap<PathBuf, Result<(Program, Executable), Flaw>> = BTreeMap::new();
            let mut artifacts = Artifacts::default();
            for (name, path, instance_type) in named {
                let program = known.entry(path.clone()).or_insert_with(|| read_program(&path)).clone();
                let fits = program.and_then(|(program, executable)| {
                    machine.check(&path, executable, &instance_type).map(|()| program)
                });
                match fits {
                    Ok(program) => _ = artifacts.ready.insert(name, program),
                    Err(flaw) => _ = artifacts.flawed.insert(name, flaw),
                }
            }
            artifacts
        };
        tokio::task::spawn_blocking(read).await.expect("reading a file doesn't panic")
    }

    /// The program with this hash.
    pub fn with_hash(&self, sha256: &str) -> Option<&Program> {
        self.ready.values().find(|program| program.sha256 == sha256)
    }
}

fn read_program(path: &Path) -> Result<(Program, Executable), Flaw> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Flaw::Missing(path.into()),
        _ => Flaw::Unreadable(path.into(), error.to_string()),
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Flaw::NoProgram(path.into(), "it is no file".into()));
    }
    let sha256 = hash(&mut file).map_err(unreadable)?;
    let executable = elf::read(file).map_err(|why| Flaw::NoProgram(path.into(), why))?;
    Ok((Program { path: path.into(), size: metadata.len(), sha256 }, executable))
}

fn hash(file: &mut File) -> std::io::Result<String> {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(sha256.finalize())),
            count => sha256.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(architecture: &'static str, glibc: Option<Glibc>) -> Executable {
        Executable { architecture, glibc }
    }

    #[test]
    fn what_cannot_run_there_is_refused_with_what_to_do() {
        let path = Path::new("target/release/ticketing");
        let aws = Machine::AmazonLinux;
        assert!(aws.check(path, executable("x86_64", Some(Glibc(2, 34))), "t3.medium").is_ok());
        assert!(aws.check(path, executable("arm64", None), "t4g.small").is_ok());
        let flaw = aws.check(path, executable("x86_64", Some(Glibc(2, 39))), "t3.medium").expect_err("too new");
        assert_eq!(flaw.to_string(), "target/release/ticketing needs glibc 2.39, and Amazon Linux 2023 has 2.34");
        assert!(flaw.hint().contains("x86_64-unknown-linux-gnu.2.34"), "{}", flaw.hint());
        let flaw = aws.check(path, executable("x86_64", None), "t4g.small").expect_err("another architecture");
        assert_eq!(flaw.to_string(), "target/release/ticketing is for x86_64, and t4g.small is arm64");
        assert!(flaw.hint().contains("aarch64-unknown-linux-musl"), "{}", flaw.hint());
        // Locally the instance type says nothing about the processor.
        let here = Machine::Here { glibc: Some(Glibc(2, 36)) };
        assert!(here.check(path, executable(architecture_here(), Some(Glibc(2, 36))), "t4g.small").is_ok());
        assert!(here.check(path, executable(architecture_here(), Some(Glibc(2, 38))), "t3.small").is_err());
    }

    #[test]
    fn programs_are_told_apart_by_their_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("program");
        let mut content = std::fs::read("/bin/true").expect("every Linux has it");
        std::fs::write(&path, &content).expect("written");
        let (first, _) = read_program(&path).expect("a program");
        assert_eq!((first.sha256.len(), first.size), (64, content.len() as u64));
        content.push(0);
        std::fs::write(&path, &content).expect("written");
        let (second, _) = read_program(&path).expect("still a program");
        assert_ne!(first.sha256, second.sha256);
        assert!(matches!(read_program(&folder.path().join("other")), Err(Flaw::Missing(_))));
        assert!(matches!(read_program(folder.path()), Err(Flaw::NoProgram(..))));
    }
}
