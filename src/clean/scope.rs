//! Which rules apply to a value, by its place in the list of participants.

/// The place of a value.
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
    /// The place of a list's elements. A list where a participant belongs is not one, and neither are its elements.
    #[inline]
    pub(crate) fn element(self) -> Self {
        if self == Self::Participant { Self::Outside } else { self }
    }

    /// The place of the value of an object's entry.
    #[inline]
    pub(crate) fn entry(self, name: &[u8]) -> Self {
        match self {
            Self::Participant if name == b"user_qos" => Self::Qos,
            Self::Participant => Self::Outside,
            inner => inner,
        }
    }
}
