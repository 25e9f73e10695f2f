//! The views of a process, by name.
//!
//! It opens nothing: whoever opens a view adds it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::view::View;

/// The views that can be searched. Shared; views are added while it is in use.
#[derive(Debug, Default)]
pub struct Views {
    by_name: RwLock<BTreeMap<String, Arc<View>>>,
}

impl Views {
    /// A registry without views.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a view under the name of its schema, or replaces the one of that name.
    pub fn add(&self, view: Arc<View>) {
        let name = view.schema().name.clone();
        // A map is whole between two of its methods, so a poisoned lock says nothing about it.
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).insert(name, view);
    }

    /// Finds a view.
    pub fn get(&self, name: &str) -> Option<Arc<View>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Lists the views, by name.
    pub fn list(&self) -> Vec<Arc<View>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
