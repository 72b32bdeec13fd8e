//! What an executable says about where it can run.

use object::{
    Endianness, ReadCache,
    elf::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP},
    read::elf::{FileHeader, ProgramHeader, SectionHeader},
};
use std::{fmt, fs::File, io::BufReader};

/// A version of the GNU C library, such as 2.34.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(pub u32, pub u32);

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Glibc {
    /// `2.34`, and `2.2.5` as well: what comes after the second number never decided anything since 2002.
    pub fn parse(text: &str) -> Option<Glibc> {
        let mut numbers = text.trim().split('.');
        Some(Glibc(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// What matters of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executable {
    /// As EC2 spells it: `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// The newest version of glibc that one of its symbols asks for; none for a static one.
    pub glibc: Option<Glibc>,
}

/// Reads what matters, without reading the whole file.
///
/// # Errors
/// In words, why it can't be started on any instance.
pub fn read(file: File) -> Result<Executable, String> {
    let cache = ReadCache::new(BufReader::new(file));
    let data = &cache;
    let no_elf = |_| "it is no executable for Linux (ELF, 64 bit)".to_owned();
    let damaged = |error: object::Error| format!("its ELF headers are damaged: {error}");
    let header = FileHeader64::<Endianness>::parse(data).map_err(no_elf)?;
    let endian = header.endian().map_err(no_elf)?;
    let architecture = match header.e_machine(endian) {
        EM_X86_64 => "x86_64",
        EM_AARCH64 => "arm64",
        other => return Err(format!("it is for a processor that EC2 doesn't have (ELF machine {})", other.0)),
    };
    let segments = header.program_headers(endian, data).map_err(damaged)?;
    let is_program = match header.e_type(endian) {
        ET_EXEC => true,
        // A shared library has no entry; a static executable that can be moved has one, but no interpreter.
        ET_DYN => header.e_entry(endian) != 0 || segments.iter().any(|one| one.p_type(endian) == PT_INTERP),
        _ => false,
    };
    if !is_program {
        return Err("it is an object file or a library, not an executable".into());
    }
    let sections = header.sections(endian, data).map_err(damaged)?;
    let mut glibc = None;
    for section in sections.iter() {
        let Some((mut needs, strings)) = section.gnu_verneed(endian, data).map_err(damaged)? else { continue };
        let strings = sections.strings(endian, data, strings).map_err(damaged)?;
        while let Some((_, mut versions)) = needs.next().map_err(damaged)? {
            while let Some(version) = versions.next().map_err(damaged)? {
                let name = String::from_utf8_lossy(version.name(endian, strings).map_err(damaged)?);
                glibc = glibc.max(name.strip_prefix("GLIBC_").and_then(Glibc::parse));
            }
        }
    }
    Ok(Executable { architecture, glibc })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn this_test_itself_runs_here() {
        let here = File::open(std::env::current_exe().expect("this program")).expect("it can be read");
        let read = read(here).expect("an executable");
        assert_eq!(read.architecture, if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" });
        if cfg!(target_env = "gnu") {
            assert!(read.glibc.is_some_and(|version| version >= Glibc(2, 2)), "{read:?}");
        }
    }

    #[test]
    fn versions_are_numbers() {
        assert!(Glibc::parse("2.34") > Glibc::parse("2.4") && Glibc::parse("2.2.5") < Glibc::parse("2.17"));
        assert_eq!((Glibc::parse("PRIVATE"), Glibc::parse("2")), (None, None));
    }

    #[test]
    fn what_is_no_executable_is_said_in_words() {
        for (content, word) in [(&b"#!/bin/sh\necho hello\n"[..], "no executable"), (b"", "no executable")] {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(content).expect("written");
            let said = read(file).expect_err("refused");
            assert!(said.contains(word), "{said}");
        }
        // The start of an executable, cut off behind its header.
        let whole = std::fs::read(std::env::current_exe().expect("this program")).expect("it can be read");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&whole[..64]).expect("written");
        assert!(read(file).expect_err("refused").contains("damaged"));
    }
}
