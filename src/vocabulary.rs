//! Enums that have one word for each value, in metrics, logs, JSON and messages between replicas.

/// Declares such an enum, with `ALL` (its values in this order) and `as_str` (a value's word).
macro_rules! vocabulary {
    (
        $(#[$attribute:meta])*
        $vis:vis enum $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)+ }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$doc])* $value,)+ }

        impl $name {
            /// Every value.
            $vis const ALL: [Self; [$($word),+].len()] = [$(Self::$value),+];

            /// The value's word.
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }
    };
}
