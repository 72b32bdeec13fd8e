//! From a path to a [`Stack`]: reads the file and those it extends, applies `--set`, fills in `${env:…}`,
//! checks the shape and then the sense of it.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::diagnostic::{Diagnostic, Diagnostics, SET, SourceId, Sources, Span};
use super::interpolate::{Environment, interpolate};
use super::origins::{Origins, child};
use super::overlay;
use super::shape::{self, Shaped};
use super::tree::{self, Entry, Node, Value};
use super::types::{Database, Thresholds};
use super::{Stack, facts, validate};

/// No stack file is larger; what is, isn't one.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// No chain of `extends` is longer.
const MAX_EXTENDS: usize = 16;

/// A stack that can be used, and how it came to be.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The stack.
    pub stack: Stack,
    /// Where each value comes from.
    pub origins: Origins,
    /// What was found that isn't an error, with the texts that everything was read from.
    pub warnings: Diagnostics,
}

/// Loads the stack file at `path` with `sets` (`path=value`) laid over it.
///
/// # Errors
/// Everything that is wrong with it, all at once. Only what keeps the rest from being read (a file that
/// isn't there, that isn't YAML) comes alone.
pub fn load(path: &Path, sets: &[String]) -> Result<Loaded, Diagnostics> {
    let environment = |name: &str| std::env::var(name).ok();
    load_in(path, sets, &environment)
}

/// [`load`] with an environment of the caller's.
pub(super) fn load_in(path: &Path, sets: &[String], environment: Environment<'_>) -> Result<Loaded, Diagnostics> {
    let mut reader = FileReader::default();
    let document = reader.read(path, None);
    build(document, reader.sources, sets, environment)
}

/// [`load`] for a text that is at hand; `name` stands for its path in messages, and `extends` is relative to it.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &str, text: &[u8], sets: &[String]) -> Result<Loaded, Diagnostics> {
    let environment = |name: &str| std::env::var(name).ok();
    load_text_in(name, text, sets, &environment)
}

/// [`load_text`] with an environment of the caller's.
pub(super) fn load_text_in(
    name: &str,
    text: &[u8],
    sets: &[String],
    environment: Environment<'_>,
) -> Result<Loaded, Diagnostics> {
    let mut reader = FileReader::default();
    let document = reader.parse(Path::new(name), text.to_vec());
    build(document, reader.sources, sets, environment)
}

fn build(
    document: Result<Node, Diagnostic>,
    mut sources: Sources,
    sets: &[String],
    environment: Environment<'_>,
) -> Result<Loaded, Diagnostics> {
    let mut findings = Vec::new();
    let mut document = match document {
        Ok(document) => document,
        Err(finding) => {
            findings.push(finding);
            return Err(finished(sources, findings));
        }
    };
    for argument in sets {
        if let Err(finding) = overlay::set(&mut document, argument, &mut sources) {
            findings.push(finding);
        }
    }
    interpolate(&mut document, environment, &sources, &mut findings);
    let schema = super::schema::stack_schema();
    let Shaped { mut json, mut origins, findings: misshapen } = shape::shape(&document, schema.as_value());
    findings.extend(misshapen);
    fill_required(&mut json, &mut origins);
    resolve_artifacts(&mut json, &origins, &sources);
    derive_defaults(&mut json, &mut origins);
    match serde_path_to_error::deserialize::<_, Stack>(json) {
        Ok(stack) => {
            findings.extend(validate::validate(&stack, &origins));
            let diagnostics = finished(sources, findings);
            if diagnostics.has_errors() {
                return Err(diagnostics);
            }
            Ok(Loaded { stack, origins, warnings: diagnostics })
        }
        Err(error) => {
            let path = error.path().to_string();
            let mut finding = Diagnostic::error("value", format!("`{path}`: {}", error.inner()));
            if let Some(span) = origins.span(&path) {
                finding = finding.label(span, "");
            }
            findings.push(finding);
            Err(finished(sources, findings))
        }
    }
}

fn finished(sources: Sources, list: Vec<Diagnostic>) -> Diagnostics {
    let mut diagnostics = Diagnostics { sources, list };
    diagnostics.sort();
    diagnostics
}

/// Stands in for required values that are missing or were refused, so that the rest can still be checked.
fn fill_required(json: &mut Json, origins: &mut Origins) {
    for key in ["project", "environment", "region"] {
        if json.get(key).is_none() {
            json[key] = Json::from("missing");
            origins.refused.insert(key.to_owned());
        }
    }
}

/// Artifacts are relative to the file that names them; those of `--set` to the working directory.
fn resolve_artifacts(json: &mut Json, origins: &Origins, sources: &Sources) {
    let services = json.get_mut("services").and_then(Json::as_object_mut);
    for (name, service) in services.into_iter().flatten() {
        let path = format!("services.{name}.artifact");
        let Some(artifact) = service.get("artifact").and_then(Json::as_str) else {
            continue;
        };
        let Some(written) = origins.written.get(&path) else {
            continue;
        };
        let source = &sources.get(written.value.source).name;
        if source != SET {
            let folder = Path::new(source).parent().unwrap_or(Path::new(""));
            let resolved = without_detours(&folder.join(artifact));
            service["artifact"] = Json::from(resolved.to_string_lossy());
        }
    }
}

/// `stacks/../target` → `target`.
fn without_detours(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(short.components().next_back(), Some(Component::Normal(_))) => {
                short.pop();
            }
            other => short.push(other),
        }
    }
    short
}

/// Fills in the defaults that follow from other values.
fn derive_defaults(json: &mut Json, origins: &mut Origins) {
    let environment = json["environment"].as_str().unwrap_or_default();
    let production = matches!(environment, "prod" | "production");
    let mut fill = |parent: &mut Json, path: &str, key: &str, value: Json, how: &'static str| {
        if let Some(object) = parent.as_object_mut()
            && !object.contains_key(key)
        {
            object.insert(key.to_owned(), value);
            origins.derived.insert(child(path, key), how);
        }
    };
    fill(json, "", "protect", production.into(), "follows environment");
    let protect = json["protect"].as_bool().unwrap_or(production);

    let empty = || Json::Object(Map::new());
    let object = json.as_object_mut();
    if let Some(root) = object {
        root.entry("ingress").or_insert_with(empty);
    }
    let follows = "follows protect";
    let ingress = &mut json["ingress"];
    fill(ingress, "ingress", "deletion_protection", protect.into(), follows);

    if let Some(database) = json.get_mut("database") {
        fill(database, "database", "deletion_protection", protect.into(), follows);
        fill(database, "database", "final_snapshot", protect.into(), follows);
        let class = database["class"].as_str().unwrap_or_default();
        if !facts::database::supports_performance_insights(class) {
            let how = "the class has none";
            fill(database, "database", "performance_insights", false.into(), how);
        }
    }
    let limit = json.get("database").and_then(connection_limit);
    if let (Some(limit), Some(alerts)) = (limit, json.get_mut("alerts").and_then(Json::as_object_mut)) {
        let thresholds = alerts.entry("thresholds").or_insert_with(empty);
        let most = (limit * 4 / 5).max(Thresholds::default().database_connections);
        let how = "80 % of what the class allows";
        fill(thresholds, "alerts.thresholds", "database_connections", most.into(), how);
    }
    if let Some(cache) = json.get_mut("cache") {
        let replicated = cache["replicas"].as_u64() != Some(0);
        fill(cache, "cache", "multi_az", replicated.into(), "follows replicas");
    }
    if let Some(storage) = json.get_mut("storage") {
        fill(storage, "storage", "empty_on_destroy", (!protect).into(), follows);
    }
    let services = json.get_mut("services").and_then(Json::as_object_mut);
    for (name, service) in services.into_iter().flatten() {
        if let Some(service) = service.as_object_mut() {
            service.entry("instances").or_insert_with(empty);
        }
        let instances = &mut service["instances"];
        if let Some(min) = instances.get("min").cloned() {
            let path = format!("services.{name}.instances");
            fill(instances, &path, "desired", min, "follows min");
        }
    }
}

/// How many connections the database's class allows, if the tables know it.
fn connection_limit(database: &Json) -> Option<u32> {
    match database.get("class").and_then(Json::as_str) {
        Some(class) => facts::database::max_connections(class),
        None => facts::database::max_connections(&Database::default().class),
    }
}

/// Reads a file and those it extends.
#[derive(Default)]
struct FileReader {
    sources: Sources,
    /// The files on the way here, to see a circle.
    chain: Vec<PathBuf>,
}

impl FileReader {
    /// `from` is the place of the `extends` that asks for the file.
    fn read(&mut self, path: &Path, from: Option<Span>) -> Result<Node, Diagnostic> {
        let at = |mut finding: Diagnostic| {
            if let Some(span) = &from {
                finding = finding.label(span.clone(), "");
            }
            finding
        };
        let bytes = read_file(path).map_err(|why| {
            let mut finding = Diagnostic::error("file", format!("can't read {}: {why}", path.display()));
            if from.is_none() {
                finding
                    .help
                    .push("name a stack file with `-f`, or write one to start from with `ticketctl init`".to_owned());
            }
            at(finding)
        })?;
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.chain.contains(&identity) {
            return Err(at(Diagnostic::error(
                "extends",
                format!("{} extends itself, directly or through others", path.display()),
            )));
        }
        if self.chain.len() >= MAX_EXTENDS {
            return Err(at(Diagnostic::error("extends", format!("more than {MAX_EXTENDS} files extend one another"))));
        }
        self.chain.push(identity);
        self.parse(path, bytes)
    }

    fn parse(&mut self, path: &Path, bytes: Vec<u8>) -> Result<Node, Diagnostic> {
        let name = path.display().to_string();
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return Err(self.not_utf8(&name, &error)),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let source = self.sources.add(name, text);
        let mut document = tree::parse(&self.sources, source, 0)?;
        if let Value::Empty | Value::Null = document.value {
            return Err(Diagnostic::error("file", "the stack file is empty")
                .label(document.span, "")
                .help("`ticketctl init` writes one to start from"));
        }
        let Value::Map(map) = &mut document.value else {
            return Ok(document);
        };
        let Some(extends) = map.shift_remove("extends") else {
            return Ok(document);
        };
        let (key, mut base) = (extends.key.clone(), self.base(path, source, extends)?);
        if !matches!(base.value, Value::Map(_)) {
            return Err(Diagnostic::error(
                "type",
                format!("a stack file is a mapping, and this extends {}", base.value.kind()),
            )
            .label(key, "")
            .label(base.span, "it begins here"));
        }
        overlay::merge(&mut base, document);
        Ok(base)
    }

    /// The file that `extends` names.
    fn base(&mut self, path: &Path, source: SourceId, extends: Entry) -> Result<Node, Diagnostic> {
        let Value::Scalar { text, .. } = &extends.node.value else {
            return Err(Diagnostic::error("type", "`extends` must be the path of one file")
                .label(extends.key, format!("this is {}", extends.node.value.kind())));
        };
        if text.contains("${") {
            return Err(Diagnostic::error("extends", "`extends` takes no expression")
                .label(Span { source, range: extends.node.span.range }, "")
                .help("write the path out; which file is laid over another can be chosen with --file"));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let base = without_detours(&folder.join(text));
        let span = Span { source, range: extends.node.span.range };
        self.read(&base, Some(span))
    }

    fn not_utf8(&mut self, name: &str, error: &std::string::FromUtf8Error) -> Diagnostic {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
        let source = self.sources.add(name, text);
        let span = Span { source, range: good..good };
        Diagnostic::error("file", "the stack file isn't UTF-8 text")
            .label(span, "up to here it is")
            .help("save it as UTF-8")
    }
}

/// A whole file of reasonable size; refuses what never ends, such as a device.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok(bytes)
}
