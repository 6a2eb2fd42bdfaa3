//! The place of a value in the list of participants, which decides which rules apply to it.

/// Where a value is, relative to a participant and its `user_qos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// An element of `participants`.
    Participant,
    /// Below a participant, outside its `user_qos`.
    Outside,
    /// A participant's `user_qos` and everything below it.
    Qos,
}

impl Scope {
    /// Returns the place of a list's elements. A list in the place of a participant is not a participant, and neither
    /// are its elements.
    #[inline]
    pub(crate) fn element(self) -> Self {
        if self == Self::Participant { Self::Outside } else { self }
    }

    /// Returns the place of an entry's value in an object.
    #[inline]
    pub(crate) fn entry(self, name: &[u8]) -> Self {
        match self {
            Self::Participant if name == b"user_qos" => Self::Qos,
            Self::Participant => Self::Outside,
            inner => inner,
        }
    }
}
