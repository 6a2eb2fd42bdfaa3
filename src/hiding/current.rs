//! The keys in use, which change when Zoom's client secret does.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::keys::{HidingKeys, KeyDerivationError};

/// The current keys. They are cheap to clone and can be used from any thread.
#[derive(Clone)]
pub struct CurrentKeys(Arc<ArcSwap<HidingKeys>>);

impl CurrentKeys {
    /// Derives the keys from Zoom's client secret.
    ///
    /// # Errors
    /// The same as for [`HidingKeys::derive`].
    pub fn derive(client_secret: &str) -> Result<Self, KeyDerivationError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(HidingKeys::derive(client_secret)?))))
    }

    pub(crate) fn load(&self) -> Arc<HidingKeys> {
        self.0.load_full()
    }

    /// Replaces the keys with those derived from this client secret.
    pub(crate) fn replace(&self, client_secret: &str) {
        if let Ok(keys) = HidingKeys::derive(client_secret) {
            self.0.store(Arc::new(keys));
        }
    }
}
