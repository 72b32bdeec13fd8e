//! The sandbox of an instance: what it sees of this machine, and what is its own.
//!
//! The system's programs and libraries are this machine's, read-only. `/etc`, `/opt`, `/root`, `/var`, `/run` and `/tmp` are
//! its own; other homes aren't there. It is root in a user namespace of its own without any capability, and shares this
//! machine's network: nothing in it may listen on all addresses, so its services are told their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::state::RUN;
use crate::local::plane::{Error, Launch};

/// What of this machine's root an instance sees, as far as it is there.
const SYSTEM: [&str; 10] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/gnu", "/etc/alternatives"];

/// What of this machine's `/etc` is needed to run programs at all.
const SYSTEM_FILES: [&str; 2] = ["/etc/ld.so.cache", "/etc/resolv.conf"];

/// Where distributions keep the certificates that are trusted: this machine's is read, in the sandbox both are there.
const BUNDLES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What all instances stand on.
pub struct Platform<'a> {
    pub bwrap: &'a Path,
    /// ticketctl itself, which is each instance's init.
    pub program: &'a Path,
    /// The Python environment that has the AWS CLI.
    pub environment: &'a Path,
    /// Names of the endpoints on AWS, kept up to date in place.
    pub hosts: &'a Path,
    /// The certificate of the local cloud's authority.
    pub authority: &'a Path,
    /// The control plane's URL.
    pub endpoint: &'a str,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `i-…`
    pub id: String,
    pub region: String,
    /// Its address on this machine.
    pub address: Ipv4Addr,
    /// The port on which its target group expects it.
    pub port: Option<u16>,
    /// The boot script.
    pub user_data: String,
}

impl Machine {
    /// What its services and its boot script find in their environment so that they meet the local cloud, not AWS.
    fn environment(&self, platform: &Platform<'_>) -> BTreeMap<&'static str, String> {
        let mut environment = BTreeMap::from([
            ("AWS_ENDPOINT_URL", platform.endpoint.to_owned()),
            // They mean nothing: the control plane believes everybody.
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("SSL_CERT_FILE", BUNDLES[0].to_owned()),
        ]);
        if let Some(port) = self.port {
            environment.insert("TICKETING_LISTEN", format!("{}:{port}", self.address));
        }
        environment
    }
}

/// Makes the instance's own directories and files below `directory`.
///
/// # Errors
/// When the user data is no script, or something cannot be written.
pub fn prepare(directory: &Path, machine: &Machine, platform: &Platform<'_>) -> Result<(), Error> {
    if !machine.user_data.starts_with("#!") {
        return Err(Error::failed(&machine.id, "its user data is no script (it doesn't begin with #!)"));
    }
    for own in [
        "etc/systemd/system/service.d",
        "etc/logrotate.d",
        "opt",
        "root",
        "var/log",
        "var/lib/cloud/data",
        "var/tmp",
        "run/ticketctl/bin",
    ] {
        let own = directory.join(own);
        fs::create_dir_all(&own).map_err(|error| Error::file(&own, error))?;
    }
    let write = |name: &str, text: &str, mode: u32| {
        let file = directory.join(name);
        let written =
            fs::write(&file, text).and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(mode)));
        written.map_err(|error| Error::file(&file, error))
    };
    let host = format!("ip-{}", machine.address.to_string().replace('.', "-"));
    write("etc/hostname", &format!("{host}\n"), 0o644)?;
    write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n", 0o644)?;
    write("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)?;
    write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", 0o644)?;
    // Where cloud-init notes it.
    write("var/lib/cloud/data/instance-id", &format!("{}\n", machine.id), 0o644)?;
    if let Some(port) = machine.port {
        // Scripts ask their own service at localhost, which all instances share here.
        let own = |host: &str| format!("connect-to = \"{host}:{port}:{}:{port}\"\n", machine.address);
        write("root/.curlrc", &["localhost", "127.0.0.1"].map(own).concat(), 0o644)?;
    }
    write("run/ticketctl/trusted.pem", &trusted(platform.authority)?, 0o644)?;
    let environment = machine.environment(platform);
    let lines: String = environment.iter().map(|(name, value)| format!("{name}=\"{value}\"\n")).collect();
    write("run/ticketctl/environment", &lines, 0o644)?;
    // Read after the unit's own files, so that it counts.
    let drop_in =
        format!("# The instance is on ticketctl's local cloud.\n[Service]\nEnvironmentFile={RUN}/environment\n");
    write("etc/systemd/system/service.d/10-local-cloud.conf", &drop_in, 0o644)?;
    let quoted = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"));
    let python = quoted(&platform.environment.join("bin/python"));
    write("run/ticketctl/bin/aws", &format!("#!/bin/sh\nexec {python} -m awscli \"$@\"\n"), 0o755)?;
    let systemctl = format!("#!/bin/sh\nexec {RUN}/init local systemctl -- \"$@\"\n");
    write("run/ticketctl/bin/systemctl", &systemctl, 0o755)?;
    // The system's log is the instance's log on this machine.
    write("run/ticketctl/bin/logger", "#!/bin/sh\nexec cat >> /proc/1/fd/1\n", 0o755)?;
    // There is a docker, so that nobody tries to install one.
    let docker = "#!/bin/sh\necho \"container images don't run in the local cloud\" >&2\nexit 1\n";
    write("run/ticketctl/bin/docker", docker, 0o755)?;
    write("run/ticketctl/user-data", &machine.user_data, 0o700)
}

/// What this machine trusts, and the local cloud's authority.
fn trusted(authority: &Path) -> Result<String, Error> {
    let system = BUNDLES.iter().find_map(|bundle| fs::read_to_string(bundle).ok()).unwrap_or_default();
    let own = fs::read_to_string(authority).map_err(|error| Error::file(authority, error))?;
    Ok(format!("{system}\n{own}"))
}

/// How the sandbox is started.
///
/// # Errors
/// When the Python environment cannot be read.
pub fn launch(name: &str, directory: &Path, machine: &Machine, platform: &Platform<'_>) -> Result<Launch, Error> {
    let mut arguments = Arguments::default();
    arguments.add(["--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]);
    arguments.add(["--hostname", &format!("ip-{}", machine.address.to_string().replace('.', "-"))]);
    arguments.add(["--as-pid-1", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]);
    for own in ["etc", "opt", "root", "var", "run"] {
        arguments.bind("--bind", &directory.join(own), &Path::new("/").join(own));
    }
    arguments.add(["--tmpfs", "/tmp"]);
    for path in SYSTEM.iter().map(Path::new) {
        match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(path).map_err(|error| Error::file(path, error))?;
                arguments.bind("--symlink", &target, path);
            }
            Ok(_) => arguments.bind("--ro-bind", path, path),
            Err(_) => {}
        }
    }
    for path in SYSTEM_FILES.iter().map(Path::new) {
        if let Ok(real) = path.canonicalize() {
            arguments.bind("--ro-bind", &real, path);
        }
    }
    arguments.bind("--ro-bind", platform.hosts, Path::new("/etc/hosts"));
    for bundle in BUNDLES {
        arguments.bind("--ro-bind", &directory.join("run/ticketctl/trusted.pem"), Path::new(bundle));
    }
    for path in python(platform.environment)? {
        arguments.bind("--ro-bind", &path, &path);
    }
    let init = Path::new(RUN).join("init");
    arguments.bind("--ro-bind", platform.program, &init);
    arguments.add(["--clearenv", "--setenv", "PATH", &format!("{RUN}/bin:{PATH}"), "--setenv", "HOME", "/root"]);
    arguments.add(["--setenv", "LANG", "C.UTF-8"]);
    for (name, value) in machine.environment(platform) {
        arguments.add(["--setenv", name, &value]);
    }
    arguments.add(["--chdir", "/", "--"]);
    arguments.0.push(init.into());
    arguments.add(["local", "instance-init", &format!("{RUN}/user-data")]);
    Ok(Launch {
        name: name.to_owned(),
        program: platform.bwrap.to_owned(),
        arguments: arguments.0,
        environment: BTreeMap::new(),
        directory: directory.to_owned(),
    })
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add<const N: usize>(&mut self, arguments: [&str; N]) {
        self.0.extend(arguments.map(OsString::from));
    }

    fn bind(&mut self, how: &str, from: &Path, to: &Path) {
        self.0.extend([how.into(), from.into(), to.into()]);
    }
}

/// The Python environment, and the Python that it was made from where that isn't the system's.
fn python(environment: &Path) -> Result<Vec<PathBuf>, Error> {
    let settings = environment.join("pyvenv.cfg");
    let text = fs::read_to_string(&settings).map_err(|error| Error::file(&settings, error))?;
    let home = text.lines().find_map(|line| line.strip_prefix("home").map(|rest| rest.trim_start_matches([' ', '='])));
    let real = environment.join("bin/python").canonicalize().ok();
    let home = home.map(Path::new).and_then(Path::parent).map(Path::to_owned);
    let real = real.as_deref().and_then(Path::parent).and_then(Path::parent).map(Path::to_owned);
    let bases = home.into_iter().chain(real).filter(|base| !base.starts_with("/usr") && base != Path::new("/"));
    Ok(std::iter::once(environment.to_owned()).chain(bases).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_from_elsewhere_is_seen_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let environment = directory.path().join("venv");
        fs::create_dir_all(environment.join("bin")).expect("a directory");
        let with_home = |home: &str| {
            fs::write(environment.join("pyvenv.cfg"), format!("home = {home}\nversion = 3.11.7\n")).expect("a file");
            python(&environment).expect("paths")
        };
        assert_eq!(with_home("/opt/python/bin"), [environment.clone(), "/opt/python".into()]);
        assert_eq!(with_home("/usr/bin"), [environment]);
    }

    #[test]
    fn what_is_no_script_is_not_run() {
        let machine = Machine {
            id: "i-1".into(),
            region: "eu-west-1".into(),
            address: Ipv4Addr::new(127, 77, 1, 9),
            port: None,
            user_data: "#cloud-config\n".into(),
        };
        let nowhere = Path::new("/nonexistent");
        let platform = Platform {
            bwrap: nowhere,
            program: nowhere,
            environment: nowhere,
            hosts: nowhere,
            authority: nowhere,
            endpoint: "http://127.0.0.1:4566",
        };
        let error = prepare(nowhere, &machine, &platform).expect_err("no script").to_string();
        assert!(error.starts_with("i-1: ") && error.contains("#!"), "{error}");
    }
}
