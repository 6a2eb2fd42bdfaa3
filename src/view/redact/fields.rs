//! Classifies the fields of a participant and of its samples by how much of them a caller may see.

use crate::{
    clean::{Field, Key},
    hiding::{FieldGroup, HiddenFields},
};

/// How much of a participant's field is shown to a caller from whom something is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldClass {
    /// The field identifies the person. If identity is hidden, the pseudonym replaces its value.
    Pseudonym,
    /// The field is hidden if identity or devices are hidden, because people name their devices after themselves.
    IdentityOrDevice,
    /// The field is hidden if addresses are hidden.
    Address,
    /// The field is hidden if devices are hidden.
    Device,
    /// Every caller sees the field.
    Shown,
    /// Every caller sees the value if it is a number or a boolean.
    Number,
    /// Every caller sees the list of samples. [`SampleClass`] decides about each value in it.
    Samples,
    /// Every caller sees the value if it is a boolean. Any other value is hidden, because the content of a field that
    /// Zoom adds is not known.
    Unknown,
}

impl FieldClass {
    /// Returns the class of the field with this name, unescaped.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"user_name" | b"email" | b"id" | b"user_id" | b"participant_uuid" | b"pc_name" => {
                Self::Pseudonym
            }
            b"device_name" | b"camera" | b"microphone" | b"speaker" => Self::IdentityOrDevice,
            b"ip_address"
            | b"internal_ip_addresses"
            | b"mac_addr"
            | b"location"
            | b"domain"
            | b"harddisk_id" => Self::Address,
            b"device" | b"client" | b"version" | b"os" | b"os_version" | b"browser_name"
            | b"browser_version" => Self::Device,
            b"join_time"
            | b"leave_time"
            | b"network_type"
            | b"connection_type"
            | b"video_connection_type"
            | b"as_connection_type"
            | b"data_center"
            | b"full_data_center"
            | b"health"
            | b"issue_list"
            | b"rc_reason"
            | b"optional_archiving" => Self::Shown,
            b"total_jointime_cost" => Self::Number,
            b"user_qos" => Self::Samples,
            _ => Self::Unknown,
        }
    }

    /// Returns whether the caller may not see the field itself.
    pub(super) fn is_hidden(self, hidden: HiddenFields) -> bool {
        use FieldGroup::{Address, Device, Identity};
        match self {
            Self::Pseudonym => hidden.contains(Identity),
            Self::IdentityOrDevice => hidden.contains(Identity) || hidden.contains(Device),
            Self::Address => hidden.contains(Address),
            Self::Device => hidden.contains(Device),
            Self::Shown | Self::Number | Self::Samples | Self::Unknown => false,
        }
    }
}

/// Which values under a key in a sample are shown to a caller from whom something is hidden. Booleans are always shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleClass {
    /// Numbers.
    Number,
    /// Words that Zoom documents.
    Word,
    /// Numbers, or an object with two numbers.
    Resolution,
    Unknown,
}

impl SampleClass {
    #[inline]
    pub(super) fn of(name: &[u8]) -> Self {
        match Key::of(name) {
            Key::Zooms(Field::Resolution) => Self::Resolution,
            Key::Zooms(_) | Key::Ours(_) => Self::Number,
            Key::Other => match name {
                b"max_rssi" | b"avg_rssi" | b"min_rssi" => Self::Number,
                b"rssi_unit"
                | b"cpu_pressure_level"
                | b"system_min_cpu_pressure_level"
                | b"system_avg_cpu_pressure_level"
                | b"system_max_cpu_pressure_level" => Self::Word,
                _ => Self::Unknown,
            },
        }
    }
}

/// Returns whether this unescaped string is one of the words that Zoom documents for samples.
pub(super) fn is_known_word(text: &[u8]) -> bool {
    [&b"normal"[..], b"fair", b"serious", b"critical", b"dBm"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(text))
}
