//! The place of the store on disk in a build without the feature `disk-state`: there is none, and nothing of what uses it is compiled.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use super::{Medium, Runs, StateError};

/// A job's store, of which there is none.
#[derive(Clone, Debug)]
pub struct Store(Infallible);

/// The groups of one operator in it.
#[derive(Clone, Debug)]
pub struct Space(Infallible);

#[allow(missing_docs, clippy::missing_errors_doc)]
impl Store {
    pub fn new(_: Arc<dyn Medium>, _: &Path, _: usize) -> Option<Self> {
        None
    }
    pub fn space(&self, _: &str) -> Space {
        match self.0 {}
    }
    pub fn save(&self) -> Result<u64, StateError> {
        match self.0 {}
    }
    pub fn sync(&self) -> Result<(), StateError> {
        match self.0 {}
    }
    pub fn restore(&self, _: u64) -> Result<(), StateError> {
        match self.0 {}
    }
    pub fn runs(&self, _: usize) -> Runs {
        match self.0 {}
    }
}

#[allow(missing_docs, clippy::missing_errors_doc)]
impl Space {
    pub fn is_unused(&self) -> bool {
        match self.0 {}
    }
    pub fn store(&self) -> &Store {
        match self.0 {}
    }
    pub fn get(&self, _: &[u128], _: impl FnMut(&[u8]) -> Result<(), StateError>) -> Result<(), StateError> {
        match self.0 {}
    }
    pub fn put(
        &self,
        _: impl FnMut(&mut Vec<u8>) -> Option<u128>,
        _: impl FnMut(&[u8], &mut Vec<u8>) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        match self.0 {}
    }
    pub fn change(
        &self,
        _: u128,
        _: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        match self.0 {}
    }
    pub fn scan(&self, _: impl FnMut(&[u8]) -> Result<(), StateError>) -> Result<(), StateError> {
        match self.0 {}
    }
    pub fn clear(&self) -> Result<(), StateError> {
        match self.0 {}
    }
}

/// What a store holds.
///
/// # Errors
/// If there is one: this build can't read it.
pub fn inspect_store(dir: &Path) -> Result<Option<Vec<(String, u64)>>, StateError> {
    match dir.join("groups.redb").exists() {
        true => Err(StateError("looking into groups.redb needs a build with the feature disk-state".into())),
        false => Ok(None),
    }
}
