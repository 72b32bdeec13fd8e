use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How a service's artifact is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Build {
    /// By cargo, as the artifact's path says.
    Cargo,
    /// By a command of the user's own.
    Command(String),
}

/// As it stands in YAML and JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Flag(bool),
    Text(String),
}

impl From<Written> for Build {
    fn from(written: Written) -> Self {
        match written {
            Written::Flag(true) => Build::Cargo,
            Written::Text(text) if text == "true" => Build::Cargo,
            // Refused by the checks.
            Written::Flag(false) => Build::Command("false".to_owned()),
            Written::Text(text) => Build::Command(text),
        }
    }
}

impl From<Build> for Written {
    fn from(build: Build) -> Self {
        match build {
            Build::Cargo => Written::Flag(true),
            Build::Command(command) => Written::Text(command),
        }
    }
}

impl JsonSchema for Build {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Build".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The text first: a reader that knows no alternatives takes every scalar for it.
        json_schema!({
            "description": "A command, or `true` for cargo.",
            "anyOf": [
                { "type": "string", "minLength": 1, "patternErrorMessage": "a command, or `true` for cargo" },
                { "const": true },
            ],
        })
    }
}

/// What an artifact's path says of the cargo build that makes it: `target/[x86_64-…/]release/program`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CargoBuild {
    pub artifact: PathBuf,
    pub target_dir: PathBuf,
    /// The platform, if it isn't this machine's own.
    pub triple: Option<String>,
    pub binary: String,
}

impl CargoBuild {
    /// None for a path where cargo puts no release build.
    pub fn of(artifact: &Path) -> Option<CargoBuild> {
        let binary = artifact.file_name()?.to_str()?.to_owned();
        let profile = artifact.parent()?;
        if profile.file_name()? != "release" {
            return None;
        }
        let folder = profile.parent()?;
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // These are the processors that EC2 has.
        let triple = (name.starts_with("x86_64-") || name.starts_with("aarch64-")).then(|| name.to_owned());
        let target_dir = if triple.is_some() { folder.parent()? } else { folder }.to_owned();
        Some(CargoBuild { artifact: artifact.to_owned(), target_dir, triple, binary })
    }

    /// The arguments with which cargo makes it, but for the target directory.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = ["build", "--release", "--workspace", "--bin", &self.binary].map(str::to_owned).to_vec();
        if let Some(triple) = &self.triple {
            arguments.extend(["--target".to_owned(), triple.clone()]);
        }
        arguments
    }

    /// The folder of the nearest `Cargo.toml` above the artifact, which needn't be there yet.
    pub fn folder(&self) -> Option<PathBuf> {
        let path = std::path::absolute(&self.artifact).ok()?;
        let there = path.ancestors().find_map(|folder| folder.canonicalize().ok())?;
        there.ancestors().find(|folder| folder.join("Cargo.toml").is_file()).map(Path::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_how_cargo_makes_it() {
        let of = |path: &str| CargoBuild::of(Path::new(path));
        let plain = of("target/release/ticketing").expect("a release build");
        assert_eq!((plain.target_dir.to_str(), plain.triple.as_deref()), (Some("target"), None));
        assert_eq!(plain.arguments().join(" "), "build --release --workspace --bin ticketing");
        let cross = of("/shop/out/aarch64-unknown-linux-musl/release/shop").expect("a release build");
        assert_eq!(cross.target_dir.to_str(), Some("/shop/out"));
        assert!(cross.arguments().join(" ").ends_with("--bin shop --target aarch64-unknown-linux-musl"), "{cross:?}");
        for path in ["target/debug/ticketing", "ticketing", "bin/ticketing", "release"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
