//! The groups of fields that a caller may not see, and the secret keys that responses to such a caller need.

mod current;
mod keys;

use std::fmt;

pub use self::{
    current::CurrentKeys,
    keys::{HidingKeys, KeyDerivationError},
};

/// A group of fields, named by a word of `hide` in the callers' file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldGroup {
    /// Names, ids and e-mail addresses.
    Identity,
    /// Where the participant is, in the network and in the world.
    Address,
    /// The participant's hardware and software.
    Device,
}

impl FieldGroup {
    const ALL: [(&str, Self); 3] =
        [("identity", Self::Identity), ("address", Self::Address), ("device", Self::Device)];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, group)| (known == name).then_some(group))
    }

    /// Returns the words of all groups, for a message.
    pub(crate) fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }
}

/// The set of groups that are hidden from a caller; empty by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HiddenFields(u8);

impl HiddenFields {
    /// Returns whether the fields of this group are hidden.
    #[inline]
    pub fn contains(self, group: FieldGroup) -> bool {
        self.0 & 1 << group as u8 != 0
    }

    /// Returns whether everything is shown.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the set as a digit that differs for different sets.
    pub fn digit(self) -> u8 {
        self.0
    }
}

impl fmt::Display for HiddenFields {
    /// Writes the words of the groups, joined by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = FieldGroup::ALL.into_iter().filter(|(_, group)| self.contains(*group));
        f.write_str(&hidden.map(|(name, _)| name).collect::<Vec<_>>().join(","))
    }
}

impl FromIterator<FieldGroup> for HiddenFields {
    fn from_iter<I: IntoIterator<Item = FieldGroup>>(groups: I) -> Self {
        Self(groups.into_iter().fold(0, |set, group| set | 1 << group as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_the_groups_that_were_collected() {
        let set: HiddenFields = [FieldGroup::Address, FieldGroup::Address].into_iter().collect();
        let contained = FieldGroup::ALL.map(|(_, group)| set.contains(group));
        assert_eq!((contained, set.is_empty()), ([false, true, false], false));
        assert!(HiddenFields::default().is_empty());
        assert_eq!(FieldGroup::from_name("Identity"), None);
    }
}
