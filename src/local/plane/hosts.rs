//! The names of AWS's endpoints on this machine: a hosts file that the sandboxes have as their `/etc/hosts`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Error;

/// Names, each with its addresses.
pub type Names = BTreeMap<String, BTreeSet<Ipv4Addr>>;

/// The file, and which part of the plane has which names in it.
///
/// It is always written in place, with one call: a sandbox has the file itself mounted and would go on reading the old one
/// if another took its name.
pub struct Hosts {
    file: PathBuf,
    sections: Mutex<BTreeMap<&'static str, Names>>,
}

impl Hosts {
    /// The hosts file of a data directory. What an earlier supervisor wrote stays until the areas have named their own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn of(data: &Path) -> Result<Self, Error> {
        let file = data.join("hosts");
        let hosts = Self { file, sections: Mutex::default() };
        if !hosts.file.exists() {
            hosts.write(&BTreeMap::new())?;
        }
        Ok(hosts)
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Says which names an area has, all of them. The file is written when that differs from before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&self, area: &'static str, names: Names) -> Result<(), Error> {
        let mut sections = self.sections.lock().unwrap_or_else(PoisonError::into_inner);
        if sections.get(area) == Some(&names) {
            return Ok(());
        }
        sections.insert(area, names);
        self.write(&sections)
    }

    fn write(&self, sections: &BTreeMap<&'static str, Names>) -> Result<(), Error> {
        let failed = |error| Error::file(&self.file, error);
        // Programs of all users in a sandbox look names up.
        let file = std::fs::File::options().write(true).create(true).truncate(false).mode(0o644).open(&self.file);
        let file = file.map_err(failed)?;
        let mut text = render(sections);
        // Empty lines instead of an end that moves: a reader in between must not see half a line of what was there.
        let length = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or_default();
        text.extend(std::iter::repeat_n('\n', length.saturating_sub(text.len())));
        file.write_all_at(text.as_bytes(), 0).map_err(failed)
    }
}

fn render(sections: &BTreeMap<&'static str, Names>) -> String {
    let mut text = String::from("127.0.0.1       localhost\n");
    for (area, names) in sections {
        let _ = writeln!(text, "# {area}");
        for (name, addresses) in names {
            for address in addresses {
                // Padded: the file keeps its length when a name moves from one address to another.
                let _ = writeln!(text, "{:<15} {name}", address.to_string());
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_name_moves_within_the_same_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let hosts = Hosts::of(directory.path()).expect("a file");
        let names = |last: &[u8]| {
            let addresses = last.iter().map(|last| Ipv4Addr::new(127, 77, 1, *last)).collect();
            Names::from([("shop.cluster-x.rds.amazonaws.com".to_owned(), addresses)])
        };
        let read = || std::fs::read_to_string(hosts.file()).expect("text");
        let inode = || std::fs::metadata(hosts.file()).expect("a file").ino();
        hosts.set("database", names(&[1, 2])).expect("written");
        hosts.set("cache", Names::new()).expect("written");
        let (before, file) = (read(), inode());
        assert!(before.contains("\n127.77.1.2      shop.cluster-x.rds.amazonaws.com\n"), "{before}");
        hosts.set("database", names(&[12])).expect("written");
        assert_eq!(inode(), file);
        let after = read();
        assert!(after.contains("\n127.77.1.12     shop.cluster-x.rds.amazonaws.com\n"), "{after}");
        assert_eq!(after.len(), before.len());
        assert!(!after.contains("127.77.1.2 ") && after.starts_with("127.0.0.1       localhost\n"), "{after}");
    }
}
