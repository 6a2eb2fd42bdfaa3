//! The fields whose strings cleaning converts: their keys, their suffixes, and how many strings did not parse.

vocabulary! {
    /// A value that Zoom sends as a string and that cleaning converts. The word is the label of the metric that counts
    /// unparsed values.
    pub enum Field {
        /// `bitrate`, in kbit/s.
        Bitrate = "bitrate",
        /// `latency`, in milliseconds.
        Latency = "latency",
        /// `jitter`, in milliseconds.
        Jitter = "jitter",
        /// `avg_loss`, in percent.
        AvgLoss = "avg_loss",
        /// `max_loss`, in percent.
        MaxLoss = "max_loss",
        /// `frame_rate`, in frames per second.
        FrameRate = "frame_rate",
        /// `resolution`, width and height in pixels.
        Resolution = "resolution",
        /// Every key that ends in `_cpu_usage`, in percent.
        CpuUsage = "cpu_usage",
    }
}

impl Field {
    /// Returns the suffix that cleaning adds to Zoom's key.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Bitrate => "_kbps",
            Self::Latency | Self::Jitter => "_ms",
            Self::AvgLoss | Self::MaxLoss | Self::CpuUsage => "_percent",
            Self::FrameRate => "_fps",
            Self::Resolution => "",
        }
    }

    /// Returns the unit of the cleaned value, as Zoom writes it.
    #[inline]
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Bitrate => "kbps",
            Self::Latency | Self::Jitter => "ms",
            Self::AvgLoss | Self::MaxLoss | Self::CpuUsage => "%",
            Self::FrameRate => "fps",
            Self::Resolution => "",
        }
    }

    /// Returns a bit for a key of this field. A key has the same bit with and without its suffix. Each fixed key has
    /// its own bit. The keys of `CpuUsage` share 56 other bits, by a hash of their first ten bytes. The shortest of
    /// them, `_cpu_usage`, has only ten bytes.
    #[inline]
    pub(crate) fn bit(self, name: &[u8]) -> u64 {
        match self {
            Self::CpuUsage => {
                let begin = name.iter().take(10);
                let hash = begin.fold(0_u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
                1 << (8 + hash % 56)
            }
            fixed => 1 << (fixed as u32),
        }
    }
}

/// The role of a key below `user_qos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Zoom's own key of a field, which is renamed.
    Zooms(Field),
    /// A key from Zoom that already equals the new key of a field. No other key of the same object may be renamed to
    /// it.
    Ours(Field),
    Other,
}

impl Key {
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            b"bitrate" => Self::Zooms(Field::Bitrate),
            b"latency" => Self::Zooms(Field::Latency),
            b"jitter" => Self::Zooms(Field::Jitter),
            b"avg_loss" => Self::Zooms(Field::AvgLoss),
            b"max_loss" => Self::Zooms(Field::MaxLoss),
            b"frame_rate" => Self::Zooms(Field::FrameRate),
            b"resolution" => Self::Zooms(Field::Resolution),
            b"bitrate_kbps" => Self::Ours(Field::Bitrate),
            b"latency_ms" => Self::Ours(Field::Latency),
            b"jitter_ms" => Self::Ours(Field::Jitter),
            b"avg_loss_percent" => Self::Ours(Field::AvgLoss),
            b"max_loss_percent" => Self::Ours(Field::MaxLoss),
            b"frame_rate_fps" => Self::Ours(Field::FrameRate),
            // A bare `cpu_usage`, without an underscore before it, is the group and not a value.
            _ if name.ends_with(b"_cpu_usage") => Self::Zooms(Field::CpuUsage),
            _ if name.ends_with(b"_cpu_usage_percent") => Self::Ours(Field::CpuUsage),
            _ => Self::Other,
        }
    }
}

/// Counts the strings that did not parse, per field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unparsed([u64; Field::ALL.len()]);

impl Unparsed {
    /// Returns the count of one field.
    pub fn of(&self, field: Field) -> u64 {
        self.iter().find_map(|(each, count)| (each == field).then_some(count)).unwrap_or_default()
    }

    /// Returns every field with its count, including zeros.
    pub fn iter(&self) -> impl Iterator<Item = (Field, u64)> + use<> {
        Field::ALL.into_iter().zip(self.0)
    }

    pub(super) fn count(&mut self, field: Field) {
        for (each, count) in Field::ALL.into_iter().zip(&mut self.0) {
            *count += u64::from(each == field);
        }
    }
}
