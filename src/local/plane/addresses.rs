//! Loopback addresses, one for each thing that has an address on AWS: 127.77.x.y, stable as long as the thing is there.
//!
//! The third number is the data directory's own block, so that several local clouds on one machine don't meet. It follows
//! from the directory's name; a listener holds it while a supervisor runs.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;

/// A block is whose supervisor listens here on the block's last address. No service has this port.
const CLAIM: u16 = 47_700;

/// The last number of the first and the last address that is given away.
const FIRST: u8 = 1;
const LAST: u8 = 250;

/// Who has which address, in a file of the data directory.
pub struct Addresses {
    file: PathBuf,
    table: Mutex<Table>,
    _claim: TcpListener,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Table {
    block: u8,
    given: BTreeMap<String, Ipv4Addr>,
}

impl Addresses {
    /// Those of a data directory, which is given a block when it has none.
    ///
    /// # Errors
    /// When another supervisor has the directory's block, or all blocks are taken.
    pub fn of(data: &Path) -> Result<Self, Error> {
        let file = data.join("addresses.json");
        let claimed = |block| TcpListener::bind((Ipv4Addr::new(127, 77, block, 254), CLAIM));
        if let Ok(bytes) = fs::read(&file) {
            let table: Table = serde_json::from_slice(&bytes).map_err(|error| Error::file(&file, error.into()))?;
            let claim = claimed(table.block).map_err(|_| Error::Claimed { block: table.block })?;
            return Ok(Self { file, table: Mutex::new(table), _claim: claim });
        }
        let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
        let blocks = (0..=254u8).map(|step| 1 + (digest[0] % 254).wrapping_add(step) % 254);
        let (block, claim) =
            blocks.into_iter().find_map(|block| Some((block, claimed(block).ok()?))).ok_or(Error::NoBlock)?;
        let table = Table { block, given: BTreeMap::new() };
        super::write(&file, &serde_json::to_vec_pretty(&table)?)?;
        Ok(Self { file, table: Mutex::new(table), _claim: claim })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a thing, such as `database-1`; on a new one nothing listens yet on any of the ports.
    ///
    /// # Errors
    /// When there is no address left or the table cannot be written.
    pub fn of_thing(&self, thing: &str, ports: &[u16]) -> Result<Ipv4Addr, Error> {
        let mut table = self.table();
        if let Some(address) = table.given.get(thing) {
            return Ok(*address);
        }
        let is_free = |address: &Ipv4Addr| {
            !table.given.values().any(|given| given == address)
                && ports.iter().all(|port| TcpListener::bind((*address, *port)).is_ok())
        };
        let address = (FIRST..=LAST)
            .map(|last| Ipv4Addr::new(127, 77, table.block, last))
            .find(is_free)
            .ok_or_else(|| Error::NoAddress { thing: thing.to_owned(), block: table.block, ports: ports.to_vec() })?;
        let mut changed = table.clone();
        changed.given.insert(thing.to_owned(), address);
        super::write(&self.file, &serde_json::to_vec_pretty(&changed)?)?;
        *table = changed;
        Ok(address)
    }

    /// Takes back the address of a thing that is gone.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn release(&self, thing: &str) -> Result<(), Error> {
        let mut table = self.table();
        let mut changed = table.clone();
        if changed.given.remove(thing).is_some() {
            super::write(&self.file, &serde_json::to_vec_pretty(&changed)?)?;
            *table = changed;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_and_are_nobody_elses() {
        let (one, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let addresses = Addresses::of(one.path()).expect("a block");
        let others = Addresses::of(other.path()).expect("another block");
        let writer = addresses.of_thing("writer", &[3306]).expect("an address");
        let reader = addresses.of_thing("reader", &[3306]).expect("an address");
        assert_ne!(writer, reader);
        assert_ne!(writer.octets()[2], others.of_thing("writer", &[3306]).expect("an address").octets()[2]);
        assert!(matches!(Addresses::of(one.path()), Err(Error::Claimed { .. })));
        drop(addresses);

        // The child of another test has the claim, too, until it has become its program.
        let again = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            Addresses::of(one.path()).ok()
        });
        let addresses = again.expect("the same block");
        assert_eq!(addresses.of_thing("reader", &[3306]).expect("an address"), reader);
        addresses.release("writer").expect("a table");
        let _taken = TcpListener::bind((writer, 3306)).expect("its port is free");
        assert_ne!(addresses.of_thing("next", &[3306]).expect("an address"), writer);
    }
}
