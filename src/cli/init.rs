//! `ticketctl init`: a commented stack file to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// The starter file. It shows what one is most likely to change; everything else has a default.
pub const STARTER: &str = include_str!("starter.yaml");

/// Why no starter file was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is a file already.
    #[error("{0} is there already; --force overwrites it")]
    Exists(String),
    /// It can't be written.
    #[error("can't write {path}")]
    Io {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// Writes the starter file to `path` and says what to do next. An existing file is overwritten with `force` only.
///
/// # Errors
/// When there is a file already, or it can't be written.
pub fn run(path: &Path, force: bool) -> Result<String, InitError> {
    let name = || path.display().to_string();
    let mut options = OpenOptions::new();
    options.write(true).create(force).create_new(!force).truncate(force);
    let written = options.open(path).and_then(|mut file| file.write_all(STARTER.as_bytes()));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => InitError::Exists(name()),
        _ => InitError::Io { path: name(), source },
    })?;
    Ok(format!(
        "wrote {path}\n\
         edit it, then check it with `ticketctl validate -f {path}` and see what it would make with `ticketctl plan -f {path}`\n",
        path = path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_is_valid_and_gives_no_warning() {
        let loaded = crate::stack::load_text("stack.yaml", STARTER.as_bytes(), &[]).unwrap_or_else(|d| panic!("{d}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert!(STARTER.starts_with("# yaml-language-server: $schema="));
    }

    #[test]
    fn what_the_starter_only_mentions_is_valid_too() {
        // Every `#key: value` (no space behind the hash) is a setting to be uncommented.
        let uncommented: String = STARTER
            .lines()
            .map(|line| match line.trim_start().strip_prefix('#') {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => line.replacen('#', "", 1) + "\n",
                _ => format!("{line}\n"),
            })
            .collect();
        assert!(uncommented.len() < STARTER.len(), "nothing was uncommented");
        let loaded = crate::stack::load_text("stack.yaml", uncommented.as_bytes(), &[]);
        loaded.unwrap_or_else(|diagnostics| panic!("{uncommented}\n{diagnostics}"));
    }

    #[test]
    fn an_existing_file_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stack.yaml");
        run(&path, false).expect("the first time");
        std::fs::write(&path, "mine").expect("a file");
        assert!(matches!(run(&path, false), Err(InitError::Exists(_))));
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "mine");
        run(&path, true).expect("with force");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), STARTER);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let path = Path::new("/nonexistent/stack.yaml");
        assert!(matches!(run(path, false), Err(InitError::Io { .. })));
    }
}
